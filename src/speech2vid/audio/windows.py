"""Feature rows → one window of audio for each video frame, whole or in chunks (Sect. 3.4).

Video frame i is on screen from i/25 s to (i + 1)/25 s; its middle is (i + 1/2)/25 s = (4 i + 2) × 10 ms, which is
exactly the centre of feature row 4 i + 2. So::

    window of frame i, S steps  =  rows 4 i + 2 − S // 2  …  4 i + 2 − S // 2 + S − 1

For odd S (the paper's 35: rows 4 i − 15 … 4 i + 19) the middle of the window IS the middle of the frame; for even S it
is half a step (5 ms) early. Rows outside the audio are those of digital silence.

D seconds have round(D × 25) frames, as the paper counts them: see :func:`frame_count`. Rows alone do not say how many
samples they came from: where the last frame's middle falls on the end of the audio, they may give one window more.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech2vid.audio.mfcc import audio_features, silent_features
from speech2vid.constants import (
    MFCC_PER_FRAME,
    SAMPLES_PER_FRAME,
    WINDOW_STEPS,
    exact_div,
)
from speech2vid.types import Waveform

Rows = NDArray[np.float32]

_MIDDLE_ROW = exact_div(MFCC_PER_FRAME, 2)


def frame_count(samples: int) -> int:
    """Return the number of video frames for ``samples`` samples at 16 kHz: round(25 D), halves to even (Sect. 3.4).

    A video of the same duration has as many frames on the grid of :class:`~speech2vid.media.VideoReader`.
    """
    return round(Fraction(samples, SAMPLES_PER_FRAME))


class RowWindows:
    """Windows around rows ``first``, ``first + every``, ``first + 2 every`` … of rows that arrive in chunks.

    Args:
        before, after: rows of context on either side of the middle row.
        outside: (...) what rows before the beginning and after the end hold; its shape is that of a row.
        first, every: which rows get a window.

    Keeps about ``before + after + every`` rows between calls.
    """

    def __init__(self, before: int, after: int, outside: Rows, first: int = 0, every: int = 1) -> None:
        self._width, self._first, self._every = before + 1 + after, first, every
        self._head = np.repeat(np.asarray(outside, np.float32)[None], before, axis=0)
        self._tail = np.repeat(np.asarray(outside, np.float32)[None], after, axis=0)
        self._start()

    def _start(self) -> None:
        self._pending = self._head
        self._next = self._first  # where in ``_pending`` the next window begins

    def push(self, rows: Rows) -> Rows:
        """Take the next rows, (n, ...), and return the complete windows, (m, ..., before + 1 + after), time last."""
        pending = np.concatenate([self._pending, rows])
        count = max(0, (len(pending) - self._next - self._width) // self._every + 1)
        stop = self._next + count * self._every
        if count:
            windows = sliding_window_view(pending, self._width, axis=0)[self._next : stop : self._every]
        else:
            windows = np.empty((0, *pending.shape[1:], self._width), np.float32)
        dropped = min(stop, len(pending))
        self._pending, self._next = pending[dropped:].copy(), stop - dropped
        return windows

    def flush(self) -> Rows:
        """Return the windows around the last rows. The stream is then ready for another recording."""
        last = self.push(self._tail)
        self._start()
        return last


class FrameWindows(RowWindows):
    """One window of ``steps`` rows for each video frame, from 100 Hz rows that arrive in chunks.

    Args:
        steps: length of the window; see the module for which rows these are.
        outside: a row of digital silence, the same shape as the rows.
    """

    def __init__(self, steps: int, outside: Rows) -> None:
        super().__init__(steps // 2, steps - 1 - steps // 2, outside, first=_MIDDLE_ROW, every=MFCC_PER_FRAME)


def frame_windows(rows: Rows, steps: int, outside: Rows) -> Rows:
    """Windows of all video frames from all rows of a recording: (T, C) → (N, C, steps) float32, N = (T + 1) // 4."""
    stream = FrameWindows(steps, outside)
    return np.concatenate([stream.push(rows), stream.flush()])


def mfcc_windows(mfcc: Rows) -> Rows:
    """The networks' input from stored MFCC rows: (T, 13) → (N, 1, 12, 35) float32, coefficient 0 dropped."""
    return frame_windows(mfcc[:, 1:], WINDOW_STEPS, silent_features().mfcc[0, 1:])[:, None]


def windows(waveform: Waveform) -> Rows:
    """Return the networks' input for a whole recording, (n,) float at 16 kHz: (N, 1, 12, 35) float32, N frames."""
    return mfcc_windows(audio_features(waveform).mfcc)[: frame_count(len(waveform))]
