"""Progress where standard error is no terminal."""

from __future__ import annotations

import time

import pytest

from speech2vid.cli import output


def lines_of(capsys: pytest.CaptureFixture[str], advance: output.Advance, *step: object) -> str:
    """Advance until a line was written; a writer that never writes ends in the test's own limit."""
    for _ in range(1000):
        advance(*step)  # type: ignore[arg-type]
        time.sleep(0.01)
        if text := capsys.readouterr().err:
            return text.splitlines()[-1]
    raise AssertionError("no line of progress")


def test_lines_are_written_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "LOG_EVERY_S", 0.01)
    with output.progress_bar("train → run", "steps", log_lines=True) as advance:
        assert lines_of(capsys, advance, 0).endswith("train → run: preparing")
        assert lines_of(capsys, advance, 5).endswith("train → run: 5 steps")
        line = lines_of(capsys, advance, 1200, 3000, "warp_talker")
        assert "train → run: warp_talker: 1,200 of 3,000 steps" in line
        line = lines_of(capsys, advance, 1201, 3000, "warp_talker")
        assert "1,201 of 3,000 steps, about " in line
        assert line.endswith(" left")
        assert lines_of(capsys, advance, 3000, 3000, "warp_talker").endswith("3,000 of 3,000 steps")
    time.sleep(0.05)
    assert capsys.readouterr().err == "", "it ends with its block"


def test_short_commands_stay_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LOG_EVERY_S", 0.01)
    with output.progress_bar("talk → a.mp4") as advance:
        advance(1, 2)
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (40, "40 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (11100, "3 h 05 min")],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert output._duration(seconds) == text
