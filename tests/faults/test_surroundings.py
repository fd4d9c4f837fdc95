"""Machines as they are: no home, no terminal, no locale, closed streams; nothing is sent, nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from speech2vid.cli import main; main()"]
BARE = {"PATH": os.environ["PATH"]} | {
    name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ
}
USE_EVERYTHING = """
import speech2vid.inference.redub, speech2vid.media, speech2vid.faces
from importlib import resources
from pathlib import Path
from speech2vid.inference.talkers.base import load_talker
import c2pa
load_talker(Path(str(resources.files("speech2vid") / "weights")))
"""


def start(words: list[str], tmp_path: Path, **options) -> subprocess.CompletedProcess[str]:
    options.setdefault("env", BARE)
    options.setdefault("cwd", tmp_path)
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize(
    "surroundings",
    [{}, {"LANG": "C", "LC_ALL": "C"}, {"LC_ALL": "xx_YY.nonsense"}, {"TERM": "nonsense", "COLUMNS": "0"},
     {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}, {"COLUMNS": "-1"}, {"PYTHONIOENCODING": "ascii"}],
    ids=str,
)  # fmt: skip
def test_info_and_an_error_in_bare_surroundings(surroundings: dict[str, str], tmp_path: Path) -> None:
    result = start(["info", "--json"], tmp_path, env=BARE | surroundings)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["weights"]
    failed = start(["verify", "näme 名.mp4"], tmp_path, env=BARE | surroundings)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert [line.split(":")[0] for line in failed.stderr.splitlines()] == ["error", "hint"]


def test_a_table_in_ascii(tmp_path: Path) -> None:
    result = start(["info"], tmp_path, env=BARE | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(os.name != "posix", reason="file descriptors")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_closed_and_full_streams(closed: str, tmp_path: Path) -> None:
    """A video must not be opened on descriptor 1 and then be printed into."""
    if "full" in closed and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    script = f'"$0" -c "from speech2vid.cli import main; main()" verify missing.mp4 {closed}'
    result = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=tmp_path, env=BARE, capture_output=True, text=True, check=False
    )
    assert result.returncode in (1, 120), "120: Python could not flush what it had to say"
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="file descriptors")
def test_what_is_printed_does_not_go_into_a_file(tmp_path: Path) -> None:
    code = (
        "from speech2vid.cli import _open_standard_streams; _open_standard_streams();"
        "print(open('new', 'w').fileno(), file=open('said', 'w'))"
    )
    subprocess.run(["sh", "-c", f'"$0" -c "{code}" <&- >&- 2>&-', sys.executable], cwd=tmp_path, env=BARE, check=True)
    assert int((tmp_path / "said").read_text()) > 2


def test_nothing_is_kept_and_nothing_is_sent(tmp_path: Path) -> None:
    """ONNX Runtime's builds would keep a device number and report to their maker."""
    home, temp = tmp_path / "home", tmp_path / "temp"
    home.mkdir()
    temp.mkdir()
    env = BARE | {"HOME": str(home), "TMPDIR": str(temp)}
    subprocess.run([sys.executable, "-c", USE_EVERYTHING], env=env, check=True, timeout=120)
    assert not list(home.rglob("*"))
    assert not list(temp.rglob("*"))


def test_a_user_may_still_choose(tmp_path: Path) -> None:
    code = (
        "import os; from speech2vid.runtime.onnx import onnx_runtime; "
        "onnx_runtime(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    for given, want in (({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")):
        said = subprocess.run(
            [sys.executable, "-c", code], env=BARE | given, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == want
