"""Who works through a list: processes of this machine, or Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar, get_args

from speech2vid import pool, ray_pool
from speech2vid.errors import ConfigError
from speech2vid.pool import Died

T = TypeVar("T")
R = TypeVar("R")

Engine = Literal["local", "ray"]
ENGINES: tuple[str, ...] = get_args(Engine)


class WorkThrough(Protocol):
    """Calls a function with each item, ``jobs`` at a time; see :func:`speech2vid.pool.work_through`."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[int, R | Died]]: ...


def work_through_by(engine: Engine) -> WorkThrough:
    """Return the ``work_through`` function of an engine.

    Raises:
        ConfigError: the engine is unknown.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine {engine!r}", f"choose from: {', '.join(ENGINES)}")
    return ray_pool.work_through if engine == "ray" else pool.work_through
