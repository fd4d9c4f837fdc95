"""Stages that work at the same time: each in a thread of its own, a bounded number of items ahead of the next."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.1  # how soon a thread notices that it should stop


class Stopwatch:
    """Seconds of work a stage. While a stage runs inside another one, in the same thread, the outer one does not count.

    Stages of several threads overlap: their sum may exceed the time on the wall.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = threading.local()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        outer: str | None = getattr(self._running, "stage", None)
        self._switch(stage)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, stage: str | None) -> None:
        now = time.perf_counter()
        running: str | None = getattr(self._running, "stage", None)
        if running is not None:
            self.seconds[running] += now - self._running.since
        self._running.stage, self._running.since = stage, now

    def timed(self, stage: str, items: Iterable[T]) -> Generator[T, None, None]:
        """The same items; the time to make each is counted as the stage's."""
        iterator = iter(items)
        try:
            while True:
                with self(stage):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            _close(iterator)


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items, made by a thread that is at most ``depth`` of them ahead.

    An exception of ``items`` is raised here. Closing this generator stops the thread, waits for it, closes ``items``.
    """
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(is_item: bool, value: T | BaseException | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((is_item, value), timeout=POLL_S)
                return

    def work() -> None:
        iterator = iter(items)
        end: BaseException | None = None
        try:
            while not stop.is_set():
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                put(True, item)
        except BaseException as error:
            end = error
        finally:
            _close(iterator)
            put(False, end)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            try:
                is_item, value = ready.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if is_item:
                yield value  # type: ignore[misc]
            elif value is not None:
                raise value  # type: ignore[misc]
            else:
                return
    finally:
        stop.set()
        thread.join()


def _close(iterator: object) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
