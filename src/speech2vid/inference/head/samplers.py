"""Samplers of head motion: a network trained on filmed people, and plain statistics as a baseline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.inference.head.motion import POSE, STEP_FRAMES, Drawn, HeadMotionStream, Heard
from speech2vid.inference.options import Motion, TalkOptions
from speech2vid.runtime.engine import LoadGraph, RunnableGraph, graph_loader
from speech2vid.runtime.weights import WeightSet, weight_set
from speech2vid.types import Floats

HEAD_MOTION = "head_motion"  # architecture
STEP_S = STEP_FRAMES / FRAME_RATE_HZ
LONG_AGO_S = 6.0  # a blink longer ago than this has no effect
SOONEST_S = 0.5  # from the beginning of a blink to that of the next
BLINK_S = (0.26, 0.42)  # shortest and longest
LIVELINESS = {"natural": (0.0, 1.0), "subtle": (-0.5, 0.5)}  # see NetworkSampler; factor on the poses
LISTENING = 0.7  # by how much less lively somebody is who listens: the network has seen only speakers
FIRST_BLINK_S = 1.5  # before the beginning, the last blink


class MotionNetwork:
    """The network that head motion is drawn from, loaded.

    Args:
        weights: where its weight file lies.
        load: runs its graph.

    Attributes:
        hashes: architecture → SHA-256 of its tensors.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    def __init__(self, weights: WeightSet, load: LoadGraph) -> None:
        self._step = load(weights.path(HEAD_MOTION), "step")
        self.hashes = {HEAD_MOTION: self._step.header.sha256}

    def stream(self, motion: Motion, seed: int) -> HeadMotionStream | None:
        """Return a stream of head motion for one recording; None for ``still``.

        Args:
            motion: ``natural``, ``subtle`` or ``still``.
            seed: of all that is drawn.
        """
        if motion == "still":
            return None
        liveliness, amount = LIVELINESS[motion]
        return HeadMotionStream(NetworkSampler(self._step, seed, liveliness), amount)


def motion_for(options: TalkOptions, threads: int = 0) -> MotionNetwork | None:
    """Return the network that head motion is drawn from; None for a still head."""
    if options.motion == "still":
        return None
    return MotionNetwork(weight_set(options.weights), graph_loader(options.device, threads, options.engine))


class NetworkSampler:
    """Draws each movement from the mixture that the network returns.

    Args:
        step: graph ``step`` of :class:`speech2vid.models.head_motion.HeadMotion`.
        seed: of all that is drawn.
        liveliness: 0 as the mean filmed person, ±1 a standard deviation over people more or less.
    """

    def __init__(self, step: RunnableGraph, seed: int, liveliness: float) -> None:
        self._step, self._liveliness = step, liveliness
        self._rng = np.random.default_rng(seed)
        self._state = np.zeros((1, int(step.header.config["width"])), np.float32)
        self._pose, self._before = np.zeros(POSE), np.zeros(POSE)
        self._since_s = FIRST_BLINK_S

    def step(self, heard: Heard) -> Drawn:
        """See :class:`speech2vid.inference.head.motion.MotionSampler`."""
        noise = self._rng.standard_normal(POSE)
        choice, chance, at, length = self._rng.random(4)
        movement = self._pose - self._before
        lively = self._liveliness - LISTENING * (1 - float(heard.activity.mean()))
        seen = seen_by_network(self._pose, movement, heard.level, heard.activity, self._since_s, lively)
        drawn = self._step({"seen": seen[None], "state": self._state})
        self._state = drawn["next_state"]
        shares = np.cumsum(drawn["shares"][0], dtype=np.float64)
        component = min(int(np.searchsorted(shares, choice * shares[-1])), len(shares) - 1)
        mean, deviation = (drawn[name][0, component].astype(np.float64) for name in ("means", "deviations"))
        self._before, self._pose = self._pose, self._pose + mean + deviation * noise
        self._since_s += STEP_S
        blinks = chance < float(drawn["blink"][0]) and self._since_s > SOONEST_S
        if not blinks:
            return Drawn(self._pose)
        self._since_s = STEP_S * (1 - at)
        return Drawn(self._pose, at * STEP_S, BLINK_S[0] + (BLINK_S[1] - BLINK_S[0]) * length)


def seen_by_network(
    pose: NDArray[np.floating],
    movement: NDArray[np.floating],
    level: Floats,
    activity: Floats,
    since_blink_s: NDArray[np.floating] | float,
    liveliness: float,
) -> Floats:
    """Return what the network sees, (…, 37) float32; see :class:`speech2vid.models.head_motion.HeadMotion`."""
    since = np.minimum(since_blink_s, LONG_AGO_S)[..., None] / LONG_AGO_S
    lively = np.full(since.shape, liveliness)
    return np.concatenate([pose, movement, level, activity, since, lively], axis=-1).astype(np.float32)


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
        """See :class:`speech2vid.inference.head.motion.MotionSampler`."""
        step_s = STEP_S
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
