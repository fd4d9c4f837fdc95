"""Audio → MFCC, log-mel energies and level at 100 Hz, whole or in chunks (Sect. 3.4).

One path makes all three: pre-emphasis, 25 ms symmetric Hamming window every 10 ms, 512-point power spectrum, 40
triangular filters from 300 to 3700 Hz, natural logarithm, orthonormal DCT-II, 13 cepstra, lifter 22. The mel scale is
HTK's, ``2595 log10(1 + f / 700)``, with triangles of height 1: the scale of the MATLAB and HTK front ends that these
settings come from. Coefficient 0 is unchanged by the lifter, as in HTK.

**Row r is centred on sample 160 r**, that is on ``r`` × 10 ms; it sees the samples from 160 r − 200 up to 160 r + 200.
A clip of ``n`` samples has rows 0 … ``n // 160``: every row whose centre lies inside the clip or on its end. Samples
before and after the clip count as zero.

Each row is computed by operations that touch no other row and add in a fixed order (so no BLAS, whose order of
summation depends on the number of rows). Therefore any way of cutting the audio into chunks gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.framing import BIN_HZ, HAMMING, Framer, mel_filters, spectra
from speech2vid.constants import (
    MFCC_CEPSTRA,
    MFCC_FFT,
    MFCC_FILTERS,
    MFCC_HIGH_HZ,
    MFCC_LIFTER,
    MFCC_LOW_HZ,
    MFCC_PREEMPHASIS,
    SAMPLE_RATE_HZ,
)
from speech2vid.types import Waveform

Array = NDArray[np.float64]

MEL_FLOOR = 1e-8  # filter energies below this (about the rounding noise of 16-bit audio) count as this
LEVEL_FLOOR_DB = -100.0

_BIN_HZ = np.arange(MFCC_FFT // 2 + 1) * BIN_HZ
_BAND = slice(int(np.searchsorted(_BIN_HZ, MFCC_LOW_HZ)), int(np.searchsorted(_BIN_HZ, MFCC_HIGH_HZ, side="right")))


def mfcc_filters() -> Array:
    """Return the filters of the MFCC, (40, 257) float64."""
    return mel_filters(MFCC_FILTERS, MFCC_LOW_HZ, MFCC_HIGH_HZ, unit_hz=1.0)


def _level_weights() -> Array:
    """Weights (257,) that sum a power spectrum to the mean square of the audio, with the pre-emphasis undone."""
    pre_emphasis = np.abs(1.0 - MFCC_PREEMPHASIS * np.exp(-2j * np.pi * _BIN_HZ / SAMPLE_RATE_HZ)) ** 2
    weights: Array = 2.0 / (MFCC_FFT * np.sum(HAMMING**2)) / pre_emphasis
    return weights


@cache
def _cepstral_matrix() -> Array:
    """Orthonormal DCT-II and lifter in one, (40, 13)."""
    order = np.arange(MFCC_CEPSTRA)
    dct = np.cos(np.pi / MFCC_FILTERS * (np.arange(MFCC_FILTERS)[:, None] + 0.5) * order)
    scale = np.where(order == 0, np.sqrt(1.0 / MFCC_FILTERS), np.sqrt(2.0 / MFCC_FILTERS))
    matrix: Array = dct * scale * (1.0 + MFCC_LIFTER / 2.0 * np.sin(np.pi * order / MFCC_LIFTER))
    return matrix


@cache
def _band_matrix() -> Array:
    """Bins in the band → 40 filters and the level."""
    return np.vstack([mfcc_filters(), _level_weights()])[:, _BAND].T


@dataclass(frozen=True)
class AudioFeatures:
    """What the networks and the silence detector hear, 100 rows a second; row r is centred on r × 10 ms.

    Attributes:
        mfcc: (T, 13) float32, liftered cepstra; coefficient 0 first.
        logmel: (T, 40) float32, natural logarithm of the filter energies, at least ``log(MEL_FLOOR)``.
        level_db: (T,) float32, root mean square of the audio between 300 and 3700 Hz in dB below full scale
            (a sine of amplitude 1 is −3), at least ``LEVEL_FLOOR_DB``.
    """

    mfcc: NDArray[np.float32]
    logmel: NDArray[np.float32]
    level_db: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.level_db)


def _row_by_row_product(rows: Array, matrix: Array) -> Array:
    """``rows @ matrix`` with every row summed in the same order, however many rows there are."""
    total = np.zeros((len(rows), matrix.shape[1]))
    for column, weights in enumerate(matrix):
        total += rows[:, column, None] * weights
    return total


def _features(samples: Waveform, rows: int) -> AudioFeatures:
    """The first ``rows`` rows of ``samples``; sample 0 is only the predecessor that pre-emphasis needs."""
    mfcc = np.empty((rows, MFCC_CEPSTRA), np.float32)
    logmel = np.empty((rows, MFCC_FILTERS), np.float32)
    level_db = np.empty(rows, np.float32)
    for block, spectrum in spectra(samples, rows):
        band = spectrum[:, _BAND]
        energies = _row_by_row_product(band.real**2 + band.imag**2, _band_matrix())
        log_energies = np.log(np.maximum(energies[:, :MFCC_FILTERS], MEL_FLOOR))
        mfcc[block] = _row_by_row_product(log_energies, _cepstral_matrix())
        logmel[block] = log_energies
        level_db[block] = 10.0 * np.log10(np.maximum(energies[:, MFCC_FILTERS], 10.0 ** (LEVEL_FLOOR_DB / 10.0)))
    return AudioFeatures(mfcc, logmel, level_db)


class FeatureStream:
    """Features of audio that arrives in chunks of any size; the rows are those of ``audio_features``, bit for bit.

    A row is returned once the audio has reached 12.5 ms (200 samples) past its centre. At most 560 samples are kept.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._framer = Framer()

    def push(self, chunk: Waveform) -> AudioFeatures:
        """Take the next samples, (n,) float at 16 kHz in −1–1, and return the rows that are now complete.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        return _features(*self._framer.push(chunk))

    def flush(self) -> AudioFeatures:
        """Return the last rows, with zeros after the end. The stream is then ready for another recording."""
        last = _features(*self._framer.flush())
        self._start()
        return last


def concatenate(parts: list[AudioFeatures]) -> AudioFeatures:
    """Join features along time."""
    return AudioFeatures(
        np.concatenate([part.mfcc for part in parts]),
        np.concatenate([part.logmel for part in parts]),
        np.concatenate([part.level_db for part in parts]),
    )


def audio_features(waveform: Waveform) -> AudioFeatures:
    """Return the features of a recording, (n,) float at 16 kHz in −1–1: ``n // 160 + 1`` rows. Errors as the stream."""
    stream = FeatureStream()
    return concatenate([stream.push(waveform), stream.flush()])


def mfcc(waveform: Waveform) -> NDArray[np.float32]:
    """MFCC of a whole recording, (T, 13) float32 at 100 Hz, T = n // 160 + 1 (Sect. 3.4)."""
    return audio_features(waveform).mfcc


def logmel(waveform: Waveform) -> NDArray[np.float32]:
    """Log-mel energies of a whole recording, (T, 40) float32 at 100 Hz, T = n // 160 + 1."""
    return audio_features(waveform).logmel


@cache
def silent_features() -> AudioFeatures:
    """Return one row, the features of digital silence: the context before and after a recording."""
    return audio_features(np.zeros(0, np.float32))
