"""Audio → log-mel rows at 100 Hz, whole or in chunks: what the shape predictor hears.

The paper's MFCC (Sect. 3.4) leave out the energy and everything above 3700 Hz; lips show in both. From one spectrum
(pre-emphasis 0.97, 25 ms symmetric Hamming window every 10 ms, 512 points) a row holds:

* columns 0 … 63: 64 bands from 60 to 7600 Hz, log(energy + 1e-5), as they are;
* columns 64 … 88: 25 bands from 130 to 6800 Hz, log(energy + 1e-6), with microphone and loudness taken out: the front
  end of CMU Sphinx's English acoustic model, whose phone likelihoods the predictor uses. Subtracted is the running mean
  of each band over the last 3 s and the next 80 ms; at the beginning, when little has been heard, it leans on the mean
  of our training speakers (``PRIOR``). Its level never falls below ``LEAST_LEVEL``: silence stays silence.

Bands are triangles of height 1 on the mel scale 2595 log10(1 + f / 700); logarithms are natural.

Row r is centred on sample 160 r (10 r ms), as in ``mfcc``: the middle of video frame i, (i + 1/2)/25 s, is row 4 i + 2.
A clip of n samples has n // 160 + 1 rows; samples before and after it count as zero. Every row is summed in a fixed
order, so any way of cutting the audio into chunks gives the same bits.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.framing import Framer, mel_filters, spectra
from speech2vid.constants import MFCC_FFT, SAMPLE_RATE_HZ
from speech2vid.types import Waveform

Rows = NDArray[np.float32]

PLAIN_BANDS, PLAIN_LOW_HZ, PLAIN_HIGH_HZ, PLAIN_FLOOR = 64, 60.0, 7600.0, 1e-5
PHONE_BANDS, PHONE_LOW_HZ, PHONE_HIGH_HZ, PHONE_FLOOR = 25, 130.0, 6800.0, 1e-6
COLUMNS = PLAIN_BANDS + PHONE_BANDS

ROWS_BEFORE, ROWS_AFTER = 300, 8  # what the running mean hears
PRIOR_ROWS_SPECTRUM, PRIOR_ROWS_LEVEL = 30, 8  # how many rows of ordinary speech it has heard before the audio begins
LEAST_LEVEL = -8.5  # that of white noise at −62 dB; the mean of speech lies 20 dB below its loud parts
PRIOR = np.array(
    [
        [-2.76, -2.57, -2.00, -1.69, -1.52],
        [-1.77, -2.40, -2.72, -2.84, -3.04],
        [-2.91, -2.81, -2.94, -2.92, -2.80],
        [-2.58, -2.57, -2.79, -2.85, -2.72],
        [-2.77, -2.97, -2.99, -2.96, -2.89],
    ]
).ravel()  # mean row of our training speakers


class _Bands(NamedTuple):
    """Filters as sparse columns: for k = 0, 1 …, the k-th bin of every band, its weight; and the floor of each band."""

    bins: NDArray[np.int64]
    weights: NDArray[np.float64]
    floors: NDArray[np.float64]


@cache
def _bands() -> _Bands:
    filters = np.vstack(
        [
            mel_filters(PLAIN_BANDS, PLAIN_LOW_HZ, PLAIN_HIGH_HZ),
            mel_filters(PHONE_BANDS, PHONE_LOW_HZ, PHONE_HIGH_HZ, whole_bins=True),
        ]
    )
    lowest = np.array([np.flatnonzero(weights)[0] for weights in filters])
    widest = max(int(np.flatnonzero(weights)[-1]) - low + 1 for weights, low in zip(filters, lowest, strict=True))
    reach = lowest + np.arange(widest)[:, None]
    bins = np.minimum(reach, MFCC_FFT // 2)
    weights = np.take_along_axis(filters, bins.T, axis=1).T * (reach <= MFCC_FFT // 2)
    return _Bands(bins, weights, np.repeat([PLAIN_FLOOR, PHONE_FLOOR], [PLAIN_BANDS, PHONE_BANDS]))


def _log_energies(samples: Waveform, rows: int) -> NDArray[np.float64]:
    """The first ``rows`` rows of ``samples``; sample 0 is only the predecessor that pre-emphasis needs."""
    bands = _bands()
    logs = np.empty((rows, COLUMNS))
    for block, spectrum in spectra(samples, rows):
        power = spectrum.real**2 + spectrum.imag**2
        energies = np.tile(bands.floors, (len(power), 1))
        for bins, weights in zip(bands.bins, bands.weights, strict=True):  # every band from its lowest bin up
            energies += power[:, bins] * weights
        logs[block] = np.log(energies)
    return logs


class LogMelStream:
    """Rows of a recording that arrives in chunks of any size; the values of ``predictor_rows``, bit for bit.

    A row is returned once the audio has reached 92.5 ms past its centre. About 3 s of rows are kept.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._framer = Framer()
        self._sums = np.zeros((1, PHONE_BANDS))  # running sums of rows; the first is the sum up to row ``_oldest``
        self._oldest = 0
        self._logs = np.zeros((0, COLUMNS))  # rows heard and not yet returned

    def push(self, chunk: Waveform) -> Rows:
        """Take the next samples, (n,) float at 16 kHz in −1–1, and return the rows now complete, (m, 89) float32.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        self._hear(*self._framer.push(chunk))
        return self._complete(self._framer.rows - ROWS_AFTER)

    def flush(self) -> Rows:
        """Return the last rows, with zeros after the end. The stream is then ready for another recording."""
        self._hear(*self._framer.flush())
        last = self._complete(self._framer.rows)
        self._start()
        return last

    def _hear(self, samples: Waveform, rows: int) -> None:
        logs = _log_energies(samples, rows)
        self._logs = np.concatenate([self._logs, logs])
        sums = np.cumsum(np.concatenate([self._sums[-1:], logs[:, PLAIN_BANDS:]]), axis=0)
        self._sums = np.concatenate([self._sums, sums[1:]])

    def _complete(self, stop: int) -> Rows:
        """Rows from the first not yet returned up to ``stop``, less the running mean."""
        first = self._framer.rows - len(self._logs)
        row = np.arange(first, max(first, stop))
        low, high = np.maximum(row - ROWS_BEFORE, 0), np.minimum(row + ROWS_AFTER + 1, self._framer.rows)
        total = self._sums[high - self._oldest] - self._sums[low - self._oldest]
        heard = (high - low)[:, None].astype(np.float64)
        prior_level = PRIOR.mean()
        total_level = total.sum(axis=1, keepdims=True) / PHONE_BANDS
        shape = (total - total_level + PRIOR_ROWS_SPECTRUM * (PRIOR - prior_level)) / (heard + PRIOR_ROWS_SPECTRUM)
        level = (total_level + PRIOR_ROWS_LEVEL * prior_level) / (heard + PRIOR_ROWS_LEVEL)
        rows = self._logs[: len(row)].astype(np.float32)
        rows[:, PLAIN_BANDS:] = self._logs[: len(row), PLAIN_BANDS:] - shape - np.maximum(level, LEAST_LEVEL)
        self._logs = self._logs[len(row) :]
        spare = max(0, first + len(row) - ROWS_BEFORE - self._oldest)
        self._sums, self._oldest = self._sums[spare:], self._oldest + spare
        return rows


def predictor_rows(waveform: Waveform) -> Rows:
    """Rows of a whole recording, (n,) float at 16 kHz in −1–1: (n // 160 + 1, 89) float32. Errors as the stream."""
    stream = LogMelStream()
    return np.concatenate([stream.push(waveform), stream.flush()])


@cache
def silent_row() -> Rows:
    """Return the row after 2 s of digital silence, (89,) float32: the context before and after a recording."""
    row: Rows = predictor_rows(np.zeros(2 * SAMPLE_RATE_HZ, np.float32))[-1]
    row.setflags(write=False)
    return row
