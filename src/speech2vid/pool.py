"""Worker processes, and a list that is worked through by several: a process that dies costs at most its item."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

GRACE_S = 5.0  # for a process that was asked to end
TRIES = 2  # of an item during which a process dies: it may have been killed for something else's sake


class Died(Exception):
    """A process ended in the middle of an item, each time: killed, out of memory, or crashed in a library."""


def work_through(function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[int, R | Died]]:
    """Call ``function`` with each item, in ``jobs`` processes.

    Args:
        function: importable by name; so are its argument and result.

    Yields:
        number of the item and the result, or ``Died``, in the order in which they are done.

    Raises:
        Exception: the first one that ``function`` raises; the processes are ended.
    """
    waiting = deque(enumerate(items))
    tries = [0] * len(items)
    workers: dict[Connection, _Worker[T, R]] = {}

    def employ(worker: _Worker[T, R] | None) -> None:
        """Give the next item to a worker, a new one if need be; or let it go."""
        if not waiting:
            if worker is not None:
                workers.pop(worker.pipe).end()
            return
        if worker is None:
            worker = _Worker(function)
            workers[worker.pipe] = worker
        index, item = waiting.popleft()
        tries[index] += 1
        worker.give(index, item)

    try:
        for _ in range(min(jobs, len(items))):
            employ(None)
        while workers:
            for pipe in wait(list(workers)):
                worker = workers[pipe]  # type: ignore[index]
                try:
                    result: R | Died = worker.take()
                except (EOFError, ConnectionResetError):
                    workers.pop(worker.pipe).end()
                    if tries[worker.index] < TRIES:
                        waiting.append((worker.index, items[worker.index]))
                    else:
                        yield worker.index, Died()
                    employ(None)
                    continue
                yield worker.index, result
                employ(worker)
    finally:
        for worker in workers.values():
            worker.stop()
        for worker in workers.values():
            worker.end()


class WorkerProcess:
    """A process of our own at the other end of a pipe. It ignores Ctrl-C, which the parent handles, and ends with it.

    Args:
        serve: called in the process with the pipe and ``arguments``; importable by name.

    Attributes:
        pipe: raises EOFError or OSError once the process has ended.
    """

    def __init__(self, serve: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(serve, theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()  # the death of the process is then the end of the pipe

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        return self._process.is_alive()

    def join(self) -> int | None:
        """Wait for the end of the process and return its exit status; negative: the number of a signal."""
        self._process.join()
        return self._process.exitcode

    def stop(self) -> None:
        """Ask the process to end: it leaves its work as after an exception, so that nothing half-written stays."""
        self._process.terminate()

    def kill(self, grace_s: float = 0.0) -> None:
        """Wait ``grace_s`` for the process, then end it at once."""
        self._process.join(grace_s)
        self._process.kill()
        self._process.join()


def _serve(serve: Callable[..., None], pipe: Connection, *arguments: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent let go of the pipe
        serve(pipe, *arguments)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


class _Worker(Generic[T, R]):
    """A process that calls a function with one item after another."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._process = WorkerProcess(_call, function)
        self.pipe = self._process.pipe
        self.index = -1

    def give(self, index: int, item: T) -> None:
        self.index = index
        with contextlib.suppress(BrokenPipeError):  # it died already: take() will tell
            self.pipe.send(item)

    def take(self) -> R:
        done, value = self.pipe.recv()
        if not done:
            raise value
        return value  # type: ignore[no-any-return]

    def stop(self) -> None:
        self._process.stop()

    def end(self) -> None:
        self.pipe.close()  # which ends a process that waits for an item
        self._process.kill(GRACE_S)


def _call(pipe: Connection, function: Callable[[T], R]) -> None:
    while True:
        item = pipe.recv()
        try:
            pipe.send((True, function(item)))
        except Exception as error:
            pipe.send((False, error))
