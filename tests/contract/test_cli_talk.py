"""``talk`` and ``demo`` as a person runs them: what comes out, what is printed, what is left after a failure."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from processes import eventually, start
from speech2vid.cli.info import weight_files
from speech2vid.cli.program import program
from speech2vid.cli.talk import talk as command
from speech2vid.inference.options import TalkOptions
from speech2vid.inference.talk import talk as function
from speech2vid.media import probe

RESULT_KEYS = {"outfile", "frames", "seconds", "fps_end_to_end", "stage_seconds", "notes"}
STAGES = {"decode", "front_end", "network", "blend", "encode"}


@pytest.fixture
def weights() -> None:
    if not weight_files():
        pytest.skip("the package has no weights; test_the_package_has_weights says so in red")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for outputs, empty."""
    path = tmp_path / "out"
    path.mkdir()
    return path


def test_the_package_has_weights() -> None:
    assert weight_files()


def test_command_and_function_have_the_same_parameters() -> None:
    skin, work = inspect.signature(command).parameters, inspect.signature(function).parameters
    options = {each.name: each.default for each in fields(TalkOptions)}
    only_work = {"progress", "signer", "talker", "options", "settings", "frames"}
    only_skin = {"as_json", "sign_cert", "sign_key", "sign_alg"}  # three words of a command line are one Signer
    assert set(skin) - only_skin - set(options) == set(work) - only_work
    assert set(options) <= set(skin)
    for name, default in options.items():
        assert skin[name].default == default, name


@pytest.mark.parametrize(
    "extra", [["--crf", "99"], ["--device", "abacus"], ["--silence", "maybe"], ["--face-index", "-1"], ["--nonsense"]]
)
def test_wrong_usage_is_2(speech2vid, photo: Path, speech: Path, out: Path, extra: list[str]) -> None:
    result = speech2vid("talk", "--face", photo, "--audio", speech, "--outfile", out / "a.mp4", *extra)
    assert result.returncode == 2
    assert extra[0] in result.stderr or f"{extra[0][2:].replace('-', '_')} cannot be {extra[1]}" in result.stderr
    assert result.stdout == ""
    assert not list(out.iterdir())


@pytest.mark.parametrize("left_out", ["--face", "--audio", "--outfile"])
def test_a_missing_option_is_named(speech2vid, left_out: str) -> None:
    options = {"--face": "a.jpg", "--audio": "a.wav", "--outfile": "a.mp4"}
    given = [word for name, value in options.items() if name != left_out for word in (name, value)]
    result = speech2vid("talk", *given)
    assert result.returncode == 2
    assert left_out in result.stderr


def test_json_is_one_object_and_nothing_else(weights, speech2vid, photo: Path, second: Path, out: Path) -> None:
    result = speech2vid("talk", "--face", photo, "--audio", second, "--outfile", out / "a.mp4", "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert set(record) == RESULT_KEYS
    assert set(record["stage_seconds"]) == STAGES
    assert (record["outfile"], record["frames"], record["seconds"]) == (str(out / "a.mp4"), 25, 1.0)
    assert record["fps_end_to_end"] > 0
    assert probe(out / "a.mp4").duration_s == pytest.approx(1.0, abs=0.04)
    assert [path.name for path in out.iterdir()] == ["a.mp4"]


def test_demo_makes_a_marked_video_and_says_from_what(weights, speech2vid, out: Path) -> None:
    result = speech2vid("demo", cwd=out)
    assert result.returncode == 0, result.stderr
    for said in ("astronaut.jpg", "demo_speech.wav", "talk.mp4: 231 frames, 9.24 s", "frames per second"):
        assert said in result.stdout
    verdict = speech2vid("verify", out / "talk.mp4", "--json")
    assert verdict.returncode == 0
    assert json.loads(verdict.stdout)["mark"]["tool"] == "speech2vid"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("missing face", "does not exist"),
        ("text as face", "not a"),
        ("blank face", "no frontal face"),
        ("missing audio", "does not exist"),
        ("text as audio", "not a media file"),
        ("photo as audio", "audio"),
        ("missing folder", "folder"),
        ("unknown type", "a.txt"),
        ("missing weights", "does not exist"),
        ("face number 7", "face 7"),
    ],
)
def test_bad_input_is_one_reason_one_hint_and_an_untouched_output(
    weights, photo: Path, second: Path, tmp_path: Path, out: Path, what: str, reason: str
) -> None:
    text, blank, missing = tmp_path / "text.wav", tmp_path / "blank.png", tmp_path / "missing"
    text.write_text("not audio")
    Image.new("RGB", (320, 240), "grey").save(blank)
    options: dict[str, object] = {"--face": photo, "--audio": second, "--outfile": out / "a.mp4"}
    options |= {
        "missing face": {"--face": missing},
        "text as face": {"--face": text},
        "blank face": {"--face": blank},
        "missing audio": {"--audio": missing},
        "text as audio": {"--audio": text},
        "photo as audio": {"--audio": photo},
        "missing folder": {"--outfile": missing / "a.mp4"},
        "unknown type": {"--outfile": out / "a.txt"},
        "missing weights": {"--weights": missing},
        "face number 7": {"--face-index": 7},
    }[what]
    existing = Path(str(options["--outfile"]))
    if existing.parent == out:
        existing.write_bytes(b"before")
    result = CliRunner().invoke(
        program, ["talk", *(str(word) for option in options.items() for word in option), "--json"]
    )
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"], result.stderr
    assert reason in lines[0]
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] in ([], [(existing.name, b"before")])


INTERRUPTED = "error: interrupted"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_midway_leaves_nothing_behind(weights, out: Path, number: int, code: int) -> None:
    demo = [sys.executable, "-c", "from speech2vid.cli import main; main()", "demo"]
    with start(demo, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(lambda: list(out.iterdir()) or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert errors.splitlines() == ([INTERRUPTED, "hint: no partial output was left behind"] if code == 130 else [])
    assert not list(out.iterdir())
