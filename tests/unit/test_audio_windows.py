"""Windows: the frame is the middle of its window; streaming equals whole-clip; counts are exact."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from speech2vid.audio.mfcc import logmel, mfcc, silent_features
from speech2vid.audio.windows import (
    FrameWindows,
    RowWindows,
    frame_count,
    frame_windows,
    mfcc_windows,
    windows,
)
from speech2vid.types import Waveform


def logmel_windows(rows: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    return frame_windows(rows, steps, silent_features().logmel[0])


def noise(samples: int, seed: int = 0) -> Waveform:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def impulse(samples: int, where: int) -> Waveform:
    wave = np.zeros(samples, np.float32)
    wave[where] = 1.0
    return wave


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 959, 960, 1600, 16000, 16319, 16320, 16321, 48123])
def test_frame_count_is_the_duration_times_25_rounded_as_python_rounds(samples: int) -> None:
    expected = round(Fraction(samples, 16000) * 25)
    assert frame_count(samples) == expected
    found = windows(noise(samples))
    assert found.shape == (expected, 1, 12, 35)
    assert found.dtype == np.float32
    assert logmel_windows(logmel(noise(samples)), 16).shape == ((samples + 320) // 640, 40, 16)  # rows alone


@pytest.mark.parametrize("frame", [0, 1, 7, 12, 23, 24])
def test_the_middle_of_the_frame_is_the_middle_of_its_window(frame: int) -> None:
    wave = impulse(16000, 640 * frame + 320)  # the middle of the frame's 640 samples
    heard = np.abs(windows(wave)[frame, 0]).max(axis=0) > 1e-3
    assert np.flatnonzero(heard).tolist() == [16, 17, 18]
    assert np.flatnonzero(np.abs(windows(wave)[:, 0, :, 17]).max(axis=1) > 1e-3).tolist() == [frame]


@pytest.mark.parametrize(("steps", "early_steps"), [(1, 0.0), (5, 0.0), (35, 0.0), (20, 0.5), (16, 0.5), (8, 0.5)])
def test_windows_of_any_length_are_centred(steps: int, early_steps: float) -> None:
    frame = 10
    window = logmel_windows(logmel(impulse(16000, 640 * frame + 320)), steps)[frame]
    energy = np.exp(window).sum(axis=0) - np.exp(silent_features().logmel[0]).sum()
    centre = (energy * np.arange(steps)).sum() / energy.sum()
    assert centre - early_steps == pytest.approx((steps - 1) / 2, abs=0.01)


def test_windows_move_by_four_rows_and_drop_coefficient_0() -> None:
    wave = noise(32000)
    rows, found = mfcc(wave), windows(wave)
    for frame in (4, 5, 20):
        np.testing.assert_array_equal(found[frame, 0], rows[4 * frame - 15 : 4 * frame + 20, 1:].T)
    np.testing.assert_array_equal(mfcc_windows(rows), found)


def test_outside_the_audio_is_digital_silence() -> None:
    found = windows(noise(16000))
    np.testing.assert_allclose(found[0, 0, :, :15], 0.0, atol=1e-9)
    assert np.abs(found[0, 0, :, 15:]).min(axis=1).max() > 1e-3
    np.testing.assert_allclose(found[24, 0, :, 20:], 0.0, atol=1e-9)  # rows 96 + 5 … are past the end
    assert np.abs(found[24, 0, :, 19]).max() > 1e-3


@pytest.mark.parametrize("steps", [1, 2, 8, 35, 50])
def test_streamed_frame_windows_of_any_length(steps: int) -> None:
    rows, random = logmel(noise(30_000)), np.random.default_rng(steps)
    stream, parts, start = FrameWindows(steps, silent_features().logmel[0]), [], 0
    while start < len(rows):
        size = int(random.integers(0, 9))
        parts.append(stream.push(rows[start : start + size]))
        start += size
    parts.append(stream.flush())
    np.testing.assert_array_equal(np.concatenate(parts), logmel_windows(rows, steps))


def test_row_windows_of_scalars() -> None:
    stream = RowWindows(1, 2, np.float32(-1.0), first=0, every=1)  # type: ignore[arg-type]
    found = np.concatenate([stream.push(np.arange(3, dtype=np.float32)), stream.flush()])
    assert found.tolist() == [[-1, 0, 1, 2], [0, 1, 2, -1], [1, 2, -1, -1]]


def test_frame_windows_count_follows_from_the_rows() -> None:
    for rows in range(12):
        assert len(frame_windows(np.zeros((rows, 2), np.float32), 35, np.zeros(2, np.float32))) == (rows + 1) // 4


def test_memory_does_not_grow_with_the_audio() -> None:
    stream, chunk = FrameWindows(35, silent_features().mfcc[0]), mfcc(noise(6400))
    for _ in range(5):
        stream.push(chunk)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(100):
        stream.push(chunk)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 100_000
    assert peak < 3e6
