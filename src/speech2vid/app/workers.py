"""Work in a process of its own: it can be stopped at any moment, and takes nothing with it when it crashes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from speech2vid.data.executors.local import die_with_parent
from speech2vid.errors import Speech2VidError

Task = Callable[..., Any]  # task(folder, progress, **arguments); importable by name
REPORT_EVERY_S = 0.1
KEPT_WARM = 2  # processes that wait for the next job, with everything loaded


class Progress(Protocol):
    """Told how far a task is, and of tasks with several parts which one it is."""

    def __call__(self, done: int, total: int | None, doing: str = "") -> None: ...


class Stopped(Exception):
    """The job was stopped before it was done."""


class Crashed(Exception):
    """The job's process died, or failed with something that is not meant for the user."""


class Job:
    """A task that runs.

    Attributes:
        done, total: units of work, as far as known.
        doing: which part of it.
        started_s: on the monotonic clock.
        heard_s: when somebody last asked how it goes.
    """

    def __init__(self, pool: WorkerPool, member: _Worker, task: Task, folder: Path, arguments: dict[str, Any]) -> None:
        self.done = 0
        self.total: int | None = None
        self.doing = ""
        self.started_s = self.heard_s = time.monotonic()
        self._pool, self._member = pool, member
        self._over = self._stopped = False
        self._lock = threading.Lock()
        with contextlib.suppress(OSError):  # it died already: result() will tell
            member.pipe.send((task, folder, arguments))

    def result(self) -> Any:
        """The task's result, or None while it runs.

        Raises:
            Speech2VidError: what the task raised.
            Stopped, Crashed.
        """
        self.heard_s = time.monotonic()
        with self._lock:
            if self._stopped:
                raise Stopped
            try:
                while self._member.pipe.poll():
                    kind, *content = self._member.pipe.recv()
                    if kind == "progress":
                        self.done, self.total, self.doing = content
                        continue
                    self._over = True
                    self._pool.free(self._member, self)
                    if kind == "failed":
                        raise content[0]
                    if kind == "crashed":
                        raise Crashed(content[0])
                    return content[0]
            except (EOFError, OSError) as error:
                self._over = True
                self._pool.dismiss(self._member, self)
                raise Crashed("the process died") from error
        return None

    def stop(self) -> None:
        """End the process, unless the job is over. Whoever waits for the result gets ``Stopped``."""
        with self._lock:
            if not self._over:
                self._over = self._stopped = True
                self._pool.dismiss(self._member, self)


class WorkerPool:
    """Processes for jobs; a few are kept warm. A watchman stops jobs that run too long or that nobody listens to.

    Args:
        job_s: longest time of a job.
        unheard_s: and of one that nobody asks about.
        watch_every_s: how often that is checked.
        get_ready: called first in each process, ahead of its first job; importable by name.
    """

    def __init__(
        self,
        *,
        job_s: float,
        unheard_s: float,
        watch_every_s: float = 0.5,
        get_ready: Callable[[], None] | None = None,
    ) -> None:
        self._job_s, self._unheard_s, self._get_ready = job_s, unheard_s, get_ready
        self._idle: list[_Worker] = []
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._watchman = threading.Thread(target=self._watch, args=(watch_every_s,), daemon=True)
        self._watchman.start()

    def warm(self, count: int = 1) -> None:
        """Start processes ahead of the first jobs."""
        fresh = [_Worker(self._get_ready) for _ in range(count)]
        with self._lock:
            self._idle += fresh

    def start(self, task: Task, folder: Path, **arguments: Any) -> Job:
        """Begin ``task(folder, progress, **arguments)``; temporary files of its process go into ``folder``."""
        with self._lock:
            member = self._idle.pop(0) if self._idle else None
        if member is None or not member.alive:
            member = _Worker(self._get_ready)
        job = Job(self, member, task, folder, arguments)
        with self._lock:
            self._jobs[id(job)] = job
        return job

    def free(self, member: _Worker, job: Job) -> None:
        """A job is over, its process may serve again."""
        with self._lock:
            self._jobs.pop(id(job), None)
            keep = len(self._idle) < KEPT_WARM and not self._closing.is_set()
            if keep:
                self._idle.append(member)
        if not keep:
            member.end()

    def dismiss(self, member: _Worker, job: Job) -> None:
        """A job is over, and so is its process."""
        with self._lock:
            self._jobs.pop(id(job), None)
        member.end()

    @property
    def running(self) -> int:
        """Number of jobs."""
        with self._lock:
            return len(self._jobs)

    def close(self) -> None:
        """Stop everything."""
        self._closing.set()
        self._watchman.join()
        with self._lock:
            jobs, idle = list(self._jobs.values()), self._idle
            self._idle = []
        for job in jobs:
            job.stop()
        for member in idle:
            member.end()

    def _watch(self, every_s: float) -> None:
        while not self._closing.wait(every_s):
            now = time.monotonic()
            with self._lock:
                jobs = list(self._jobs.values())
            for job in jobs:
                if now - job.heard_s > self._unheard_s or now - job.started_s > self._job_s:
                    job.stop()


class _Worker:
    """A process at the other end of a pipe."""

    def __init__(self, get_ready: Callable[[], None] | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, get_ready), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, get_ready: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=die_with_parent, daemon=True).start()
    if get_ready is not None:
        get_ready()
    with contextlib.suppress(EOFError):
        while True:
            task, folder, arguments = pipe.recv()
            pipe.send(_run(pipe, task, folder, arguments))


def _run(pipe: Connection, task: Task, folder: Path, arguments: dict[str, Any]) -> tuple[Any, ...]:
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    reported_s = 0.0

    def progress(done: int, total: int | None, doing: str = "") -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s > REPORT_EVERY_S:
            reported_s = time.monotonic()
            pipe.send(("progress", done, total, doing))

    try:
        return "done", task(folder, progress, **arguments)
    except Speech2VidError as error:
        return "failed", error
    except BaseException:
        return "crashed", traceback.format_exc()
