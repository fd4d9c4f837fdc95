"""What is measured on a clip: pure functions of frames and landmarks (Sect. 5, and what the field uses today).

Frames are aligned faces, (T, 112, 112, 3) uint8 RGB; landmarks (T, 68, 2) px of them; lip openings (T,) px.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, LANDMARKS, MOUTH_POINTS
from speech2vid.errors import FaceError
from speech2vid.faces import PAPER, Landmarker, lip_opening
from speech2vid.faces.face_quality import cheek_pixels
from speech2vid.types import FaceBox, Frames, Points

Values = NDArray[np.float64]
Boxes = NDArray[np.int64]  # (T, 4) left, top, right, bottom, half-open

REACH_FRAMES = 10  # lags looked at on either side
MOTIONLESS_PX = 1e-3  # below this standard deviation an opening does not move
MOUTH_MARGIN_PX = (4, 4, 4, 6)  # left, top, right, bottom of the mouth's landmarks
OUTER_EYES = (36, 45)  # their distance is the field's unit of landmark errors
STILL_POINTS = slice(17, 48)  # brows, nose, eyes: what speech does not move
FACE_POINTS = slice(0, LANDMARKS)
RIGHT_EYE, LEFT_EYE, INNER_LIPS = slice(36, 42), slice(42, 48), slice(60, 68)
OPEN = 0.1  # lip opening from which on lips are open, in distances of the eyes


def measure_landmarks(frames: Frames, box: FaceBox, landmarker: Landmarker = PAPER.landmarker) -> Points:
    """Landmarks of aligned faces, (T, 68, 2) float32.

    The same ``box`` serves every frame, so that it tells nothing of the mouth in a frame; shifted boxes are averaged.
    By default the landmarks are dlib's, whatever the clips were prepared with: figures stay comparable.
    """
    placed = [landmarker.landmarks(frame, box, steady=True) for frame in frames]
    if any(points is None for points in placed):
        raise FaceError("a frame to be measured does not show a face", "measure with the landmarker dlib-68")
    return np.stack([points for points in placed if points is not None])


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's correlation of (T,) and (T,); 0 where one of them does not move: a still photo knows nothing."""
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    spread_a, spread_b = float(np.sqrt(np.mean(a * a))), float(np.sqrt(np.mean(b * b)))
    if min(spread_a, spread_b) < MOTIONLESS_PX:
        return 0.0
    return float(np.mean(a * b)) / (spread_a * spread_b)


def lag_curve(generated: NDArray[np.floating], target: NDArray[np.floating], reach: int = REACH_FRAMES) -> Values:
    """Correlation of what overlaps when ``generated`` is taken ``lag`` frames later, for lag −reach … reach.

    The best lag is positive where the generated mouth moves later than the true one.

    Args:
        generated, target: (T,) with T > reach + 1.

    Returns:
        (2 reach + 1,) float64.
    """
    if not len(generated) == len(target) > reach + 1:
        raise ValueError(f"{len(generated)} and {len(target)} frames cannot be compared at lags up to {reach}")
    n = len(target)
    return np.array(
        [
            correlation(generated[max(0, lag) : n + min(0, lag)], target[max(0, -lag) : n + min(0, -lag)])
            for lag in range(-reach, reach + 1)
        ]
    )


def best_lag(curve: Values) -> int:
    """The lag, in frames, at which a curve of :func:`lag_curve` is highest."""
    return int(np.argmax(curve)) - len(curve) // 2


def mouth_boxes(landmarks: Points) -> Boxes:
    """The mouth and a margin in each frame, inside the image: (T, 68, 2) → (T, 4)."""
    mouth = landmarks[:, MOUTH_POINTS]
    left, top, right, bottom = MOUTH_MARGIN_PX
    low = np.floor(mouth.min(axis=1)) - np.array([left, top])
    high = np.ceil(mouth.max(axis=1)) + np.array([right + 1, bottom + 1])
    boxes = np.hstack([np.clip(low, 0, FACE_PX - 1), np.clip(high, 1, FACE_PX)]).astype(np.int64)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return boxes


def mouth_error(generated: Frames, target: Frames, boxes: Boxes) -> float:
    """Mean absolute difference in the mouth boxes, grey levels 0–255, mean over frames."""
    errors = [
        np.abs(a[t:b, left:right].astype(np.int16) - c[t:b, left:right]).mean()
        for a, c, (left, t, right, b) in zip(generated, target, boxes, strict=True)
    ]
    return float(np.mean(errors))


def laplacian_variance(frames: Frames, boxes: Boxes) -> float:
    """Variance of the Laplacian of the grey image in the mouth boxes, mean over frames."""
    variances = []
    for frame, (left, top, right, bottom) in zip(frames, boxes, strict=True):
        laplacian = cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)
        variances.append(laplacian[top:bottom, left:right].var())
    return float(np.mean(variances))


def inner_contrast(frames: Frames, landmarks: Points) -> float | None:
    """Return the contrast between open lips: standard deviation of the luminance there, over the cheeks' mean.

    Mean over the frames (T, 112, 112, 3) whose lips are at least a tenth of the distance of the eyes apart; None
    without such frames. ``landmarks``: (T, 68, 2) of the frames.
    """
    contrasts = []
    for frame, points in zip(frames, landmarks, strict=True):
        eyes = points[RIGHT_EYE].mean(axis=0) - points[LEFT_EYE].mean(axis=0)
        if lip_opening(points) < OPEN * np.linalg.norm(eyes):
            continue
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        lips = np.zeros_like(grey)
        cv2.fillPoly(lips, [np.rint(points[INNER_LIPS]).astype(np.int32)], 1)
        contrasts.append(grey[lips > 0].std() / max(1.0, float(cheek_pixels(grey, points).mean())))
    return float(np.mean(contrasts)) if contrasts else None


def landmark_distance(generated: Points, target: Points, points: slice = FACE_POINTS) -> float:
    """LMD: mean distance of landmarks, px of the aligned face: (T, 68, 2) and (T, 68, 2), all or some of the points."""
    return float(np.linalg.norm(generated[:, points] - target[:, points], axis=-1).mean())


def normalised_landmark_distance(generated: Points, target: Points, points: slice = FACE_POINTS) -> float:
    """The same in units of the distance between the outer corners of the true eyes, frame by frame (NME)."""
    right, left = (target[:, corner] for corner in OUTER_EYES)
    unit = np.linalg.norm(left - right, axis=-1)
    distance = np.linalg.norm(generated[:, points] - target[:, points], axis=-1).mean(axis=-1)
    return float(np.mean(distance / unit))


def jitter(landmarks: Points, points: slice = MOUTH_POINTS) -> float:
    """Mean length of the second difference in time of landmarks, px a frame²: (T, 68, 2), T ≥ 3."""
    return float(np.linalg.norm(np.diff(landmarks[:, points], n=2, axis=0), axis=-1).mean())
