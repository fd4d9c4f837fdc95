"""A video is put out of step, measured, and put back: with the network that is shipped."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program
from speech2vid.media import shift_audio


@pytest.fixture(scope="module")
def talking(photo: Path, speech: Path, drawn_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face whose lower lip follows the loudness of the voice."""
    from speech2vid.inference.talk import talk

    out = tmp_path_factory.mktemp("talking") / "talking.mp4"
    talk(photo, speech, out, weights=drawn_weights, max_size_px=256)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("late_frames", [6])
def test_the_offset_moves_with_the_audio_and_fix_takes_it_out(
    talking: Path, tmp_path: Path, late_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speech2vid.faces.sync.CONFIDENT", 0.0)  # a warped photo convinces nobody

    def offset(path: Path, *more: str | Path) -> int:
        result = CliRunner().invoke(program, ["sync", str(path), "--json", *map(str, more)])
        assert result.exit_code == 0, result.stderr
        return int(json.loads(result.stdout)["offset_frames"])

    moved = shift_audio(talking, tmp_path / "moved.mp4", Fraction(late_frames, 25))
    assert abs(offset(moved, "--fix", tmp_path / "fixed.mp4") - offset(talking) - late_frames) <= 1
    assert abs(offset(tmp_path / "fixed.mp4")) <= 1
