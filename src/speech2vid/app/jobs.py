"""One queue for the jobs of page and endpoint: they wait their turn, run in workers, and can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech2vid.app.settings import Limits
from speech2vid.app.workers import Job, WorkerPool
from speech2vid.errors import Speech2VidError

REFRESH_S = 0.25  # between two states
QUICK_JOBS = 2  # short jobs at a time, next to those of the queue
GIVEN = "given"  # folder of a job's inputs, removed as soon as it ends


class QueueFull(Speech2VidError):
    """The queue is full; the job is not accepted."""


class JobTimeout(Speech2VidError):
    """A job ran longer than the server allows."""


@dataclass(frozen=True)
class Waiting:
    """The job waits until ``before`` others have ended."""

    before: int


@dataclass(frozen=True)
class Running:
    """Progress of a job, or of the part of it named ``doing``; ``left_s`` is None until it can be estimated."""

    done: int = 0
    total: int | None = None
    left_s: float | None = None
    doing: str = ""


@dataclass(frozen=True)
class Done:
    """The result of the job function."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """The exception that ended the job."""

    error: BaseException


@dataclass(frozen=True)
class Cancelled:
    """Nothing was kept. ``replaced``: by a later job of the same owner and name."""

    replaced: bool = False


State = Waiting | Running | Done | Failed | Cancelled


class QueuedJob:
    """A job from its submission to its end. Unless it ends as ``Done``, its folder is removed.

    Attributes:
        id: unguessable.
        job, folder, owner, name: as submitted.
        end: the final state; None before.
        created_s, ended_s: on the monotonic clock.
        unheard: how often it was looked for somebody who follows its states since somebody did.
    """

    def __init__(
        self, job: Job, folder: Path, owner: Hashable, name: str, attended: bool, before: Callable[[QueuedJob], int]
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.job, self.folder, self.owner, self.name = job, folder, owner, name
        self.created_s = time.monotonic()
        self.unheard = 0
        self.ended_s = 0.0
        self.end: Done | Failed | Cancelled | None = None
        self.running: Running | None = None
        self.attended = attended
        self.task: asyncio.Task[Any] | None = None
        self.over = asyncio.Event()
        self._before = before
        self._first: tuple[float, int] | None = None  # time and units when the current part began to advance

    @property
    def state(self) -> State:
        return self.end or self.running or Waiting(self._before(self))

    def report(self, done: int, total: int | None, doing: str = "") -> None:
        """Record the progress, and estimate the time left from the speed since the part's first unit."""
        now, left_s = time.monotonic(), None
        if self.running is None or doing != self.running.doing:
            self._first = None
        if done and self._first is None:
            self._first = now, done
        if self._first is not None and total:
            elapsed_s, units = now - self._first[0], done - self._first[1]
            left_s = (total - done) * elapsed_s / units if units > 0 and elapsed_s >= 1 else None
        self.running = Running(done, total, left_s, doing)

    def cancel(self, *, replaced: bool = False) -> None:
        """End the job, and its process; does nothing once it has ended."""
        if self.end is None:
            self.end = Cancelled(replaced)
            if self.task is not None:
                self.task.cancel()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, and for the removal of its files; return whether it has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.over.wait()
        return self.over.is_set()

    async def states(self) -> AsyncGenerator[State, None]:
        """Yield the state four times a second until it is final."""
        while self.end is None:
            self.unheard = 0
            yield self.state
            await self.wait(REFRESH_S)
        await self.wait()  # a cancelled one until its process is gone
        yield self.end

    async def result(self) -> Any:
        """Wait for the job and return its result, or raise its error; cancel it when the caller is cancelled."""
        try:
            await self.wait()
        finally:
            self.cancel()
        if isinstance(self.end, Failed):
            raise self.end.error
        if isinstance(self.end, Done):
            return self.end.result
        raise Speech2VidError("the job was cancelled")


