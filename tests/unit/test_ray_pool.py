"""The same promises as of ``workers``, kept by Ray: all items once, a killed worker is another try, errors raised."""

from __future__ import annotations

import operator
import os
from functools import partial
from pathlib import Path

import pytest

from speech2vid.errors import ConfigError, MissingExtraError
from speech2vid.executors import work_through_by
from speech2vid.pool import Died

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def ray() -> None:
    """Ray, if it is there."""
    pytest.importorskip("ray")


DIES_ONCE = """
import os, pathlib, signal
marker = pathlib.Path({!r})
if not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@slow
@pytest.mark.promise
@pytest.mark.usefixtures("ray")
def test_every_item_is_done_once_and_deaths_are_tried_again(tmp_path: Path) -> None:
    die_once = partial(exec, DIES_ONCE.format(str(tmp_path / "marker")))
    calls = [die_once, partial(abs, -1), partial(os._exit, 9), partial(abs, -3)]
    results = dict(work_through_by("ray")(operator.call, calls, 2))
    assert isinstance(results.pop(2), Died)
    assert results == {0: None, 1: 1, 3: 3}


@slow
@pytest.mark.promise
@pytest.mark.usefixtures("ray")
def test_an_error_is_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(work_through_by("ray")(operator.call, [partial(int, "x")], 1))


def test_nothing_to_do_starts_nothing() -> None:
    assert list(work_through_by("ray")(abs, [], 2)) == []


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match="ray") as error:
        list(work_through_by("ray")(abs, [1], 1))
    assert "[ray]" in error.value.hint


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match="'dask'"):
        work_through_by("dask")  # type: ignore[arg-type]
