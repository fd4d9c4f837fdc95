"""A disk that fills up, a stopped run, two runs at once: an output is whole or as it was, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import eventually, start
from speech2vid.media import VideoReader, read_synthetic_metadata

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="limits and signals")]
PROGRAM = [sys.executable, "-c", "from speech2vid.cli import main; main()"]
LIMITED = [
    sys.executable,
    "-c",
    "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2);"
    "from speech2vid.cli import main; main()",
]
BEFORE = b"an older video"
Words = Callable[[Path], list[object]]


@pytest.fixture(scope="module")
def commands(photo, second, face_clip, make_pair, tmp_path_factory) -> dict[str, Words]:
    """Commands that write a video: output → words."""
    folder = tmp_path_factory.mktemp("inputs")
    clip = face_clip(folder / "clip.mp4", frames=75)
    pair = make_pair(folder)
    talk = ["talk", "--face", photo, "--audio", second]
    return {
        "talk": lambda out: [*talk, "--outfile", out],
        "talk, signed": lambda out: [*talk, "--outfile", out, "--sign-cert", pair.cert, "--sign-key", pair.key],
        "redub": lambda out: ["redub", "--no-cache", "--video", clip, "--audio", clip, "--outfile", out],
        "sync": lambda out: ["sync", clip, "--fix", out],
        "prepare": lambda out: ["prepare", clip, "--out", out.with_suffix("")],
    }


NAMES = ("talk", "talk, signed", "redub", "sync")


def words_of(words: list[object]) -> list[str]:
    return [str(word) for word in words]


@pytest.mark.parametrize("limit_kb", [0, 4, 40, 150])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_grow(name: str, limit_kb: int, commands, tmp_path: Path) -> None:
    """What a quota or a full disk says, at the start, midway, and close to the end."""
    out = tmp_path / "a.mp4"
    out.write_bytes(BEFORE)
    result = subprocess.run(
        [*LIMITED, str(limit_kb * 1000), *words_of(commands[name](out))], capture_output=True, text=True, check=False
    )
    if result.returncode == 0:  # small enough after all
        assert read_synthetic_metadata(out) is not None or name == "sync"
    else:
        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert "error: " in result.stderr
        assert "defect" not in result.stderr, result.stderr
        assert out.read_bytes() == BEFORE
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser may mount")
@pytest.mark.parametrize("size_kb", [8, 64, 160])
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(name: str, size_kb: int, commands, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(disk)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no mounts here")
    try:
        command = [*PROGRAM, *words_of(commands[name](disk / "a.mp4"))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode in (0, 1), result.stderr
        assert "Traceback" not in result.stderr
        assert "defect" not in result.stderr, result.stderr
        left = [path.name for path in disk.iterdir()]
        assert left == (["a.mp4"] if result.returncode == 0 else [])
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_stopped_at_any_moment(name: str, seed: int, commands, tmp_path: Path) -> None:
    rng = random.Random(f"{name} {seed}")
    number = (signal.SIGINT, signal.SIGTERM)[seed % 2]
    out = tmp_path / "a.mp4"
    out.write_bytes(BEFORE)
    with start([*PROGRAM, *commands[name](out)], stderr=subprocess.PIPE, text=True) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.3, 6))
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 128 + number, -number), errors  # negative: before Python was ready
    if process.returncode == 128 + number:
        assert "Traceback" not in errors
    if process.returncode:
        assert out.read_bytes() == BEFORE
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_killed_for_good(commands, tmp_path: Path) -> None:
    """Nothing can be done then, but the older output stays, and the next run is not in the way of what was left."""
    out = tmp_path / "a.mp4"
    out.write_bytes(BEFORE)
    with start([*PROGRAM, *commands["talk"](out)], stderr=subprocess.DEVNULL) as process:
        assert eventually(lambda: len(list(tmp_path.iterdir())) == 2 or process.poll() is not None)
        process.kill()
    assert out.read_bytes() == BEFORE
    hidden = [path.name for path in tmp_path.iterdir() if path != out]
    assert all(name.startswith(".a.") for name in hidden)
    subprocess.run([*PROGRAM, *words_of(commands["talk"](out))], check=True, capture_output=True)
    assert read_synthetic_metadata(out) is not None


def test_two_runs_with_one_output(commands, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    command = [*PROGRAM, *words_of(commands["talk"](out))]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(list(VideoReader(out))) == 25
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_prepare_killed_leaves_a_store_that_carries_on(commands, tmp_path: Path) -> None:
    words = words_of(commands["prepare"](tmp_path / "store"))
    for wait_s in (0.5, 2.5):
        with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(wait_s)
            process.kill()
    result = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    assert "Traceback" not in result.stderr
    assert not [path for path in (tmp_path / "store").rglob("*") if "work" in path.parts or path.suffix == ".tmp"]
