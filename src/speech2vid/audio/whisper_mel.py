"""Audio → log-mel rows at 100 Hz as Whisper hears them, whole or in chunks.

A row is the power spectrum of 25 ms under a periodic Hann window (400 points, no pre-emphasis) in 80 bands from 0 to
8000 Hz, whose triangles have equal areas on Slaney's mel scale: log10 of the energy, at least −10. Row r is centred on
sample 160 r; zeros stand before and after the audio. :func:`whisper_scale` brings a stretch of rows to what the encoder
takes. Any way of cutting the audio into chunks gives the same bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech2vid.audio.framing import Framer
from speech2vid.constants import MFCC_HOP, MFCC_WINDOW, SAMPLE_RATE_HZ
from speech2vid.types import Waveform

Rows = NDArray[np.float32]

BANDS = 80
HIGH_HZ = SAMPLE_RATE_HZ / 2
SILENCE = -10.0  # log10 of the least energy
RANGE = 8.0  # below the loudest of a stretch, log10
_LINEAR_HZ, _LINEAR_MELS = 1000.0, 15.0  # Slaney's scale is linear up to here, then logarithmic
_STEP = np.log(6.4) / 27
_BLOCK_ROWS = 512


class WhisperMelStream:
    """Rows of a recording that arrives in chunks of any size."""

    def __init__(self) -> None:
        self._framer = Framer()

    def push(self, chunk: Waveform) -> Rows:
        """Take the next samples, (n,) float at 16 kHz in −1–1, and return the rows now complete, (m, 80) float32.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        return _log_mel(*self._framer.push(chunk))

    def flush(self) -> Rows:
        """Return the last rows, with zeros after the end. The stream is then ready for another recording."""
        last = _log_mel(*self._framer.flush())
        self._framer = Framer()
        return last


def whisper_scale(rows: Rows) -> Rows:
    """Return rows (n, 80) in the encoder's scale: nothing is further than 80 dB below the loudest of them."""
    scaled: Rows = (np.maximum(rows, rows.max(initial=SILENCE) - RANGE) + 4.0) / 4.0
    return scaled


def _log_mel(samples: Waveform, count: int) -> Rows:
    """Return the first ``count`` rows of samples as :class:`Framer` hands them out; sample 0 belongs to no row."""
    rows = np.empty((count, BANDS), np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(MFCC_WINDOW) / MFCC_WINDOW)
    for start in range(0, count, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, count)
        wave = samples[1 + start * MFCC_HOP : 1 + (stop - 1) * MFCC_HOP + MFCC_WINDOW].astype(np.float64)
        spectrum = np.fft.rfft(sliding_window_view(wave, MFCC_WINDOW)[::MFCC_HOP] * hann)
        # einsum sums each row by itself, in a fixed order; a matrix product's order depends on the number of rows
        energy = np.einsum("rb,fb->rf", spectrum.real**2 + spectrum.imag**2, _filters())
        rows[start:stop] = np.log10(np.maximum(energy, 10.0**SILENCE))
    return rows


@cache
def _filters() -> NDArray[np.float64]:
    """Return triangles of equal area, (80, 201)."""
    corners = _hz(np.linspace(0.0, _LINEAR_MELS + np.log(HIGH_HZ / _LINEAR_HZ) / _STEP, BANDS + 2))
    left, centre, right = (corners[k : k + BANDS, None] for k in range(3))
    bins = np.arange(MFCC_WINDOW // 2 + 1) * (SAMPLE_RATE_HZ / MFCC_WINDOW)
    heights = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.asarray(np.maximum(0.0, heights) * 2.0 / (right - left))


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mels * (_LINEAR_HZ / _LINEAR_MELS)
    return np.where(mels < _LINEAR_MELS, linear, _LINEAR_HZ * np.exp(_STEP * (mels - _LINEAR_MELS)))
