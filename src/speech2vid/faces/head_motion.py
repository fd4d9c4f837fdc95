"""Head motion: turns, shifts, brows and eyelids of a face over time, measured from its 68 landmarks.

A row of head motion has one value for each of ``COLUMNS``: how a head differs from the pose of a photo, or from its
mean pose in a clip. Directions as :class:`speech2vid.faces.mesh.HeadPose`; centimetres are those of the canonical head.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.faces.head_pose import angles_of, fit_heads_to_68
from speech2vid.types import Floats, Points

COLUMNS = (
    "yaw",  # radians, to the right of the image
    "pitch",  # radians, up
    "roll",  # radians, clockwise
    "x",  # cm, to the right
    "y",  # cm, down
    "scale",  # its logarithm
    "brows",  # cm, up
    "right_lid",  # 0 as open as usual, 1 closed
    "left_lid",
)
TURNS, SHIFTS, HEAD, BROWS, EYELIDS = slice(0, 3), slice(3, 5), slice(0, 7), 6, slice(7, 9)

EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))
BROW_POINTS, UPPER_EYE = (*range(17, 27),), (36, 39, 42, 45)
SMOOTH_FRAMES = 1.5  # sigma, against the jitter of landmarks
OPEN_PERCENTILE = 75  # of the opening in a clip: as open as usual
CLOSED = 0.45  # of that opening: closed, as landmarks show it
BLINK = 0.55  # how far lids close in a blink, at least
BLINK_FRAMES = (2, 12)  # shortest and longest
HALF = 0.3  # a blink lasts while lids are closed by more than this
SPEED_RANGE_S = 3.0  # stretches within which the range of turns is measured


def head_motion(landmarks: Points) -> Floats:
    """Return the head motion in a clip.

    Args:
        landmarks: (T, 68, 2) px of the source, at 25 Hz.

    Returns:
        (T, 9) float32: differences from the mean pose, lightly smoothed; lids as they are.
    """
    rotations, scales, pivots = fit_heads_to_68(landmarks)
    scale = np.median(scales)
    brows = _height(landmarks, rotations) / scales
    rows = np.column_stack([angles_of(rotations), pivots[:, :2] / scale, np.log(scales / scale), brows])
    rows = _smoothed(rows - rows.mean(axis=0))
    return np.column_stack([rows, eyelids(landmarks)]).astype(np.float32)


def eyelids(landmarks: Points) -> Floats:
    """Return how far the lids are closed: (T, 68, 2) px → (T, 2) right and left, 0 as open as usual, 1 closed."""
    openings = []
    for points in EYES:
        outer, first, second, inner, third, fourth = (landmarks[:, point].astype(np.float64) for point in points)
        lids = np.linalg.norm(first - fourth, axis=-1) + np.linalg.norm(second - third, axis=-1)
        openings.append(lids / (2 * np.maximum(np.linalg.norm(outer - inner, axis=-1), 1e-6)))
    opening = np.stack(openings, axis=-1)
    usual = np.percentile(opening, OPEN_PERCENTILE, axis=0)
    return np.asarray(np.clip((1 - opening / usual) / (1 - CLOSED), 0, 1), np.float32)


def _height(landmarks: Points, rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far the brows are above the eyes, (T,) px, the head's tilt and nod taken out."""
    up = rotations[:, :2, 1] * (1.0, -1.0)
    offset = landmarks[:, BROW_POINTS].mean(axis=1) - landmarks[:, UPPER_EYE].mean(axis=1)
    return np.asarray(np.einsum("tk,tk->t", offset, up) / np.maximum((up * up).sum(axis=1), 1e-6), np.float64)


def _smoothed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(rows, (1, 0), 0, sigmaY=SMOOTH_FRAMES, borderType=cv2.BORDER_REFLECT_101))


@dataclass(frozen=True)
class MotionFigures:
    """How much a head moves in a clip.

    Attributes:
        blinks: number.
        blink_s: mean duration; NaN without blinks.
        blinks_per_min: their rate.
        speed_deg_s: mean speed of turning.
        range_deg: standard deviation of the turns within 3 s.
        shift_cm: the same of the shifts.
    """

    blinks: int
    blink_s: float
    blinks_per_min: float
    speed_deg_s: float
    range_deg: float
    shift_cm: float


def motion_figures(motion: Floats) -> MotionFigures:
    """Measure rows of head motion, (T, 9) at 25 Hz."""
    minutes = len(motion) / FRAME_RATE_HZ / 60
    durations = [(stop - start) / FRAME_RATE_HZ for start, stop in blinks(motion[:, EYELIDS].mean(axis=1))]
    turns = np.degrees(motion[:, TURNS])
    speed = np.linalg.norm(np.diff(turns, axis=0), axis=1).mean() * FRAME_RATE_HZ if len(motion) > 1 else 0.0
    return MotionFigures(
        len(durations),
        float(np.mean(durations)) if durations else float("nan"),
        len(durations) / minutes,
        float(speed),
        _spread(turns),
        _spread(motion[:, SHIFTS]),
    )


def blinks(closing: Floats) -> list[tuple[int, int]]:
    """Return the blinks in (T,) closings of the lids: first frame and the one after the last."""
    found = []
    shut = np.concatenate([[False], closing > HALF, [False]])
    edges = np.flatnonzero(shut[1:] != shut[:-1])
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if closing[start:stop].max() >= BLINK and BLINK_FRAMES[0] <= stop - start <= BLINK_FRAMES[1]:
            found.append((int(start), int(stop)))
    return found


def _spread(values: Floats) -> float:
    """Return the standard deviation within stretches of 3 s, all columns together."""
    length = round(SPEED_RANGE_S * FRAME_RATE_HZ)
    count = max(1, len(values) // length)
    parts = [values[i * length : (i + 1) * length] if len(values) >= length else values for i in range(count)]
    return float(np.sqrt(np.mean([part.var(axis=0).sum() for part in parts])))
