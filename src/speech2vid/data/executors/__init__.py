"""Who does the work of a preparation: processes of this machine, or Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar, get_args

from speech2vid.data.executors import local, ray
from speech2vid.data.executors.local import Died
from speech2vid.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")

Engine = Literal["local", "ray"]
ENGINES: tuple[str, ...] = get_args(Engine)


class WorkThrough(Protocol):
    """Calls a function with each item, ``jobs`` at a time; see :func:`speech2vid.data.executors.local.work_through`."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[int, R | Died]]: ...


def work_through_by(engine: Engine) -> WorkThrough:
    """The way of working of an engine.

    Raises:
        ConfigError: no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine {engine!r}", f"choose from: {', '.join(ENGINES)}")
    return ray.work_through if engine == "ray" else local.work_through
