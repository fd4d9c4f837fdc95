"""Seconds of work a stage: of preparation, and of generation with its threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """Adds up the seconds of each stage. A stage that draws on another one is charged only for its own work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since_s = "", time.perf_counter()

    @contextlib.contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """What is done inside counts for ``stage``."""
        outer = self._switch(stage)
        try:
            yield
        finally:
            self._switch(outer)

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time it takes to make them counts for ``stage``."""
        iterator = iter(items)
        while True:
            with self.during(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _switch(self, stage: str) -> str:
        now_s = time.perf_counter()
        outer, self._stage = self._stage, stage
        if outer:
            self.seconds[outer] = self.seconds.get(outer, 0.0) + now_s - self._since_s
        self._since_s = now_s
        return outer


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


def _close(iterator: object) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
