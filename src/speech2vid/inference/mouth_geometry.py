"""What each face of a video should do with its mouth, for every one of its images: geometry, without pixels.

All shapes are in pixels of the 112 px face of that image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, LANDMARKS, MOUTH_COUNT, MOUTH_POINTS, REGISTRATION_POINTS
from speech2vid.faces import turn
from speech2vid.faces.align import canonical_points
from speech2vid.geometry import similarity, smoothstep, transform_points
from speech2vid.types import Floats, Points

SMOOTHING_S = 0.04  # of transforms: standard deviation, as in training
NEUTRAL_S = 0.5  # of the closed mouth in the pose of the moment
ASIDE_S = 0.1  # of where the middle of the mouth is sideways
STEADY_S = 0.02  # of the mouth that is filmed
FADE_S = 0.16  # the effect comes and goes over this time where a face is found or lost within a shot
TURN_FADE = (0.85, 0.97)  # sideways turn, about 45–50° of yaw, between which the original comes back
SMALL_FADE_PX = (24.0, 40.0)  # side of the square that becomes the face
JUMP_PX = 9.0  # a mouth that moves by more between two images of 1/25 s is covered, or its landmarks are wrong


@dataclass(frozen=True)
class NeutralMouth:
    """How somebody's closed mouth is read off the landmarks of any frame.

    Attributes:
        weight: (40, 137), reads a closed mouth off one frame's landmarks.
        mean_mouth: (20, 2), by how much this person's closed mouth differs from the one that it reads.
    """

    weight: Floats
    mean_mouth: Floats


@dataclass(frozen=True)
class FacePlan:
    """A face that is followed, ready to be changed.

    Attributes:
        transforms: (T, 2, 3) float64, square px of the image → px of the 112 px face, smoothed.
        landmarks: (T, 68, 2) float32 px of the 112 px face.
        neutral_mouth: (T, 20, 2) float32, the closed mouth in the pose of each frame; the filmed one where none was
            estimated.
        weight: (T,) float32, how much of the effect shows: 0 the original, 1 all.
    """

    transforms: NDArray[np.float64]
    landmarks: Points
    neutral_mouth: Floats
    weight: Floats

    def target(self, at: int, motion: Floats) -> Floats:
        """The mouth wanted in image ``at`` of the track: (20, 2), from its movement relative to rest."""
        own = self.landmarks[at, MOUTH_POINTS]
        return np.asarray(own + self.weight[at] * (self.neutral_mouth[at] + motion - own), np.float32)


def plan_face(
    landmarks: Points,
    times_s: NDArray[np.float64],
    neutral: NeutralMouth | None,
    *,
    fade_in: bool,
    fade_out: bool,
) -> FacePlan:
    """Geometry of a face through its shot.

    Args:
        landmarks: (T, 68, 2), square px of the image.
        times_s: (T,) when each image is shown.
        neutral: how to estimate the closed mouth; None where it is not needed.
        fade_in: the face comes into view after the shot began.
        fade_out: it is lost before the shot ends.
    """
    anchors = smoothed(landmarks[:, REGISTRATION_POINTS], times_s, SMOOTHING_S)
    goal = canonical_points(FACE_PX)[REGISTRATION_POINTS]
    transforms = np.stack([similarity(points, goal) for points in anchors])
    aligned = np.stack([transform_points(t, points) for t, points in zip(transforms, landmarks, strict=True)])
    return plan_aligned(transforms, aligned, times_s, neutral, fade_in=fade_in, fade_out=fade_out)


def plan_aligned(
    transforms: NDArray[np.float64],
    landmarks: Points,
    times_s: NDArray[np.float64],
    neutral: NeutralMouth | None,
    *,
    fade_in: bool = False,
    fade_out: bool = False,
) -> FacePlan:
    """The same of a face that is aligned: transforms as in :class:`FacePlan`, landmarks in px of the 112 px face."""
    aligned = landmarks.copy()
    aligned[:, MOUTH_POINTS] = smoothed(aligned[:, MOUTH_POINTS], times_s, STEADY_S)
    weight = np.asarray(
        _seen_well(aligned, transforms, times_s) * _fade(times_s, fade_in=fade_in, fade_out=fade_out), np.float32
    )
    if neutral is None:
        return FacePlan(transforms, aligned, aligned[:, MOUTH_POINTS], weight)
    neutral_mouth = smoothed(neutral_mouth_of(aligned, neutral.weight), times_s, NEUTRAL_S) + neutral.mean_mouth
    aside = (aligned[:, MOUTH_POINTS, 0] - neutral_mouth[..., 0]).mean(axis=1)  # speech moves no mouth sideways
    neutral_mouth[..., 0] += smoothed(aside, times_s, ASIDE_S)[:, None]
    return FacePlan(transforms, aligned, neutral_mouth, weight)


def neutral_mouth_of(aligned: Points, neutral_weight: Floats) -> Floats:
    """The closed mouth that each frame's face suggests: (T, 68, 2) → (T, 20, 2)."""
    count = len(aligned)
    known = np.hstack([aligned.reshape(count, 2 * LANDMARKS) / FACE_PX, np.ones((count, 1), np.float32)])
    return np.asarray((known @ neutral_weight.T).reshape(count, MOUTH_COUNT, 2), np.float32)


