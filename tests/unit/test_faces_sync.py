"""From vectors to an offset: its sign, ends of clips, windows that agree, who speaks; and what the network sees."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from speech2vid.constants import FACE_PX
from speech2vid.errors import WeightsError
from speech2vid.faces.mouth_crops import crop_motion, mouth_crop, point_motion, without_mean
from speech2vid.faces.sync import (
    IN_STEP_FRAMES,
    MAX_OFFSET_FRAMES,
    OFFSETS,
    SyncNetworks,
    measure_tracks,
    offset_of,
    similarities,
    speaks,
    window_means,
)
from speech2vid.types import Floats


def unit_vectors(frames: int, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((frames, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("late", [-15, -4, 0, 3, 15])
def test_offset_is_positive_where_the_audio_is_later(late: int) -> None:
    said = unit_vectors(140)
    video, audio = said[20:100], np.roll(said, late, axis=0)
    measure = measure_tracks([(20, similarities(video, audio, 20))])
    assert measure is not None
    assert measure.offset_s * 25 + IN_STEP_FRAMES == pytest.approx(late, abs=0.1)
    assert measure.window_offsets + IN_STEP_FRAMES == pytest.approx(late, abs=0.1)
    assert measure.confidence > 0.8
    assert OFFSETS[measure.curve.argmax()] == late


@pytest.mark.parametrize("top", [-3.4, 0.0, 0.25, 11.5])
def test_offset_is_told_between_frames(top: float) -> None:
    curve = 1 - 0.01 * (OFFSETS - top) ** 2
    assert offset_of(curve) == pytest.approx(top - IN_STEP_FRAMES)
    assert offset_of(np.arange(31.0)) == pytest.approx(15 - IN_STEP_FRAMES)  # the top is the end


@pytest.mark.parametrize("rate_hz", [Fraction(25), Fraction(30_000, 1001)])
def test_frames_are_those_of_the_video(rate_hz: Fraction) -> None:
    said = unit_vectors(140)
    measure = measure_tracks([(20, similarities(said[20:100], np.roll(said, -10, axis=0), 20))], rate_hz)
    assert measure is not None
    assert measure.offset_frames == round((-10 - IN_STEP_FRAMES) * rate_hz / 25)


def test_what_lies_beyond_the_audio_is_left_out() -> None:
    values = similarities(unit_vectors(60), unit_vectors(60, 1))
    assert np.isnan(values[0, :MAX_OFFSET_FRAMES]).all()
    assert np.isnan(values[-1, MAX_OFFSET_FRAMES:]).all()
    assert not np.isnan(values[30]).any()


def test_frames_without_a_vector_are_left_out() -> None:
    video = unit_vectors(60)
    video[:2] = np.nan
    assert np.isnan(similarities(video, unit_vectors(60, 1))[:2]).all()


def test_ends_do_not_favour_any_offset() -> None:
    """Vectors that are all alike, as of a face that does nothing: every offset is as good as another."""
    same = np.ones((75, 16), np.float32) / 4
    _, means = window_means(similarities(same, same))
    assert means == pytest.approx(1.0)


def test_windows_average_consecutive_frames() -> None:
    values = np.random.default_rng(0).standard_normal((40, 31)).astype(np.float32)
    starts, means = window_means(values, 25)
    assert starts.tolist() == list(range(16))
    np.testing.assert_allclose(means[3], values[3:28].mean(axis=0), atol=1e-6)


def test_windows_need_half_their_frames_at_every_offset() -> None:
    values = np.zeros((40, 31), np.float32)
    values[:20, 4] = np.nan
    starts, _ = window_means(values, 10)
    assert starts.min() == 15


def test_a_track_that_is_too_short_measures_nothing() -> None:
    assert measure_tracks([]) is None
    assert measure_tracks([(0, similarities(unit_vectors(20), unit_vectors(200, 1)))]) is None


def test_the_speaking_track_decides() -> None:
    said = unit_vectors(300)
    listener = similarities(unit_vectors(200, 5), np.roll(said, 4, axis=0))
    speaker = similarities(said[210:280], np.roll(said, 4, axis=0), 210)
    measure = measure_tracks([(0, listener), (210, speaker)])
    assert measure is not None
    assert round(measure.offset_s * 25) == 4
    assert measure.starts.max() >= 210
    assert speaks(speaker, 4) > 0.5 > speaks(listener, 4)


def test_mean_is_taken_over_three_seconds_around() -> None:
    ramp = np.arange(200, dtype=np.float32)[:, None]
    moved = without_mean(ramp)[:, 0]
    assert moved[100] == pytest.approx(0, abs=0.51)
    assert moved[0] == pytest.approx(-37)
    assert without_mean(ramp[:10])[:, 0] == pytest.approx(np.arange(10) - 4.5)


def test_a_face_that_does_not_move_has_no_movement() -> None:
    face = np.random.default_rng(0).integers(0, 255, (FACE_PX, FACE_PX, 3), dtype=np.uint8)
    image = mouth_crop(face)
    assert (image.shape, image.dtype) == ((32, 48), np.uint8)
    assert not crop_motion(np.repeat(image[None], 30, axis=0)).any()
    landmarks = np.random.default_rng(1).standard_normal((1, 68, 2)).astype(np.float32).repeat(30, axis=0)
    assert np.abs(point_motion(landmarks)).max() < 1e-6


def test_the_image_is_the_lower_half_of_the_face() -> None:
    face = np.zeros((FACE_PX, FACE_PX, 3), np.uint8)
    face[:48] = 255
    assert not mouth_crop(face).any()
    face[48:] = 200
    assert (mouth_crop(face) == 200).all()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="sync"):
        SyncNetworks(tmp_path)
