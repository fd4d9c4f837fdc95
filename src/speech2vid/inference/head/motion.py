"""Audio → head motion of every video frame, streaming: turns, shifts, brows and blinks, sampled with a seed.

How a head moves does not follow from what is said: a sampler draws it, given the audio of the last and the next quarter
of a second. It works in steps of four frames (0.16 s). Each step draws the pose two steps ahead and whether a blink
begins; poses in between lie on a smooth curve. The same seed and audio give the same motion, however the audio is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.mfcc import LEVEL_FLOOR_DB, FeatureStream
from speech2vid.audio.vad import LATENCY_S, ActivityStream
from speech2vid.audio.windows import RowWindows, frame_count
from speech2vid.constants import FRAME_RATE_HZ, MFCC_PER_FRAME
from speech2vid.faces.head_motion import COLUMNS, EYELIDS, HEAD
from speech2vid.runtime.voice_activity import voice_detector
from speech2vid.types import Floats, Waveform

STEP_FRAMES = 4  # frames of a step
LEVEL_BEFORE, LEVEL_AFTER = 6, 6  # frames of audio level around the first frame of a step that a sampler hears
ACTIVE_BEFORE, ACTIVE_AFTER = 4, 3  # and of speech activity
POSE = HEAD.stop - HEAD.start
FAR = np.array([0.16, 0.11, 0.12, 1.6, 1.0, 0.06, 0.5])  # far from the pose of the photo, in each column of HEAD
FARTHEST = 1.25  # length of a pose in units of these, approached smoothly
BLINK_ROWS = 16  # frames kept for a blink that has begun


@dataclass(frozen=True)
class Heard:
    """What a sampler hears in a step.

    Attributes:
        level: (13,) float32, level of the speech band in frames −6 … 6 of the step, −1 (silence) … 1.
        activity: (8,) float32, whether somebody speaks in frames −4 … 3, 0–1.
    """

    level: Floats
    activity: Floats


@dataclass(frozen=True)
class Drawn:
    """What a sampler draws in a step.

    Attributes:
        pose: (7,) the columns ``HEAD`` of the pose two steps ahead.
        blink_s: when in this step a blink begins; None if none does.
        blink_length_s: from the first to the last movement of the lids.
    """

    pose: NDArray[np.float64]
    blink_s: float | None = None
    blink_length_s: float = 0.3


class MotionSampler(Protocol):
    """Draws the motion of one recording, step by step."""

    def step(self, heard: Heard) -> Drawn:
        """Return what happens next."""
        ...


class HeadMotionStream:
    """Rows of head motion for every video frame, from audio that arrives in chunks.

    Args:
        sampler: draws the motion.
        amount: factor on the poses.
    """

    def __init__(self, sampler: MotionSampler, amount: float = 1.0) -> None:
        self._sampler, self._amount = sampler, amount
        self._features, self._active = FeatureStream(), ActivityStream(voice_detector())
        floor, idle = np.full((), LEVEL_FLOOR_DB, np.float32), np.zeros((), np.float32)
        before, after = LEVEL_BEFORE * MFCC_PER_FRAME, (LEVEL_AFTER + 1) * MFCC_PER_FRAME - 1
        self._levels = RowWindows(before, after, floor, every=STEP_FRAMES * MFCC_PER_FRAME)
        self._activity = RowWindows(ACTIVE_BEFORE, ACTIVE_AFTER, idle, every=STEP_FRAMES)
        self._heard_levels = np.empty((0, before + 1 + after), np.float32)
        self._heard_activity = np.empty((0, ACTIVE_BEFORE + 1 + ACTIVE_AFTER), np.float32)
        self._poses = np.zeros((3, POSE))  # before, at and after the first frame of the step
        self._closing = np.zeros(BLINK_ROWS)
        self._samples = self._given = 0

    @property
    def latency_s(self) -> float:
        """Return how far the audio must have gone past a frame's middle before its row is returned, at most."""
        return ACTIVE_AFTER / FRAME_RATE_HZ + LATENCY_S

    def push(self, chunk: Waveform) -> Floats:
        """Take the next samples, (n,) float at 16 kHz; return the rows now known, (m, 9) float32."""
        self._samples += len(chunk)
        level_db = self._features.push(chunk).level_db
        return self._advance(self._levels.push(level_db), self._activity.push(self._active.push(chunk)))

    def flush(self) -> Floats:
        """Return the rows of the last frames."""
        level_db = self._features.flush().level_db
        activity = self._active.flush()
        missing = frame_count(self._samples) - self._given
        levels = np.concatenate([self._levels.push(level_db), self._levels.flush()])
        return self._advance(levels, np.concatenate([self._activity.push(activity), self._activity.flush()]))[:missing]

    def _advance(self, levels: Floats, activity: Floats) -> Floats:
        self._heard_levels = np.concatenate([self._heard_levels, levels])
        self._heard_activity = np.concatenate([self._heard_activity, activity])
        ready = min(len(self._heard_levels), len(self._heard_activity))
        rows = [
            self._step(Heard(level_in_frames(level), active))
            for level, active in zip(self._heard_levels[:ready], self._heard_activity[:ready], strict=True)
        ]
        self._heard_levels, self._heard_activity = self._heard_levels[ready:], self._heard_activity[ready:]
        self._given += STEP_FRAMES * ready
        return np.concatenate([np.empty((0, len(COLUMNS)), np.float32), *rows])

    def _step(self, heard: Heard) -> Floats:
        drawn = self._sampler.step(heard)
        poses = np.concatenate([self._poses, bounded(drawn.pose)[None]])
        if drawn.blink_s is not None:
            at = (np.arange(BLINK_ROWS) + 0.5) / FRAME_RATE_HZ - drawn.blink_s
            self._closing = np.maximum(self._closing, blink(at / drawn.blink_length_s))
        rows = np.empty((STEP_FRAMES, len(COLUMNS)), np.float32)
        rows[:, HEAD] = self._amount * between(poses)
        rows[:, EYELIDS] = self._closing[:STEP_FRAMES, None]
        self._poses = poses[1:]
        self._closing = np.concatenate([self._closing[STEP_FRAMES:], np.zeros(STEP_FRAMES)])
        return rows


