"""Stages that work at the same time: each in a thread of its own, a bounded number of items ahead of the next."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.1  # how soon a thread notices that it should stop


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
