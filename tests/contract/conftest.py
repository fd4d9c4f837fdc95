"""What several contracts are held to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FULL_DISK = """
import signal
from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit
from speech2vid.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
setrlimit(RLIMIT_FSIZE, (20_000, RLIM_INFINITY))
main()
"""


BEFORE = b"an older video"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the output goes, with an older output in it."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "a.mp4").write_bytes(BEFORE)
    return path


@pytest.fixture
def on_a_full_disk(folder: Path) -> Callable[..., None]:
    """Run a command that would write a video, whose file cannot grow beyond 20 kB, and hold it to the rules."""
    if sys.platform != "linux":
        pytest.skip("needs a limit on the size of files")

    def run(*words: object) -> None:
        out = folder / "a.mp4"
        command = [sys.executable, "-c", FULL_DISK, *map(str, words), "--outfile", str(out)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1, result.stderr
        first, second = result.stderr.splitlines()
        assert "a.mp4 could not be written" in first
        assert "free some disk space" in second
        assert [path.name for path in out.parent.iterdir()] == ["a.mp4"]
        assert out.read_bytes() == BEFORE

    return run
