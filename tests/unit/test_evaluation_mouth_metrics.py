"""Each measure against values worked out by hand, numpy or scikit-image, and each seen to fail where it should."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import laplace

from speech2vid.constants import FACE_PX
from speech2vid.evaluation import mouth_metrics
from speech2vid.faces import canonical_points

RNG = np.random.default_rng(0)


@pytest.fixture
def speech_like() -> np.ndarray:
    """A lip opening of 60 frames: smooth, never the same twice."""
    time = np.arange(60)
    return 3 + np.sin(time * 0.9) + 0.7 * np.sin(time * 1.7 + 1) + 0.5 * np.sin(time * 0.31)


@pytest.fixture
def landmarks() -> np.ndarray:
    """A face that does not move, ten frames."""
    return np.repeat(canonical_points(FACE_PX)[None], 10, axis=0).astype(np.float32)


def faces(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, FACE_PX, FACE_PX, 3), dtype=np.uint8)


def test_correlation_is_pearsons(speech_like: np.ndarray) -> None:
    other = speech_like + RNG.normal(size=60)
    assert mouth_metrics.correlation(speech_like, other) == pytest.approx(np.corrcoef(speech_like, other)[0, 1])
    assert mouth_metrics.correlation(speech_like, 2 * speech_like + 5) == pytest.approx(1.0)
    assert mouth_metrics.correlation(speech_like, -speech_like) == pytest.approx(-1.0)


def test_correlation_of_a_still_is_0_and_of_shuffled_frames_small(speech_like: np.ndarray) -> None:
    assert mouth_metrics.correlation(np.full(60, 2.0), speech_like) == 0.0
    assert mouth_metrics.correlation(speech_like, np.full(60, 2.0)) == 0.0
    shuffled = [mouth_metrics.correlation(RNG.permutation(speech_like), speech_like) for _ in range(50)]
    assert abs(np.mean(shuffled)) < 0.1


@pytest.mark.parametrize("late", [-4, -1, 0, 3, 10])
def test_the_best_lag_is_how_late_the_generated_mouth_is(late: int) -> None:
    source = np.random.default_rng(2).normal(size=100)
    target, generated = source[20:80], source[20 - late : 80 - late]
    curve = mouth_metrics.lag_curve(generated, target)
    assert len(curve) == 21
    assert mouth_metrics.best_lag(curve) == late
    assert curve[10 + late] == pytest.approx(1.0)


def test_lags_need_enough_frames() -> None:
    with pytest.raises(ValueError, match="lags"):
        mouth_metrics.lag_curve(np.zeros(11), np.zeros(11))
    with pytest.raises(ValueError, match="60 and 59"):
        mouth_metrics.lag_curve(np.zeros(60), np.zeros(59))


def test_mouth_boxes_hold_the_mouth_and_stay_inside(landmarks: np.ndarray) -> None:
    landmarks[1, 48:68] += 60  # out of the picture, to the lower right
    boxes = mouth_metrics.mouth_boxes(landmarks)
    mouth = landmarks[0, 48:68]
    left, _, right, bottom = boxes[0]
    assert left == np.floor(mouth[:, 0].min()) - 4
    assert bottom == np.ceil(mouth[:, 1].max()) + 7
    assert (left < mouth[:, 0]).all()
    assert (mouth[:, 0] < right).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= FACE_PX


def test_mouth_error_sees_the_mouth_and_nothing_else() -> None:
    target = np.full((2, FACE_PX, FACE_PX, 3), 100, np.uint8)
    boxes = np.array([[40, 70, 60, 80], [40, 70, 60, 80]])
    elsewhere = target.copy()
    elsewhere[:, :60] = 255
    assert mouth_metrics.mouth_error(elsewhere, target, boxes) == 0.0
    mouth = target.copy()
    mouth[0, 70:80, 40:50] = 90  # half of the box of one of two frames, darker by 10
    assert mouth_metrics.mouth_error(mouth, target, boxes) == pytest.approx(2.5)


def test_laplacian_variance_is_that_of_the_mouth_and_falls_with_blur() -> None:
    frames = np.repeat(faces(1)[..., :1], 3, axis=3)  # grey: what weights the colours have does not count
    boxes = np.array([[20, 30, 80, 90]])
    expected = laplace(frames[0, ..., 0].astype(float), ksize=3)[30:90, 20:80].var()
    assert mouth_metrics.laplacian_variance(frames, boxes) == pytest.approx(expected, rel=1e-4)
    mean = (frames.astype(float) + np.roll(frames, 1, axis=1) + np.roll(frames, 1, axis=2)) / 3
    assert mouth_metrics.laplacian_variance(mean.astype(np.uint8), boxes) < 0.5 * mouth_metrics.laplacian_variance(
        frames, boxes
    )
    assert mouth_metrics.laplacian_variance(np.full_like(frames, 9), boxes) == 0.0


def test_landmark_distance_counts_the_points_asked_for(landmarks: np.ndarray) -> None:
    moved = landmarks.copy()
    moved[:, 48:68] += (3, 4)
    assert mouth_metrics.landmark_distance(moved, landmarks, slice(48, 68)) == pytest.approx(5.0)
    assert mouth_metrics.landmark_distance(moved, landmarks) == pytest.approx(5.0 * 20 / 68)
    assert mouth_metrics.landmark_distance(moved, landmarks, slice(0, 48)) == 0.0


def test_normalised_landmark_distance_does_not_depend_on_scale(landmarks: np.ndarray) -> None:
    moved = landmarks.copy()
    moved[:, 48:68] += (3, 4)
    eyes = np.linalg.norm(landmarks[0, 45] - landmarks[0, 36])
    assert mouth_metrics.normalised_landmark_distance(moved, landmarks, slice(48, 68)) == pytest.approx(5.0 / eyes)
    assert mouth_metrics.normalised_landmark_distance(3 * moved, 3 * landmarks) == pytest.approx(5.0 * 20 / 68 / eyes)


def test_jitter_is_acceleration(landmarks: np.ndarray) -> None:
    time = np.arange(10, dtype=np.float32)[:, None]
    assert mouth_metrics.jitter(landmarks) == 0.0
    steady = landmarks.copy()
    steady[:, :, 1] += 2 * time
    assert mouth_metrics.jitter(steady) == pytest.approx(0.0, abs=1e-5)
    shaking = landmarks.copy()
    shaking[:, :, 1] += time % 2
    assert mouth_metrics.jitter(shaking) == pytest.approx(2.0)
