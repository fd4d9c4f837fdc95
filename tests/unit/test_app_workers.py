"""Workers and their queue: results, failures, crashes, order, cancelling; nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from speech2vid.app.jobs import Cancelled, Done, Failed, JobQueue, JobTimeout, QueuedJob, QueueFull, Running, Waiting
from speech2vid.app.settings import Limits
from speech2vid.app.workers import Job, JobFailed, WorkerDied, WorkerPool
from speech2vid.errors import MediaError

TASKS = """
import os, signal, tempfile, time
from speech2vid.errors import MediaError

def add(folder, progress, numbers=()):
    progress(1, 2, "adding")
    return sum(numbers), tempfile.gettempdir(), os.getpid()

def fail(folder, progress):
    raise MediaError("me.jpg is empty", "copy it again")

def break_down(folder, progress):
    return 1 / 0

def crash(folder, progress):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(600)

def sleep(folder, progress):
    (folder / "pid").write_text(str(os.getpid()))
    for second in range(6000):
        progress(os.getpid(), None)
        time.sleep(0.2)

def run(job, folder, progress):
    return globals()[job.verb](folder, progress, **job.options)
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that the workers can import as well."""
    (tmp_path / "app_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import app_tasks

    return app_tasks


@pytest.fixture
def with_queue(tasks: Any) -> Callable[..., Any]:
    """Call an async test with a queue; at its end no process is left."""

    @asynccontextmanager
    async def opened(limits: Limits) -> AsyncIterator[JobQueue]:
        pool = WorkerPool(tasks.run, size=limits.workers)
        queue = JobQueue(pool, limits)
        try:
            yield queue
        finally:
            queue.close()
            pool.close()
            while queue.jobs:
                await asyncio.sleep(0.01)

    def call(test: Callable[[JobQueue], Awaitable[None]], **limits: Any) -> None:
        async def run() -> None:
            async with opened(Limits(**limits)) as queue:
                await test(queue)

        asyncio.run(run())

    return call


def folder_in(parent: Path, name: str) -> Path:
    folder = parent / name
    (folder / "given").mkdir(parents=True)
    (folder / "given" / "me.jpg").touch()
    return folder


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def pid_of(job: QueuedJob) -> int:
    """The worker of a job that sleeps, as soon as it reports."""
    async for state in job.states():
        if isinstance(state, Running) and state.done:
            return state.done
    raise AssertionError(job.end)


def test_a_worker_stays_for_the_next_job_after_a_result_and_after_a_failure(
    with_queue: Callable[..., Any], tmp_path: Path
) -> None:
    async def test(queue: JobQueue) -> None:
        folder = folder_in(tmp_path, "a")
        job = queue.submit(Job("add", options={"numbers": [1, 2]}), folder)
        total, temporary, pid = await job.result()
        assert (total, temporary) == (3, str(folder))  # whatever it writes by the way lies in the job's folder
        assert job.running == Running(1, 2, None, "adding")
        assert folder.exists()
        assert not (folder / "given").exists(), "inputs are removed"

        failed = queue.submit(Job("fail"), folder_in(tmp_path, "b"))
        with pytest.raises(MediaError) as failure:
            await failed.result()
        assert (failure.value.message, failure.value.hint) == ("me.jpg is empty", "copy it again")
        assert not failed.folder.exists()
        with pytest.raises(JobFailed, match="ZeroDivisionError"):
            await queue.submit(Job("break_down"), folder_in(tmp_path, "c")).result()
        assert (await queue.submit(Job("add"), folder_in(tmp_path, "d")).result())[2] == pid
        job.cancel()  # too late: does nothing
        assert isinstance(job.end, Done)
        assert queue.pool.crashes == 0

    with_queue(test)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_costs_one_job(with_queue: Callable[..., Any], tmp_path: Path, number: signal.Signals) -> None:
    async def test(queue: JobQueue) -> None:
        if number == signal.SIGSEGV:
            job = queue.submit(Job("crash"), folder_in(tmp_path, "a"))
        else:
            job = queue.submit(Job("sleep"), folder_in(tmp_path, "a"))
            os.kill(await pid_of(job), number)
        following = queue.submit(Job("add", options={"numbers": [5]}), folder_in(tmp_path, "b"))
        with pytest.raises(WorkerDied, match=number.name):
            await job.result()
        assert not job.folder.exists()
        assert (await following.result())[0] == 5
        assert queue.pool.crashes == 1

    with_queue(test)


def test_a_worker_that_dies_between_two_jobs_costs_none(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        pid = (await queue.submit(Job("add"), folder_in(tmp_path, "a")).result())[2]
        os.kill(pid, signal.SIGKILL)
        assert (await queue.submit(Job("add"), folder_in(tmp_path, "b")).result())[2] != pid

    with_queue(test)


def test_cancel_ends_the_process_and_removes_the_files(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        job = queue.submit(Job("sleep"), folder_in(tmp_path, "a"))
        pid = await pid_of(job)
        job.cancel()
        assert [state async for state in job.states()] == [Cancelled()]
        assert is_gone(pid)
        assert not job.folder.exists()
        assert (await queue.submit(Job("add"), folder_in(tmp_path, "b")).result())[0] == 0

    with_queue(test)


def test_jobs_run_in_the_order_of_their_submission(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        ended: list[str] = []
        queue.ended = lambda job: ended.append(job.folder.name)
        first = queue.submit(Job("sleep"), folder_in(tmp_path, "first"))
        await pid_of(first)
        second, third, fourth = (queue.submit(Job("add"), folder_in(tmp_path, name)) for name in ("b", "c", "d"))
        assert [job.state for job in (second, third, fourth)] == [Waiting(1), Waiting(2), Waiting(3)]
        with pytest.raises(QueueFull, match="3 jobs are waiting already"):
            queue.submit(Job("add"), folder_in(tmp_path, "e"))
        quick = queue.submit(Job("add"), folder_in(tmp_path, "quick"), quick=True)
        await quick.result()  # while the first still runs
        third.cancel()
        await third.wait()
        assert [job.state for job in (second, fourth)] == [Waiting(1), Waiting(2)]
        first.cancel()
        await fourth.wait()
        assert ended == ["quick", "c", "first", "b", "d"]

    with_queue(test, waiting=3)


def test_several_workers_run_as_many_jobs(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        jobs = [queue.submit(Job("sleep"), folder_in(tmp_path, str(number))) for number in range(3)]
        pids = {await pid_of(job) for job in jobs[:2]}
        assert len(pids) == 2
        assert jobs[2].state == Waiting(1)

    with_queue(test, workers=2)


def test_uploads_keep_their_place_in_the_queue(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        with queue.upload(), queue.upload(), pytest.raises(QueueFull), queue.upload():
            pass
        await queue.submit(Job("add"), folder_in(tmp_path, "a")).result()

    with_queue(test, waiting=1)


def test_a_later_job_of_the_same_name_replaces_the_earlier_one(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        first = queue.submit(Job("sleep"), folder_in(tmp_path, "a"), owner="ann", name="look")
        other = queue.submit(Job("add"), folder_in(tmp_path, "b"), owner="bob", name="look")
        await pid_of(first)
        second = queue.submit(Job("add"), folder_in(tmp_path, "c"), owner="ann", name="look")
        assert first.end == Cancelled(replaced=True)
        await second.result()
        assert isinstance(other.end, Done)

    with_queue(test)


def test_a_job_that_takes_too_long_is_stopped(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        job = queue.submit(Job("sleep"), folder_in(tmp_path, "a"))
        with pytest.raises(JobTimeout, match=r"longer than 0\.2 s"):
            await job.result()
        assert isinstance(job.end, Failed)

    with_queue(test, job_s=0.2)


def test_a_job_that_nobody_looks_at_is_stopped(with_queue: Callable[..., Any], tmp_path: Path) -> None:
    async def test(queue: JobQueue) -> None:
        unattended = queue.submit(Job("sleep"), folder_in(tmp_path, "a"), attended=True)
        later = queue.submit(Job("sleep"), folder_in(tmp_path, "b"))  # its client comes back for it
        await pid_of(unattended)
        for _ in range(10):
            queue.cancel_unattended(every_s=1)
        assert unattended.end is None
        queue.cancel_unattended(every_s=1)
        assert unattended.end == Cancelled()
        assert later.end is None

    with_queue(test)
