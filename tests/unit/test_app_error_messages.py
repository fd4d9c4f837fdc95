"""What a visitor reads when something fails: the file by its name, no option of the command line, no path."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from speech2vid.app.error_messages import explain
from speech2vid.errors import FaceError, MediaError, OutputError

ROOT = Path("/tmp/speech2vid-app-abcd")
NAMES = {ROOT / "made/1/2/3/given/0/me.jpg": "me.jpg", ROOT / "made/1/2/3/given/1/voice note.wav": "voice note.wav"}


def test_files_have_the_visitors_names() -> None:
    error = MediaError(f"{ROOT}/made/1/2/3/given/1/voice note.wav has no audio stream", "give a recording file")
    assert explain(error, NAMES) == ("Voice note.wav has no audio stream.", "Give a recording file.")


def test_options_of_the_command_line_are_not_named() -> None:
    error = FaceError(
        "me.jpg shows 2 faces of about the same size", "choose one with --face-index, from the left: 0, 1"
    )
    assert "preview" in explain(error, NAMES).hint
    assert "--" not in explain(error, NAMES).hint
    assert explain(MediaError("x is y", "see --silence"), NAMES).hint == ""


def test_other_paths_of_the_private_folder_do_not_appear() -> None:
    failure = explain(MediaError(f"{ROOT}/made/9/.x.1234.mp4 is damaged"), NAMES)
    assert failure.message == "the file is damaged.".capitalize()


def test_an_output_error_does_not_tell_where(caplog: pytest.LogCaptureFixture) -> None:
    failure = explain(OutputError("/secret/place/talk.mp4 could not be written: No space left on device"), NAMES)
    assert "secret" not in "".join(failure)
    assert "No space left" in caplog.text


def test_anything_else_is_a_number_whose_reason_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failure = explain(ValueError("/secret/place"), NAMES)
    assert "secret" not in "".join(failure)
    number = failure.hint.split("number ")[1].split(" ")[0]
    assert number in caplog.text
    assert "/secret/place" in caplog.text
