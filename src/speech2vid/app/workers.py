"""Isolated worker processes: networks stay loaded from job to job; a crash costs one job, never the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from speech2vid.errors import Speech2VidError
from speech2vid.pool import WorkerProcess

REPORT_EVERY_S = 0.1
TRIES = 3  # to find a process that takes a job


@dataclass(frozen=True)
class Job:
    """A unit of work, independent of who submits it.

    Attributes:
        verb: name of the job function: ``talk``, ``redub``, ``sync``, …
        inputs: files by argument name; a sequence where several are taken.
        options: further keyword arguments of the job function.
    """

    verb: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """Called with units done, units in total if known, and the name of the current part of the job."""

    def __call__(self, done: int, total: int | None, doing: str = "") -> None: ...


JobFunction = Callable[[Job, Path, Progress], Any]  # runs in the worker; importable by name, or picklable


class WorkerDied(Speech2VidError):
    """A worker process ended in the middle of a job."""


class _NeverBegan(Exception):
    """A process was gone before it took the job: another one can take it."""


class JobFailed(Exception):
    """A job raised an exception that is not meant for users; the message is its traceback."""


class WorkerPool:
    """A pool of worker processes. All methods are for the thread of one event loop.

    Args:
        run: executes a job in a worker: ``run(job, folder, progress)``.
        size: processes that are kept warm; more are started while more jobs run at once.
        setup: called once in each new process, before its first job.

    Attributes:
        crashes: number of processes that have died.
    """

    def __init__(self, run: JobFunction, *, size: int = 1, setup: Callable[[], object] | None = None) -> None:
        self._new_worker = partial(_Worker, run, setup)
        self._size = size
        self._idle: list[_Worker] = []  # the one that worked last, and is warmest, at the end
        self._busy: set[_Worker] = set()
        self._closed = False
        self.crashes = 0

    def warm(self) -> None:
        """Start the processes that are missing."""
        self._idle = [worker for worker in self._idle if worker.ready]
        while not self._closed and len(self._idle) + len(self._busy) < self._size:
            self._idle.insert(0, self._new_worker())

    async def run(self, job: Job, folder: Path, report: Progress) -> Any:
        """Execute a job and return its result. Cancelling ends the process at once.

        Args:
            job: what to do.
            folder: for its outputs and temporary files.
            report: called in the event loop with the progress.

        Raises:
            Speech2VidError: raised by the job.
            WorkerDied: the process ended.
            JobFailed: the job raised any other exception.
        """
        for _ in range(TRIES):
            with contextlib.suppress(_NeverBegan):
                return await self._run(job, folder, report)
        raise WorkerDied("no worker process can be started", "the server's log may have the reason")

    async def _run(self, job: Job, folder: Path, report: Progress) -> Any:
        self.warm()
        worker = self._idle.pop() if self._idle else self._new_worker()
        self._busy.add(worker)
        try:
            return await worker.run(job, folder, report)
        except (WorkerDied, _NeverBegan):
            self.crashes += 1
            raise
        finally:
            self._busy.discard(worker)
            if worker.ready and not self._closed and len(self._idle) < self._size:
                self._idle.append(worker)
            else:
                worker.end()
            self.warm()

    def close(self) -> None:
        """End all processes. Jobs that still run fail."""
        self._closed = True
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle = []


class _Worker:
    """A process, and the thread that talks to it."""

    def __init__(self, run: JobFunction, setup: Callable[[], object] | None) -> None:
        self._process = WorkerProcess(_serve, run, setup)
        self._pipe = self._process.pipe
        self._thread = ThreadPoolExecutor(1)
        self._working = False

    @property
    def ready(self) -> bool:
        """Whether it can take a job."""
        return not self._working and self._process.alive

    async def run(self, job: Job, folder: Path, report: Progress) -> Any:
        call = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        self._working = True  # and stays so if this is cancelled
        begun = False
        try:
            await call(self._pipe.send, (job, folder))
            while True:
                kind, *content = await call(self._pipe.recv)
                begun = True
                if kind in ("begun", "progress"):
                    report(*content)
                    continue
                self._working = False
                if kind == "done":
                    return content[0]
                raise content[0] if kind == "failed" else JobFailed(content[0])
        except (EOFError, OSError) as error:
            status = self._process.join()
            if not begun:
                raise _NeverBegan from error
            raise _died(status) from error

    def end(self) -> None:
        self._process.kill()
        self._thread.shutdown(wait=False)  # the pipe has ended: its last call returns


def _died(exitcode: int | None) -> WorkerDied:
    number = -(exitcode or 0)
    cause = signal.Signals(number).name if number in set(signal.Signals) else f"exit status {exitcode}"
    hint = "one of the files may be damaged: convert it to another format, then try again"
    if number == signal.SIGKILL:
        hint = "the machine may be short of memory: try a smaller file, or try again later"
    return WorkerDied(f"the process that worked on this job ended unexpectedly ({cause})", hint)


def _serve(pipe: Connection, run: JobFunction, setup: Callable[[], object] | None) -> None:
    if setup is not None:
        with contextlib.suppress(Speech2VidError):  # raised again by the first job that needs it
            setup()
    while True:
        job, folder = pipe.recv()
        pipe.send(("begun", 0, None))
        pipe.send(_answer(pipe, run, job, folder))


def _answer(pipe: Connection, run: JobFunction, job: Job, folder: Path) -> tuple[Any, ...]:
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    reported_s = 0.0

    def progress(done: int, total: int | None, doing: str = "") -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s > REPORT_EVERY_S:
            reported_s = time.monotonic()
            pipe.send(("progress", done, total, doing))

    try:
        return "done", run(job, folder, progress)
    except Speech2VidError as error:
        return "failed", error
    except BaseException:
        return "crashed", traceback.format_exc()
