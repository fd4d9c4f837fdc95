"""Progress where standard error is no terminal."""

from __future__ import annotations

import queue
import threading

import pytest

from speech2vid.cli import output


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """Lines that are written, as often as possible."""
    written: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(output, "LOG_EVERY_S", 0.001)
    monkeypatch.setattr(output.typer, "echo", lambda line, err: written.put(line))
    return written


def next_line(lines: queue.Queue[str]) -> str:
    """Return a line that was composed after now: the second one to come."""
    while not lines.empty():
        lines.get()
    lines.get(timeout=120)
    return lines.get(timeout=120)


def progress_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_lines_are_written_without_a_terminal(lines: queue.Queue[str]) -> None:
    with output.progress_bar("train → run", "steps", log_lines=True) as advance:
        advance(0)
        assert next_line(lines).endswith("train → run: preparing")
        advance(5)
        assert next_line(lines).endswith("train → run: 5 steps")
        advance(1200, 3000, "warp_talker")
        assert "train → run: warp_talker: 1,200 of 3,000 steps" in next_line(lines)
        advance(1201, 3000, "warp_talker")
        line = next_line(lines)
        assert "1,201 of 3,000 steps, about " in line
        assert line.endswith(" left")
        advance(3000, 3000, "warp_talker")
        assert next_line(lines).endswith("3,000 of 3,000 steps")
        assert progress_threads()
    assert not progress_threads(), "it ends with its block"


def test_short_commands_stay_silent(lines: queue.Queue[str], capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress_bar("talk → a.mp4") as advance:
        advance(1, 2)
        assert not progress_threads()
    assert lines.empty()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (40, "40 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (11100, "3 h 05 min")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert output._duration(seconds) == text
