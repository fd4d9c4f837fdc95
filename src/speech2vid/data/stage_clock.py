"""How long each stage of preparation takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class StageClock:
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
