"""How late each speaker's recordings show the mouth: a camera's, a broadcaster's or a preparation's lag, in frames.

A network that has heard many speakers moves the mouth as they do on average; where a speaker's filmed mouth follows
that movement best a little later or earlier, that is the lag of the recordings. Below a frame it cannot be seen, but a
network that learns from speakers with different lags learns a blurred movement.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.training.dataset import TrackSet, TrainingTrack

STEP_FRAMES = 0.25
LAGS = np.arange(-3, 3 + STEP_FRAMES, STEP_FRAMES)
OUTSIDE = 3  # frames at either end of a track that have no counterpart at every lag
LEAST_FRAMES = 16  # of a track that tells anything

Openings = NDArray[np.floating]


def speaker_av_offsets(expected: Callable[[TrainingTrack], Openings], tracks: TrackSet) -> dict[str, float]:
    """Measure lags by the lip openings that the audio makes one expect.

    Args:
        expected: gives the lip opening (T,) of a track, from its audio.

    Returns:
        speaker → frames by which the filmed mouth is later than the speakers' average; 0 where all tracks are shorter
        than 16 frames.
    """
    found = {
        speaker: _peak(np.average([_curve(expected(track), track.opening) for track in long], 0, [*map(len, long)]))
        for speaker, own in tracks.by_speaker.items()
        if (long := [track for track in own if len(track) >= LEAST_FRAMES])
    }
    ema = float(np.mean(list(found.values()))) if found else 0.0
    return {speaker: found.get(speaker, ema) - ema for speaker in tracks.by_speaker}


def _curve(expected: Openings, filmed: Openings) -> NDArray[np.float64]:
    """Correlation at each of ``LAGS``."""
    inside, times = slice(OUTSIDE, -OUTSIDE), np.arange(len(filmed))
    return np.array([correlation(expected[inside], np.interp(times + lag, times, filmed)[inside]) for lag in LAGS])


def _peak(curve: NDArray[np.float64]) -> float:
    """The lag of the highest correlation, told between steps by a parabola."""
    top = int(np.clip(curve.argmax(), 1, len(curve) - 2))
    before, at, after = curve[top - 1 : top + 2]
    bend = before - 2 * at + after
    inner_mouth_mask = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(LAGS[top] + STEP_FRAMES * np.clip(inner_mouth_mask, -0.5, 0.5))
