"""Where the tabs hand in their work: files are checked, jobs wait their turn, run, are watched and can be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech2vid.app.error_messages import Failure, explain
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage
from speech2vid.app.workers import Job, Stopped, Task, WorkerPool

log = logging.getLogger(__name__)

ASK_EVERY_S = 0.25
TIDY_EVERY_S = 1.0
MAX_NAME = 60


@dataclass(frozen=True)
class Visitor:
    """Who asks: a browser (its cookie) and a page in it."""

    owner: str
    tab: str


@dataclass(frozen=True)
class Waiting:
    """So many jobs come first."""

    before: int


@dataclass(frozen=True)
class Running:
    """How far a job, or a part of it that has a name, is; ``left_s`` None until it can be told."""

    done: int
    total: int | None
    left_s: float | None
    doing: str = ""


@dataclass(frozen=True)
class Done:
    """The task's result."""

    result: Any


State = Waiting | Running | Done | Failure
STOPPED = Failure("Stopped.", "Nothing was kept.")
Given = str | Sequence[str] | None  # paths as Gradio gives them


class JobQueue:
    """Takes work for a crew.

    Args:
        storage: files.
        pool: processes.
        limits: numbers.
    """

    def __init__(self, storage: Storage, pool: WorkerPool, limits: Limits) -> None:
        self.storage, self.pool, self.limits = storage, pool, limits
        self._line: list[_QueuedJob] = []  # those whose turn it is, and behind them those who wait
        self._jobs: dict[Visitor, set[_QueuedJob]] = {}
        self._open: dict[Visitor, float | None] = {}  # when a page was closed; None: it is open
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._tidier = threading.Thread(target=self._tidy, daemon=True)
        self._tidier.start()

    async def serve(
        self,
        visitor: Visitor,
        task: Task,
        files: Mapping[str, Given],
        *,
        at_once: bool = False,
        keeps: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> AsyncGenerator[State, None]:
        """Run a task on a visitor's files; yields states, the last of which is ``Done`` or ``Failure``.

        Closing the generator stops the job. Whatever does not end in ``Done`` leaves no file.

        Args:
            visitor: who asks.
            task: gets each file (or list of files) under its key, as a path, and ``options``.
            files: those that the visitor has uploaded.
            at_once: short work, not held up by the line.
            keeps: the task also gets the folder of what a page keeps from job to job, as ``kept``.
            name: an earlier job of this page and name is given up.
        """
        if name is not None:
            self.give_up(visitor, name)
        if keeps:
            options["kept"] = self.storage.kept(visitor.owner, visitor.tab)
        ticket = _QueuedJob(name)
        try:
            if not at_once:
                if len(self._line) >= self.limits.jobs + self.limits.waiting:
                    message = f"The page is busy: {self.limits.waiting} jobs are waiting already."
                    yield Failure(message, "Try again in a few minutes.")
                    return
                self._line.append(ticket)
            self._jobs.setdefault(visitor, set()).add(ticket)
            while not at_once and (before := self._before(ticket)) > 0:
                yield Waiting(before)
                await asyncio.sleep(ASK_EVERY_S)
            if ticket.stopped:
                if not ticket.given_up:
                    yield STOPPED
                return
            async with contextlib.aclosing(self._run(visitor, ticket, task, files, options)) as states:
                async for state in states:
                    yield state
        finally:
            ticket.stop()
            if ticket in self._line:
                self._line.remove(ticket)
            self._jobs.get(visitor, set()).discard(ticket)
            if not self._jobs.get(visitor):
                self._jobs.pop(visitor, None)

    async def _run(
        self, visitor: Visitor, ticket: _QueuedJob, task: Task, files: Mapping[str, Given], options: Mapping[str, Any]
    ) -> AsyncGenerator[State, None]:
        names: dict[Path, str] = {}
        try:
            with self.storage.job(visitor.owner, visitor.tab) as folder:
                given = {key: self._take(visitor, folder, value, names) for key, value in files.items()}
                ticket.folder = folder
                ticket.job = job = self.pool.start(task, folder, **given, **options)
                try:
                    clock = _Clock()
                    while (result := job.result()) is None:
                        ticket.heard_s = time.monotonic()
                        yield Running(job.done, job.total, clock.left_s(job), job.doing)
                        await asyncio.sleep(ASK_EVERY_S)
                finally:
                    job.stop()
                    shutil.rmtree(folder / "given", ignore_errors=True)
        except Stopped:
            if not ticket.given_up:
                yield STOPPED
            return
        except Exception as error:
            yield explain(error, names)
            return
        yield Done(result)

    def _before(self, ticket: _QueuedJob) -> int:
        """How many jobs must end first; 0 for one that was stopped."""
        ticket.heard_s = time.monotonic()
        if ticket.stopped or ticket not in self._line:
            return 0
        return max(0, self._line.index(ticket) - self.limits.jobs + 1)

    def _take(self, visitor: Visitor, folder: Path, value: Given, names: dict[Path, str]) -> Any:
        """The job's own link to a file: it stays when the upload is removed."""
        if value is None or isinstance(value, str):
            if value is None or not self.storage.may_read(visitor.owner, Path(value)):
                raise FileNotFoundError("a file of somebody else, or one that is gone")
            source = Path(value)
            place = folder / "given" / str(len(names))
            place.mkdir(parents=True)
            link = place / f"{source.stem[:MAX_NAME]}{source.suffix[:8]}"
            try:
                os.link(source, link)
            except OSError:
                shutil.copyfile(source, link)
            names[link] = link.name
            return link
        return [self._take(visitor, folder, each, names) for each in value]

    def stop(self, visitor: Visitor) -> None:
        """Stop whatever a page has running or waiting."""
        for ticket in list(self._jobs.get(visitor, ())):
            ticket.stop()

    def give_up(self, visitor: Visitor, name: str) -> None:
        """Stop a page's job of this name; nothing more is said of it."""
        for ticket in [each for each in self._jobs.get(visitor, ()) if each.name == name]:
            ticket.given_up = True
            ticket.stop()

    def enter(self, visitor: Visitor) -> None:
        """A page was opened."""
        with self._lock:
            self._open[visitor] = None

    def leave(self, visitor: Visitor) -> None:
        """A page was closed: its jobs stop, its files go a little later."""
        self.stop(visitor)
        with self._lock:
            if visitor in self._open:
                self._open[visitor] = time.monotonic()

    def close(self) -> None:
        """Stop everything and remove every file."""
        self._closing.set()
        self._tidier.join()
        self.pool.close()
        self.storage.close()

    def _tidy(self) -> None:
        while not self._closing.wait(TIDY_EVERY_S):
            try:
                self._forget_closed(time.monotonic() - self.limits.grace_s)
                self._drop_unheard(time.monotonic() - self.limits.unheard_s)
                self.storage.remove_old(self.limits.keep_s)
            except Exception:
                log.exception("tidying up the private folder")

    def _drop_unheard(self, before: float) -> None:
        """End what nobody listens to any more: a browser that vanished without a word."""
        for ticket in [ticket for ticket in list(self._line) if ticket.heard_s < before]:
            ticket.stop()
            with contextlib.suppress(ValueError):  # it has just left by itself
                self._line.remove(ticket)
            if ticket.folder is not None:
                shutil.rmtree(ticket.folder, ignore_errors=True)

    def _forget_closed(self, before: float) -> None:
        with self._lock:
            gone = [visitor for visitor, closed in self._open.items() if closed is not None and closed < before]
            for visitor in gone:
                del self._open[visitor]
            present = {visitor.owner for visitor in self._open}
        for visitor in gone:
            self.storage.forget_tab(visitor.owner, visitor.tab)
            if visitor.owner not in present:
                self.storage.forget_owner(visitor.owner)


class _QueuedJob:
    """A place in the line, and later the job."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.stopped = self.given_up = False
        self.heard_s = time.monotonic()
        self.job: Job | None = None
        self.folder: Path | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.job is not None:
            self.job.stop()


class _Clock:
    """Tells the time left from the speed since the first unit of a job's part was done."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._doing = ""

    def left_s(self, job: Job) -> float | None:
        now, done, total = time.monotonic(), job.done, job.total
        if job.doing != self._doing:
            self._first, self._doing = None, job.doing
        if not done or not total:
            return None
        if self._first is None:
            self._first = now, done
        start, first = self._first
        if done <= first or now - start < 1:
            return None
        return (total - done) * (now - start) / (done - first)
