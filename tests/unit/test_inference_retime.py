"""Which picture is shown when, and what is kept of a video."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from speech2vid.errors import ConfigError
from speech2vid.inference import track_cache
from speech2vid.inference.retime import length_of, timeline
from speech2vid.inference.video_tracks import SeenFace, SeenStill, VideoTracks, on_grid, thinned

TICK = Fraction(1, 100)


def frames(count: int, duration: int = 4) -> Iterator[Any]:
    for index in range(count):
        frame = SimpleNamespace(
            index=index,
            ticks=index * duration,
            duration=duration,
            start_s=index * duration * TICK,
            format=SimpleNamespace(tick_s=TICK),
            planes=[np.zeros(1, np.uint8)],
        )
        frame.copy = lambda frame=frame: copy.copy(frame)
        yield frame


def shown(count: int, end_s: Fraction, last_shot: int = 0) -> tuple[list[int], list[int]]:
    pairs = list(timeline(frames(count), end_s, last_shot))
    return [frame.index for frame, _ in pairs], [ticks for _, ticks in pairs]


def test_a_shorter_audio_cuts_and_a_longer_one_plays_back_and_forth() -> None:
    assert shown(5, Fraction(1, 10))[0] == [0, 1, 2]
    indices, ticks = shown(4, Fraction(44, 100))
    assert indices == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]
    assert ticks == [4 * i for i in range(11)]


def test_only_the_last_shot_is_played_again() -> None:
    assert shown(5, Fraction(40, 100), last_shot=3)[0] == [0, 1, 2, 3, 4, 3, 4, 3, 4, 3]
    assert shown(3, Fraction(20, 100), last_shot=2)[0] == [0, 1, 2, 2, 2]


def test_lengths() -> None:
    assert length_of("audio", Fraction(3), Fraction(5)) == 3
    assert length_of("video", Fraction(3), Fraction(5)) == 5
    assert length_of("shortest", Fraction(7), Fraction(5)) == 5
    with pytest.raises(ConfigError, match="unknown value 'long' for length"):
        length_of("long", Fraction(1), Fraction(1))  # type: ignore[arg-type]


@pytest.mark.parametrize("rate_hz", [24, 25, 30_000 / 1001, 60])
def test_the_grid_of_25_hz_takes_what_is_on_screen(rate_hz: float) -> None:
    starts_s = np.arange(30, 90) / rate_hz
    first, picks = on_grid(starts_s)
    times_s = (first + 0.25 + np.arange(len(picks))) / 25
    assert first - 0.75 < starts_s[0] * 25 <= first + 0.25 + 1e-6
    assert (starts_s[picks] <= times_s + 1e-5).all()
    assert (times_s < starts_s[picks] + 1 / rate_hz + 1e-5).all()


def tracks() -> VideoTracks:
    rng = np.random.default_rng(0)
    faces = [
        SeenFace(start, 0, person, rng.random((length, 68, 2), np.float32), start, rng.random((fits, 31), np.float32))
        for start, person, length, fits in ((0, 0, 5, 4), (2, 1, 3, 0))
    ]
    stills = [
        [SeenStill(rng.integers(0, 255, size, np.uint8), rng.random((68, 2), np.float32), 1.5, 0.25)]
        for size in (100, 37)
    ]
    return VideoTracks(np.arange(6), np.ones(6, np.int64), [0, 4], faces, stills)


def test_what_is_kept_comes_back_and_what_is_damaged_does_not(tmp_path: Path) -> None:
    before, path = tracks(), tmp_path / "a" / "k.npz"
    track_cache.save(before, path)
    after = track_cache.load(path)
    assert after is not None
    assert after.shots == before.shots
    assert np.array_equal(after.ticks, before.ticks)
    for a, b in zip(after.faces, before.faces, strict=True):
        assert replace(a, landmarks=b.landmarks, fits=b.fits) == b
        assert np.array_equal(a.landmarks, b.landmarks)
        assert np.array_equal(a.fits, b.fits)
    assert [len(person) for person in after.stills] == [1, 1]
    assert np.array_equal(after.stills[1][0].jpeg, before.stills[1][0].jpeg)
    whole = path.read_bytes()
    for damaged in (whole[:-200], whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        assert track_cache.load(path) is None
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert track_cache.load(path) is None
    assert track_cache.load(tmp_path / "none.npz") is None


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_cache.save(tracks(), tmp_path / "0.npz")
    monkeypatch.setattr(track_cache, "MOST_BYTES", int(2.5 * (tmp_path / "0.npz").stat().st_size))
    track_cache.save(tracks(), tmp_path / "1.npz")
    for number in (0, 1):
        os.utime(tmp_path / f"{number}.npz", (1000 + number, 1000 + number))
    assert track_cache.load(tmp_path / "0.npz") is not None  # in use: stays young
    track_cache.save(tracks(), tmp_path / "2.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "2.npz"]


def test_stills_stay_spread_over_the_openings() -> None:
    rng = np.random.default_rng(0)
    still = tracks().stills[0][0]
    many = [replace(still, opening=float(opening)) for opening in rng.exponential(2, 300)]
    kept = [each.opening for each in thinned(many)]
    assert len(kept) == 40
    assert kept == sorted(kept)
    openings = [each.opening for each in many]
    assert kept[0] == min(openings)
    assert kept[-1] == max(openings)