def level_in_frames(level_db: Floats) -> Floats:
    """Return levels at 100 Hz, (..., 4 n) dB, as means of frames, (..., n), −1 (below −70 dB) … 1 (above −10 dB)."""
    frames = np.clip(level_db, -70, -10).reshape(*level_db.shape[:-1], -1, MFCC_PER_FRAME).mean(axis=-1)
    return np.asarray((frames + 40) / 30, np.float32)


def bounded(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a pose, (7,), made smaller so that the photo bears it."""
    length = max(1e-9, float(np.linalg.norm(pose / FAR)))
    return np.asarray(pose * (FARTHEST * np.tanh(length / FARTHEST) / length), np.float64)


def between(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the poses of a step's frames, (4, n), on the Catmull-Rom curve through four poses a step apart, (4, n)."""
    t = (np.arange(STEP_FRAMES) / STEP_FRAMES)[:, None]
    before, here, there, after = poses
    a, b = (there - before) / 2, (after - here) / 2
    return np.asarray(
        here + a * t + (3 * (there - here) - 2 * a - b) * t**2 + (a + b - 2 * (there - here)) * t**3, np.float64
    )


def blink(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far lids are closed at shares 0–1 of a blink: down in the first 0.3, shut to 0.4, up more slowly."""
    down, up = np.clip(share / 0.3, 0, 1), np.clip((1 - share) / 0.6, 0, 1)
    return np.asarray(down * down * (3 - 2 * down) * up * up * (3 - 2 * up), np.float64)
