"""Processes that work through a list: all items once, deaths named, errors raised, nothing left running."""

from __future__ import annotations

import multiprocessing
import operator
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from speech2vid.pool import Died, work_through


def test_every_item_is_done_once() -> None:
    items = [-3, 5, -1, 0]
    assert sorted(work_through(abs, items, 2)) == [(0, 3), (1, 5), (2, 1), (3, 0)]
    assert list(work_through(abs, [], 2)) == []


DIES_ONCE = """
import os, pathlib, signal
marker = pathlib.Path({!r})
if not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_death_is_tried_again(tmp_path: Path) -> None:
    die_once = [partial(exec, DIES_ONCE.format(str(tmp_path / name))) for name in "ab"]
    assert dict(work_through(operator.call, [die_once[0], partial(abs, -1), die_once[1]], 1)) == {
        0: None,
        1: 1,
        2: None,
    }
    assert (tmp_path / "b").exists()


def test_a_death_each_time_costs_only_its_item() -> None:
    """The second call ends its process at once, as a crash in a decoder would."""
    calls = [partial(abs, -1), partial(os._exit, 9), partial(abs, -2), partial(abs, -3)]
    results = dict(work_through(operator.call, calls, 1))
    assert isinstance(results.pop(1), Died)
    assert results == {0: 1, 2: 2, 3: 3}


def test_an_error_is_raised_and_ends_the_others(tmp_path: Path) -> None:
    """The other call, which would leave a mark at its end, is not waited for."""
    mark = tmp_path / "ended"
    calls = [partial(exec, f"import time, pathlib; time.sleep(300); pathlib.Path({str(mark)!r}).touch()")]
    with pytest.raises(ValueError, match="invalid literal"):
        list(work_through(operator.call, [*calls, partial(int, "x")], 2))
    assert not mark.exists()
    assert not multiprocessing.active_children()


def test_stopping_early_leaves_nothing_running() -> None:
    results = work_through(operator.call, [partial(abs, -1), partial(time.sleep, 600)], 2)
    assert next(results) == (0, 1)
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_workers_end_with_a_killed_parent_in_the_middle_of_an_item() -> None:
    code = (
        "import operator, os, time; from functools import partial; "
        "from speech2vid.pool import work_through; "
        "list(work_through(operator.call, [partial(os.write, 1, b'x'), partial(time.sleep, 600)], 1))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.read(1) == b"x"
        time.sleep(0.2)
        parent.kill()
        parent.communicate(timeout=120)  # the pipe ends when nobody holds it any more