def smoothed(values: NDArray[np.floating], times_s: NDArray[np.float64], sigma_s: float) -> Floats:
    """Gaussian mean over time of (T, …), without delay; weights beyond the ends are left out."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    out = np.empty_like(flat)
    first = np.searchsorted(times_s, times_s - 4 * sigma_s)
    last = np.searchsorted(times_s, times_s + 4 * sigma_s, side="right")
    for i, (low, high) in enumerate(zip(first, last, strict=True)):
        weights = np.exp(-0.5 * ((times_s[low:high] - times_s[i]) / sigma_s) ** 2)
        out[i] = weights @ flat[low:high] / weights.sum()
    return np.asarray(out.reshape(values.shape), np.float32)


def at_times(motions: Floats, times_s: NDArray[np.float64]) -> Floats:
    """Movements of the 25 Hz grid (N, 20, 2) at any times (T,): linear between the middles of the grid's frames.

    Before the first and after the last, the mouth is at rest.
    """
    padded = np.concatenate([np.zeros((1, *motions.shape[1:])), motions, np.zeros((1, *motions.shape[1:]))])
    where = np.clip(times_s * FRAME_RATE_HZ + 0.5, 0, len(padded) - 1)
    low = np.minimum(where.astype(int), len(padded) - 2)
    share = (where - low)[:, None, None]
    return np.asarray((1 - share) * padded[low] + share * padded[low + 1], np.float32)


def _seen_well(aligned: Points, transforms: NDArray[np.float64], times_s: NDArray[np.float64]) -> Floats:
    """(T,): 0 where the head is turned away, the face small, or the mouth covered."""
    turns = smoothed(np.array([turn(points) for points in aligned]), times_s, 2 * SMOOTHING_S)
    facing = 1 - _step(turns, *TURN_FADE)
    sides = FACE_PX / np.hypot(transforms[:, 0, 0], transforms[:, 1, 0])
    large = _step(sides, *SMALL_FADE_PX)
    return np.asarray(facing * large * _steady(aligned, times_s), np.float32)


def _steady(aligned: Points, times_s: NDArray[np.float64]) -> Floats:
    """(T,): 0 around jumps of the mouth's middle, which lips do not make."""
    middle = aligned[:, MOUTH_POINTS].mean(axis=1)
    gaps_s = np.maximum(np.diff(times_s), 1e-3)
    jumps = np.flatnonzero(np.linalg.norm(np.diff(middle, axis=0), axis=1) > JUMP_PX * np.maximum(1, 25 * gaps_s))
    out = np.ones(len(aligned))
    for jump in jumps:
        distance = np.minimum(abs(times_s - times_s[jump]), abs(times_s - times_s[jump + 1]))
        out = np.minimum(out, _step(distance, FADE_S / 2, 1.5 * FADE_S))
    return np.asarray(out, np.float32)


def _fade(times_s: NDArray[np.float64], *, fade_in: bool, fade_out: bool) -> Floats:
    out = np.ones(len(times_s))
    if fade_in:
        out = np.minimum(out, _step(times_s - times_s[0], -1e-3, FADE_S))
    if fade_out:
        out = np.minimum(out, _step(times_s[-1] - times_s, -1e-3, FADE_S))
    return np.asarray(out, np.float32)


def _step(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(smoothstep((values - low) / (high - low)), np.float64)
