"""Damaged media: every case ends in success or in one clear error, within bounds of memory and time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzzing import damaged, read_everything
from sandbox import run

VIDEOS, AUDIO_FILES = ("mp4", "mkv", "avi", "mpegts", "webm", "flv"), ("wav", "mp3", "flac", "ipod")
IMAGES = ("jpg", "png", "webp", "gif", "tiff", "bmp")
SUFFIXES = (*VIDEOS, *AUDIO_FILES, *IMAGES)
QUICK, MANY = range(5), range(5, 105)


def hold(content: bytes, seeds: range, path: Path) -> None:
    ends: Counter[str] = Counter()
    unclean = []
    for seed in seeds:
        path.write_bytes(damaged(content, seed))
        end = run(lambda: read_everything(path))
        ends[end.kind] += 1
        if not end.clean:
            unclean.append((seed, end))
    print(f"{path.suffix}: {dict(ends)}")
    assert not unclean


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_good_files_are_read(suffix: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(samples[suffix])
    assert run(lambda: read_everything(path)).kind == "done"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_few(suffix: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    hold(samples[suffix], QUICK, tmp_path / f"a.{suffix}")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many(suffix: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    hold(samples[suffix], MANY, tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("seed", [3, 17])
def test_time_stamps_that_leap_by_weeks(seed: int, samples: dict[str, bytes], tmp_path: Path) -> None:
    """A damaged time stamp once made a one-second video last 24 days."""
    path = tmp_path / "a.flv"
    content = bytearray(samples["flv"])
    tag = content.index(b"\x09", 400) if seed == 3 else content.index(b"\x09", 9000)
    content[tag + 7] = 0x7F  # the highest byte of a tag's time
    path.write_bytes(content)
    end = run(lambda: read_everything(path), extra_mb=600)
    assert end.clean


def test_a_stream_that_appears_midway(samples: dict[str, bytes], tmp_path: Path) -> None:
    """PyAV has no name for it and raised an IndexError; the pictures after it are still read."""
    path = tmp_path / "a.mpegts"
    path.write_bytes(damaged(samples["mpegts"], 79))
    assert run(lambda: read_everything(path)).kind == "done"


def test_the_sandbox_notices(tmp_path: Path) -> None:
    """Each kind of bad ending is told from a good one."""
    assert run(lambda: None).kind == "done"
    assert run(lambda: 1 / 0).kind == "defect"
    assert run(lambda: bytearray(1 << 40), extra_mb=100).kind == "defect"
    assert run(lambda: [bytearray(1 << 20) for _ in range(1000)], extra_mb=100).kind == "defect"
    hung = run(lambda: [None for _ in iter(int, 1)], timeout_s=0.2)
    assert (hung.kind, hung.said) == ("killed", "SIGALRM")
