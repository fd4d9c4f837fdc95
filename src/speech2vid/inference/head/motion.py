"""Audio → head motion of every video frame, streaming: turns, shifts, brows and blinks, sampled with a seed.

How a head moves does not follow from what is said: a sampler draws it, given the audio of the last and the next quarter
of a second. It works in steps of four frames (0.16 s). Each step draws the pose two steps ahead and whether a blink
begins; poses in between lie on a smooth curve. The same seed and audio give the same motion, however the audio is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.mfcc import LEVEL_FLOOR_DB, FeatureStream
from speech2vid.audio.vad import LATENCY_S, ActivityStream
from speech2vid.audio.windows import RowWindows, frame_count
from speech2vid.constants import FRAME_RATE_HZ, MFCC_PER_FRAME
from speech2vid.faces.head_motion import COLUMNS, EYELIDS, HEAD
from speech2vid.types import Floats, Waveform

STEP_FRAMES = 4  # frames of a step
LEVEL_BEFORE, LEVEL_AFTER = 6, 6  # frames of audio level around the first frame of a step that a sampler hears
ACTIVE_BEFORE, ACTIVE_AFTER = 4, 3  # and of speech activity
POSE = HEAD.stop - HEAD.start
MOST = np.array([0.16, 0.11, 0.12, 1.6, 1.0, 0.06, 0.5])  # bounds of a pose, approached smoothly
AMOUNTS = {"natural": 1.0, "subtle": 0.45}  # of the poses; blinks stay as they are
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


NewSampler = Callable[[int], MotionSampler]  # from a seed


class HeadMotionStream:
    """Rows of head motion for every video frame, from audio that arrives in chunks.

    Args:
        sampler: draws the motion.
        amount: factor on the poses.
    """

    def __init__(self, sampler: MotionSampler, amount: float = 1.0) -> None:
        self._sampler, self._amount = sampler, amount
        self._features, self._active = FeatureStream(), ActivityStream()
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
        return self._advance(self._levels.push(level_db), self._activity.push(self._active.push(level_db)))

    def flush(self) -> Floats:
        """Return the rows of the last frames."""
        level_db = self._features.flush().level_db
        activity = np.concatenate([self._active.push(level_db), self._active.flush()])
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
        poses = np.concatenate([self._poses, MOST * np.tanh(drawn.pose / MOST)[None]])
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


class ProceduralSampler:
    """Slow drift, faster movement while somebody speaks, nods on stressed syllables, blinks at a human rate.

    Args:
        seed: of all that is drawn.
    """

    SLOW_S, FAST_S = 2.5, 0.55  # time constants
    SLOW = np.array([0.036, 0.022, 0.022, 0.22, 0.13, 0.010, 0.04])  # standard deviations
    FAST = np.array([0.018, 0.016, 0.012, 0.06, 0.05, 0.003, 0.05])
    NOD, STRESS = 0.035, 0.22
    BLINK_EVERY_S, SOONEST_S = 3.2, 0.9
    PHRASE_END = 5.0  # factor on the rate of blinks

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._slow, self._fast, self._speed, self._nod = (np.zeros(POSE) for _ in range(4))
        self._mean_level, self._since_s, self._nodding = -0.5, 1.0, 0.0

    def step(self, heard: Heard) -> Drawn:
        """See :class:`MotionSampler`."""
        step_s = STEP_FRAMES / FRAME_RATE_HZ
        noise = self._rng.standard_normal((2, POSE))
        chance, at, length = self._rng.random(3)
        speaks = float(heard.activity.mean())
        keep = np.exp(-step_s / self.SLOW_S)
        self._slow = keep * self._slow + np.sqrt(1 - keep**2) * self.SLOW * noise[0]
        keep = np.exp(-step_s / self.FAST_S)
        self._fast = keep * self._fast + np.sqrt(1 - keep**2) * self.FAST * (0.4 + 0.6 * speaks) * noise[1]
        level = float(heard.level[-4:].mean())
        stress = max(0.0, level - self._mean_level - self.STRESS) * speaks
        self._mean_level += 0.15 * (level - self._mean_level)
        self._nodding = 0.55 * self._nodding + 0.45 * min(1.0, 3 * stress)
        pose = self._slow + self._fast
        pose[1] -= self.NOD * self._nodding
        pose[6] += 2 * self.NOD * self._nodding
        self._since_s += step_s
        ends = heard.activity[0] > 0.5 > heard.activity[-1]
        rate = (self.PHRASE_END if ends else 1.0) / self.BLINK_EVERY_S if self._since_s > self.SOONEST_S else 0.0
        if chance >= 1 - np.exp(-rate * step_s):
            return Drawn(pose)
        self._since_s = 0.0
        return Drawn(pose, at * step_s, 0.28 + 0.14 * length)