class JobQueue:
    """First come, first served. For the thread of one event loop.

    Args:
        pool: runs the jobs.
        limits: numbers.
        ended: called with each job that has ended.
    """

    def __init__(self, pool: WorkerPool, limits: Limits, ended: Callable[[QueuedJob], None] = lambda job: None) -> None:
        self.pool, self.limits, self.ended = pool, limits, ended
        self.jobs: list[QueuedJob] = []  # those that have not ended, quick ones included
        self._line: list[QueuedJob] = []  # those that run, and behind them those that wait
        self._uploads = 0
        self._slots = asyncio.Semaphore(limits.workers)
        self._quick = asyncio.Semaphore(QUICK_JOBS)

    def submit(
        self,
        job: Job,
        folder: Path,
        *,
        owner: Hashable = None,
        name: str = "",
        quick: bool = False,
        attended: bool = False,
    ) -> QueuedJob:
        """Queue a job.

        Args:
            job: what to do.
            folder: the job's own; inputs lie in its subfolder ``given``.
            owner: of jobs that ``cancel`` ends together.
            name: an earlier job of this owner and name is cancelled.
            quick: short work that does not wait behind long jobs.
            attended: cancel it when nobody has looked at its states for ``limits.unheard_s``.

        Raises:
            QueueFull: too many jobs are waiting.
        """
        if not quick:
            self._require_room()
        if name:
            self.cancel(owner, name, replaced=True)
        queued = QueuedJob(job, folder, owner, name, attended, self._before)
        self.jobs.append(queued)
        if not quick:
            self._line.append(queued)
        queued.task = asyncio.create_task(self._run(queued, self._quick if quick else self._slots))
        queued.task.add_done_callback(lambda task: self._end(queued, task))
        return queued

    @contextlib.contextmanager
    def upload(self) -> Iterator[None]:
        """Keep a place in the queue while the files of a job are still coming in.

        Raises:
            QueueFull: too many jobs are waiting.
        """
        self._require_room()
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    def cancel(self, owner: Hashable, name: str | None = None, *, replaced: bool = False) -> None:
        """Cancel the jobs of an owner, or the one of this name."""
        for job in [each for each in self.jobs if each.owner == owner and name in (None, each.name)]:
            job.cancel(replaced=replaced)

    def cancel_unattended(self, every_s: float) -> None:
        """Cancel the jobs whose browser has vanished without a word; to be called every ``every_s`` seconds.

        Calls are counted instead of seconds: a busy machine that lets both sides wait cancels nothing.
        """
        for job in [each for each in self.jobs if each.attended]:
            job.unheard += 1
            if job.unheard * every_s > self.limits.unheard_s:
                job.cancel()

    def close(self) -> None:
        """Cancel all jobs."""
        for job in list(self.jobs):
            job.cancel()

    async def _run(self, job: QueuedJob, slots: asyncio.Semaphore) -> Any:
        async with slots:
            job.running = Running()
            async with asyncio.timeout(self.limits.job_s):
                return await self.pool.run(job.job, job.folder, job.report)

    def _end(self, job: QueuedJob, task: asyncio.Task[Any]) -> None:
        job.ended_s = time.monotonic()
        if task.cancelled():
            job.end = job.end or Cancelled()
        elif isinstance(error := task.exception(), TimeoutError):
            job.end = Failed(JobTimeout(f"the job took longer than {self.limits.job_s:g} s", "try a shorter file"))
        elif error is not None:
            job.end = job.end or Failed(error)
        else:
            job.end = job.end or Done(task.result())
        self.jobs.remove(job)
        if job in self._line:
            self._line.remove(job)
        kept = isinstance(job.end, Done)
        shutil.rmtree(job.folder / GIVEN if kept else job.folder, ignore_errors=True)
        job.over.set()
        self.ended(job)

    def _before(self, job: QueuedJob) -> int:
        return max(0, self._line.index(job) - self.limits.workers + 1) if job in self._line else 0

    def _require_room(self) -> None:
        if len(self._line) + self._uploads >= self.limits.workers + self.limits.waiting:
            message = f"the server is busy: {self.limits.waiting} jobs are waiting already"
            raise QueueFull(message, "try again in a few minutes")
