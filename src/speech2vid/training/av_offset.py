"""Audio-video offset of each speaker's recordings, in frames: the lag of a camera, a broadcaster or a preparation.

A network trained on many speakers moves the mouth as they do on average. Where a speaker's filmed mouth follows that
movement best a little later or earlier, the difference is the offset of the recordings. Below a frame it is invisible,
but a network trained on speakers with different offsets learns a blurred movement. The network's own timing is zero: a
collection whose audio is late as a whole would move an average.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.training.dataset import TrackSet, TrainingTrack

STEP_FRAMES = 0.25
DOUBT = 0.01  # correlation that a lag of one frame must gain to be believed; grows with its square
LAGS = np.arange(-3, 3 + STEP_FRAMES, STEP_FRAMES)
OUTSIDE = 3  # frames at either end of a track without a counterpart at every lag
LEAST_FRAMES = 16  # of a track that is measured

Openings = NDArray[np.floating]


def speaker_av_offsets(expected: Callable[[TrainingTrack], Openings], tracks: TrackSet) -> dict[str, float]:
    """Measure offsets by the lip openings that a network predicts from the audio.

    Args:
        expected: returns the predicted lip opening (T,) of a track.

    Returns:
        speaker → frames by which the filmed mouth is later than the network expects; 0 where all tracks are shorter
        than 16 frames.
    """
    doubt = DOUBT * LAGS**2
    found = {
        speaker: _peak(
            np.average([_curve(expected(track), track.opening) for track in long], 0, [*map(len, long)]) - doubt
        )
        for speaker, own in tracks.by_speaker.items()
        if (long := [track for track in own if len(track) >= LEAST_FRAMES])
    }
    return {speaker: found.get(speaker, 0.0) for speaker in tracks.by_speaker}


def _curve(expected: Openings, filmed: Openings) -> NDArray[np.float64]:
    """Return the correlation at each of ``LAGS``."""
    inside, times = slice(OUTSIDE, -OUTSIDE), np.arange(len(filmed))
    return np.array([correlation(expected[inside], np.interp(times + lag, times, filmed)[inside]) for lag in LAGS])


def _peak(curve: NDArray[np.float64]) -> float:
    """Return the lag of the highest correlation, interpolated between steps by a parabola."""
    top = int(np.clip(curve.argmax(), 1, len(curve) - 2))
    before, at, after = curve[top - 1 : top + 2]
    bend = before - 2 * at + after
    part = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(LAGS[top] + STEP_FRAMES * np.clip(part, -0.5, 0.5))
