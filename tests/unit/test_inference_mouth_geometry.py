"""Geometry of mouths over time: no lag, no leak, graceful ends."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.constants import FACE_PX, LANDMARKS, MOUTH_COUNT, MOUTH_POINTS
from speech2vid.faces.align import canonical_points
from speech2vid.inference.mouth_geometry import FacePlan, NeutralMouth, at_times, plan_face, smoothed

REST_WEIGHT = np.zeros((2 * MOUTH_COUNT, 2 * LANDMARKS + 1), np.float32)  # the closed mouth is the frame's own
for _coordinate in range(2 * MOUTH_COUNT):
    REST_WEIGHT[_coordinate, 2 * MOUTH_POINTS.start + _coordinate] = FACE_PX


def head(frames: int = 50, rate_hz: float = 25.0, size: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A head that drifts and whose mouth opens and closes, and its times."""
    times_s = np.arange(frames) / rate_hz
    points = np.tile(canonical_points(FACE_PX)[None], (frames, 1, 1)).astype(np.float32)
    points[:, 55:60, 1] += 4 * np.sin(20 * times_s)[:, None].astype(np.float32)
    drift = np.stack([30 * times_s, 10 * times_s], axis=1)[:, None]
    return (size * points + drift).astype(np.float32), times_s


def plan(points: np.ndarray, times_s: np.ndarray, **ends: bool) -> FacePlan:
    ends = {"fade_in": False, "fade_out": False} | ends
    return plan_face(points, times_s, NeutralMouth(REST_WEIGHT, np.zeros((20, 2), np.float32)), **ends)


def test_smoothing_has_no_lag_at_any_rate() -> None:
    times_s = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 80))
    line = 3 * times_s - 1
    assert smoothed(line, times_s, 0.04)[10:-10] == pytest.approx(line[10:-10], abs=0.03)


def test_a_drifting_head_stands_still_when_aligned() -> None:
    points, times_s = head(rate_hz=60)
    aligned = plan(points, times_s).landmarks
    assert np.abs(aligned[:, 27:48] - canonical_points(FACE_PX)[27:48]).max() < 0.6
    assert float(aligned[:, 57, 1].std()) > 2  # the mouth moves


def test_the_closed_mouth_does_not_follow_the_filmed_one() -> None:
    generated = plan(*head())
    assert float(generated.neutral_mouth[:, 9, 1].std()) < 0.25 * float(generated.landmarks[:, 57, 1].std())


def test_movements_between_the_frames_of_the_grid() -> None:
    motions = np.arange(4, dtype=np.float32)[:, None, None] + np.zeros((4, 20, 2), np.float32) + 1
    middles = (np.arange(4) + 0.5) / 25
    assert at_times(motions, middles)[:, 0, 0] == pytest.approx([1, 2, 3, 4])
    assert at_times(motions, middles[:3] + 0.02)[:, 0, 0] == pytest.approx([1.5, 2.5, 3.5])
    assert at_times(motions, np.array([-1.0, 9.0]))[:, 0, 0] == pytest.approx([0, 0])


def test_the_effect_comes_and_goes_where_a_face_is_found_or_lost_within_a_shot() -> None:
    points, times_s = head()
    assert plan(points, times_s).weight.min() == 1
    weight = plan(points, times_s, fade_in=True, fade_out=True).weight
    assert weight[0] < 0.1
    assert weight[-1] < 0.1
    assert weight[5:-5].min() == 1
    assert np.abs(np.diff(weight)).max() < 0.5


def test_a_profile_a_small_face_and_a_covered_mouth_keep_the_original() -> None:
    points, times_s = head()
    turned = points.copy()
    turned[:, 30, 0] = turned[:, 15, 0] - 1  # the nose at the edge of the face
    assert plan(turned, times_s).weight.max() == 0
    assert plan(points / 20, times_s).weight.max() == 0
    covered = points.copy()
    covered[20:24, MOUTH_POINTS] += (40, 20)
    weight = plan(covered, times_s).weight
    assert weight[19:25].max() == 0
    assert weight[:12].min() == 1


def test_at_no_weight_the_mouth_wanted_is_the_filmed_one() -> None:
    points, times_s = head()
    generated = plan(points, times_s, fade_in=True)
    moved = np.full((20, 2), 5, np.float32)
    assert generated.target(0, moved) == pytest.approx(generated.landmarks[0, MOUTH_POINTS], abs=0.5)
    assert generated.target(30, moved) == pytest.approx(generated.neutral_mouth[30] + 5)
