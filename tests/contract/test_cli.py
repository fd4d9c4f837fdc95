"""The command line's contract: exit codes, one-line reasons, JSON on standard output, a quick start without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from speech2vid import __version__
from speech2vid.cli.failures import ReportingGroup
from speech2vid.errors import MediaError

HEAVY = ("torch", "numpy", "onnxruntime", "av", "cv2", "dlib", "rich", "PIL")
MOST_MODULES = 600
PROGRAM = [sys.executable, "-c", "from speech2vid.cli import main; main()"]


def failing_program(error: BaseException) -> typer.Typer:
    """A program whose one job is to fail with ``error``."""
    program = typer.Typer(cls=ReportingGroup, pretty_exceptions_enable=False)

    @program.callback()
    def options(debug: bool = False) -> None: ...

    @program.command()
    def fail() -> None:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code", "reason", "hint"),
    [
        (MediaError("a.jpg: no\nface", "take\nanother"), 1, "a.jpg: no face", "take another"),
        (MediaError("a.wav has no audio"), 1, "a.wav has no audio", ""),
        (FileNotFoundError(2, "No such file", "b.mp4"), 1, "b.mp4: No such file", "check the path"),
        (OSError(28, "No space left on device"), 1, "No space left on device", "free disk space"),
        (MemoryError(), 1, "not enough memory", "smaller"),
        (KeyboardInterrupt(), 130, "interrupted", "no partial output"),
        (ValueError("first\nsecond"), 1, "unexpected ValueError: first second", "--debug"),
    ],
)
def test_failure_is_one_reason_and_one_hint(error: BaseException, code: int, reason: str, hint: str) -> None:
    result = CliRunner().invoke(failing_program(error), ["fail"])
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == f"error: {reason}"
    assert [line.startswith("hint: ") and hint in line for line in lines[1:]] == ([True] if hint else [])


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(failing_program(MediaError("a.jpg: no face")), ["--debug", "fail"])
    assert "Traceback" in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize("arguments", [["nonsense"], ["info", "--nonsense"], ["verify"]])
def test_wrong_usage_is_2(speech2vid, arguments: list[str]) -> None:
    result = speech2vid(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_version(speech2vid) -> None:
    assert speech2vid("--version").stdout == f"speech2vid {__version__}\n"


def test_commands_load_nothing_heavy() -> None:
    code = f"import sys, speech2vid.cli.program; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"


def test_help_imports_few_modules() -> None:
    """Help is quick: half of what it takes is Typer, and none of it is a library that does the work."""
    command = [sys.executable, "-X", "importtime", *PROGRAM[1:], "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "verify" in result.stdout
    imported = [
        line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time")
    ]
    assert "typer" in imported
    assert not {name.partition(".")[0] for name in imported} & (set(HEAVY) - {"rich"})
    assert len(imported) < MOST_MODULES


def test_info_json_names_versions_weights_and_licences(speech2vid) -> None:
    from speech2vid.cli.info import weight_files

    result = speech2vid("info", "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["version"] == __version__
    assert record["packages"]["numpy"][0].isdigit()
    assert "CPU" in record["devices"]["onnx"]
    shown = {weights["file"]: weights["sha256"] for weights in record["weights"]}
    assert shown == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for _, path in weight_files()}
    assert any("300-W" in entry["note"] for entry in record["licences"])


def test_info_reads_the_header_of_weights(tmp_path: Path) -> None:
    import numpy as np

    from speech2vid.cli.info import describe_weights
    from speech2vid.runtime.weights import WeightsHeader, write_weights

    path = tmp_path / "tiny.safetensors"
    write_weights(
        path, WeightsHeader("paper_talker", {"size": "compact"}, "made up", licence="none"), {"a": np.zeros(3)}
    )
    described = describe_weights(path)
    assert described["architecture"] == "paper_talker"
    assert described["config"] == {"size": "compact"}
    assert described["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_verify_of_a_missing_and_of_a_text_file(speech2vid, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    for path in (tmp_path / "missing.mp4", text):
        result = speech2vid("verify", path)
        assert result.returncode == 1
        assert result.stdout == ""
        reason, hint = result.stderr.splitlines()
        assert reason.startswith("error: ")
        assert path.name in reason
        assert hint.startswith("hint: ")


def test_verify_says_no_for_a_file_without_the_mark(speech2vid, speech: Path) -> None:
    result = speech2vid("verify", speech)
    assert result.returncode == 1
    assert "carries no speech2vid mark" in result.stderr
    as_json = speech2vid("verify", speech, "--json")
    said = json.loads(as_json.stdout)
    assert said == {"file": str(speech), "verdict": "none", "synthetic": False, "mark": None, "credentials": None}


def test_closed_pipe_is_quiet() -> None:
    with subprocess.Popen([*PROGRAM, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
