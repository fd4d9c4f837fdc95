"""Batches that follow from the seed and the number of the step alone, for any number of processes.

``torch.utils.data.DataLoader`` numbers its batches by its samplers' state; here a resumed run has no state to restore.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from speech2vid.training.distributed import Distributed
from speech2vid.training.task import Batch, Task

AHEAD = 4  # batches drawn while the network computes ...
THREADS = {"cpu": 1, "cuda": 4}  # ... by so many threads


class BatchLoader:
    """This process's share of the batches of a task.

    Attributes:
        waited_s: time that the loop has spent waiting for data.
    """

    def __init__(self, task: Task, dist: Distributed) -> None:
        self.waited_s = 0.0
        self._task, self._dist = task, dist
        self._part = task.config.batch // task.config.accumulate
        self._share = dist.share(self._part)

    def batches(self, first_step: int, steps: int) -> Generator[Batch, None, None]:
        """Yield the batches of steps ``first_step`` … ``steps`` − 1, ``accumulate`` of them a step."""
        parts = [(step, part) for step in range(first_step, steps) for part in range(self._task.config.accumulate)]
        with ThreadPoolExecutor(THREADS[self._dist.device.type]) as threads:
            waiting: deque[Future[Batch]] = deque(threads.submit(self._batch, *each) for each in parts[:AHEAD])
            for number in range(len(parts)):
                start = time.perf_counter()
                batch = waiting.popleft().result()
                self.waited_s += time.perf_counter() - start
                if number + AHEAD < len(parts):
                    waiting.append(threads.submit(self._batch, *parts[number + AHEAD]))
                yield {name: tensor.to(self._dist.device, non_blocking=True) for name, tensor in batch.items()}

    def _batch(self, step: int, part: int) -> Batch:
        items = range(part * self._part, (part + 1) * self._part)[self._share]
        drawn = [self._task.draw(np.random.default_rng([self._task.config.seed, step, item])) for item in items]
        on_cuda = self._dist.device.type == "cuda"
        batch = {name: torch.from_numpy(np.stack([item[name] for item in drawn])) for name in drawn[0]}
        return {name: tensor.pin_memory() for name, tensor in batch.items()} if on_cuda else batch
