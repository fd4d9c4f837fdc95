"""The same as :func:`speech2vid.pool.work_through`, by Ray: on one machine, or on all of a cluster with shared files.

The address of a cluster is taken from ``RAY_ADDRESS``, as Ray does itself; without one, Ray is started here and ended
with the run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from speech2vid.errors import ConfigError, MissingExtraError
from speech2vid.pool import TRIES, Died

T = TypeVar("T")
R = TypeVar("R")

OBJECT_STORE_BYTES = 100 * 2**20  # results are small: files hold what is large
WAITING_PER_CPU = 2  # tasks handed to a cluster beyond those that run


def work_through(function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[int, R | Died]]:
    """Call ``function`` with each item, as Ray tasks of one processor each.

    Args:
        function: importable by name on every machine; so are its argument and result.
        jobs: processors of this machine to use; a cluster uses all of its own.

    Yields:
        number of the item and the result, or ``Died``, in the order in which they are done.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: no cluster answers.
        Exception: the first one that ``function`` raises; the tasks are ended.
    """
    if not items:
        return
    ray = _start(jobs)
    try:
        task = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_call)
        processors = int(ray.cluster_resources().get("CPU", jobs))
        waiting = iter(enumerate(items))
        running: dict[Any, int] = {}
        while True:
            while len(running) < processors * WAITING_PER_CPU and (given := next(waiting, None)) is not None:
                running[task.remote(function, given[1])] = given[0]
            if not running:
                break
            (done,), _ = ray.wait(list(running))
            yield running.pop(done), _result(ray, done)
    finally:
        ray.shutdown()


def _call(function: Callable[[T], R], item: T) -> R:
    return function(item)


def _start(jobs: int) -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "the engine 'ray' requires Ray, which is not installed", "install the extra: pip install 'speech2vid[ray]'"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as our own processes; with Ray's 15, others' work starves ours
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            ray.init(num_cpus=jobs, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray failed to start: {str(error).splitlines()[0]}", "check RAY_ADDRESS") from error
    return ray


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
        return Died()
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
