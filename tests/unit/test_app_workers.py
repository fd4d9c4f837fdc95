"""Work in processes: results, failures, crashes, stops; nothing is left running."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest

from speech2vid.app.jobs import Done, JobQueue, Running, State, Visitor
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage
from speech2vid.app.workers import Crashed, Job, Stopped, WorkerPool
from speech2vid.errors import MediaError

TASKS = """
import os, tempfile, time
from speech2vid.errors import MediaError

def add(folder, progress, *, numbers):
    progress(1, 2, "adding")
    return sum(numbers), tempfile.gettempdir(), os.getpid()

def fail(folder, progress):
    raise MediaError("me.jpg is empty", "copy it again")

def break_down(folder, progress):
    return 1 / 0

def die(folder, progress):
    os._exit(9)

def sleep(folder, progress):
    (folder / "pid").write_text(str(os.getpid()))
    for second in range(600):
        progress(second, 600)
        time.sleep(0.2)
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that the processes can import as well."""
    (tmp_path / "page_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import page_tasks

    return page_tasks


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(job_s=60, unheard_s=60)
    yield pool
    pool.close()
    assert pool.running == 0


def end_of(job: Job) -> Any:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (result := job.result()) is not None:
            return result
        time.sleep(0.02)
    raise TimeoutError


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def begun(job: Job, folder: Path) -> int:
    """The process of a job that sleeps."""
    end = time.monotonic() + 60
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        assert time.monotonic() < end
        job.result()
        time.sleep(0.02)
    return int((folder / "pid").read_text())


def test_a_process_serves_again_after_a_result_and_after_a_failure(
    pool: WorkerPool, tasks: Any, tmp_path: Path
) -> None:
    job = pool.start(tasks.add, tmp_path, numbers=[1, 2])
    total, temporary, pid = end_of(job)
    assert (total, temporary) == (3, str(tmp_path))  # whatever it writes by the way lies in the job's folder
    assert (job.done, job.total, job.doing) == (1, 2, "adding")
    with pytest.raises(MediaError) as failure:
        end_of(pool.start(tasks.fail, tmp_path))
    assert (failure.value.message, failure.value.hint) == ("me.jpg is empty", "copy it again")
    with pytest.raises(Crashed, match="ZeroDivisionError"):
        end_of(pool.start(tasks.break_down, tmp_path))
    assert end_of(pool.start(tasks.add, tmp_path, numbers=[4]))[2] == pid
    job.stop()  # too late: does nothing
    assert not gone(pid)


def test_a_process_that_dies_costs_its_job_alone(pool: WorkerPool, tasks: Any, tmp_path: Path) -> None:
    with pytest.raises(Crashed):
        end_of(pool.start(tasks.die, tmp_path))
    assert end_of(pool.start(tasks.add, tmp_path, numbers=[5]))[0] == 5


def test_stop_ends_the_process(pool: WorkerPool, tasks: Any, tmp_path: Path) -> None:
    job = pool.start(tasks.sleep, tmp_path)
    pid = begun(job, tmp_path)
    job.stop()
    assert gone(pid)
    with pytest.raises(Stopped):
        job.result()


@pytest.mark.parametrize("limits", [{"job_s": 0.5, "unheard_s": 60}, {"job_s": 60, "unheard_s": 0.5}])
def test_a_job_without_end_or_without_listener_is_stopped(tasks: Any, tmp_path: Path, limits: dict[str, float]) -> None:
    pool = WorkerPool(**limits, watch_every_s=0.05)
    job = pool.start(tasks.sleep, tmp_path)
    deadline = time.monotonic() + 30
    while pool.running and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(Stopped):
        job.result()
    pool.close()


def test_a_later_job_of_the_same_name_takes_the_place_of_the_earlier_one(tasks: Any, tmp_path: Path) -> None:
    """A visitor has put another video in: nobody waits for what was begun on the first."""
    job_queue = JobQueue(Storage(tmp_path), WorkerPool(job_s=60, unheard_s=60), Limits())
    visitor, begun = Visitor("ann", "tab"), asyncio.Event()

    async def watch(states: AsyncGenerator[State, None]) -> list[State]:
        seen = []
        async for state in states:
            seen.append(state)
            if isinstance(state, Running):
                begun.set()
        return seen

    async def both() -> tuple[list[State], list[State]]:
        first = asyncio.create_task(watch(job_queue.serve(visitor, tasks.sleep, {}, name="look")))
        await begun.wait()
        second = await watch(job_queue.serve(visitor, tasks.add, {}, name="look", numbers=[1]))
        return await first, second

    first, second = asyncio.run(both())
    assert {type(state) for state in first} == {Running}, "and nothing is said of it"
    assert isinstance(second[-1], Done)
    job_queue.close()
