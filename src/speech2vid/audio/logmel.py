"""Sound → log-mel rows at 100 Hz, whole or in chunks: what the shape predictor hears.

The paper's MFCC (Sect. 3.4) leave out the energy and everything above 3700 Hz; lips show in both. From one spectrum
(pre-emphasis 0.97, 25 ms symmetric Hamming window every 10 ms, 512 points) a row holds:

* columns 0 … 63: 64 bands from 60 to 7600 Hz, log(energy + 1e-5), as they are;
* columns 64 … 88: 25 bands from 130 to 6800 Hz, log(energy + 1e-6), with microphone and loudness taken out: the front
  end of CMU Sphinx's English acoustic model, whose phone likelihoods the predictor uses. Subtracted is the running mean
  of each band over the last 3 s and the next 80 ms; at the beginning of a sound, when little has been heard, it leans
  on the mean of our training speakers (``PRIOR``). Its level never falls below ``LEAST_LEVEL``: silence stays silence.

Bands are triangles of height 1 on the mel scale 2595 log10(1 + f / 700); logarithms are natural.

Row r is centred on sample 160 r (10 r ms), as in ``mfcc``: the middle of video frame i, (i + 1/2)/25 s, is row 4 i + 2.
A clip of n samples has n // 160 + 1 rows; samples before and after it count as zero. Every row is summed in a fixed
order, so any way of cutting the sound into chunks gives the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech2vid.constants import MFCC_HOP, MFCC_PREEMPHASIS, MFCC_WINDOW, SAMPLE_RATE_HZ, exact_div
from speech2vid.errors import MediaError
from speech2vid.records import Waveform

Rows = NDArray[np.float32]

PLAIN_BANDS, PLAIN_LOW_HZ, PLAIN_HIGH_HZ, PLAIN_FLOOR = 64, 60.0, 7600.0, 1e-5
PHONE_BANDS, PHONE_LOW_HZ, PHONE_HIGH_HZ, PHONE_FLOOR = 25, 130.0, 6800.0, 1e-6
COLUMNS = PLAIN_BANDS + PHONE_BANDS

ROWS_BEFORE, ROWS_AFTER = 300, 8  # what the running mean hears
PRIOR_ROWS_SHAPE, PRIOR_ROWS_LEVEL = 30, 8  # how many rows of ordinary speech it has heard before the sound begins
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

_FFT = 512
_HALF_WINDOW = exact_div(MFCC_WINDOW, 2)
_BLOCK_ROWS = 512
_HAMMING = np.hamming(MFCC_WINDOW)


def mel_filters(bands: int, low_hz: float, high_hz: float, whole_bins: bool) -> NDArray[np.float64]:
    """Triangular filters of height 1, (bands, 257) float64: filter × bin of the 512-point spectrum.

    Args:
        whole_bins: put the corners on bins, as Sphinx does; otherwise triangles reach at least one bin to either side.
    """
    bin_hz = SAMPLE_RATE_HZ / _FFT
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (low_hz, high_hz))
    corners = 700.0 * (10.0 ** (np.linspace(low, high, bands + 2) / 2595.0) - 1.0) / bin_hz
    if whole_bins:
        corners = np.round(corners)
    left, centre, right = (corners[k : k + bands, None] for k in range(3))
    left, right = np.minimum(left, centre - 1.0), np.maximum(right, centre + 1.0)
    bins = np.arange(_FFT // 2 + 1)
    filters: NDArray[np.float64] = np.maximum(
        0.0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    )
    return filters


_FILTERS = np.vstack(
    [
        mel_filters(PLAIN_BANDS, PLAIN_LOW_HZ, PLAIN_HIGH_HZ, whole_bins=False),
        mel_filters(PHONE_BANDS, PHONE_LOW_HZ, PHONE_HIGH_HZ, whole_bins=True),
    ]
)
_FLOORS = np.repeat([PLAIN_FLOOR, PHONE_FLOOR], [PLAIN_BANDS, PHONE_BANDS])


def _log_energies(samples: Waveform, rows: int) -> NDArray[np.float64]:
    """The first ``rows`` rows of ``samples``; sample 0 is only the predecessor that pre-emphasis needs."""
    logs = np.empty((rows, COLUMNS))
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, rows))
        wave = samples[block.start * MFCC_HOP : (block.stop - 1) * MFCC_HOP + MFCC_WINDOW + 1].astype(np.float64)
        emphasised = wave[1:] - MFCC_PREEMPHASIS * wave[:-1]
        spectrum = np.fft.rfft(sliding_window_view(emphasised, MFCC_WINDOW)[::MFCC_HOP] * _HAMMING, _FFT)
        power = spectrum.real**2 + spectrum.imag**2
        energies = np.tile(_FLOORS, (len(power), 1))
        for band, weights in enumerate(_FILTERS):
            for k in np.flatnonzero(weights):
                energies[:, band] += power[:, k] * weights[k]
        logs[block] = np.log(energies)
    return logs


class LogMelStream:
    """Rows of a sound that arrives in chunks of any size; the values of ``predictor_rows``, bit for bit.

    A row is returned once the sound has reached 92.5 ms past its centre. About 3 s of rows are kept.
    """

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pending = np.zeros(1 + _HALF_WINDOW, np.float32)
        self._samples = 0
        self._heard = 0  # rows computed so far
        self._sums = np.zeros((1, PHONE_BANDS))  # running sums of rows; the first is the sum up to row ``_oldest``
        self._oldest = 0
        self._logs = np.zeros((0, COLUMNS))  # rows heard and not yet returned

    def push(self, chunk: Waveform) -> Rows:
        """Take the next samples, (n,) float at 16 kHz in −1–1, and return the rows now complete, (m, 89) float32.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        if chunk.ndim != 1 or not np.issubdtype(chunk.dtype, np.floating):
            raise ValueError(f"a chunk of sound is (n,) floating point, not {chunk.shape} {chunk.dtype}")
        if not np.isfinite(chunk).all():
            raise MediaError("the sound holds samples that are not finite numbers", "export it again as 16-bit sound")
        self._samples += len(chunk)
        self._hear(chunk)
        return self._complete(self._heard - ROWS_AFTER)

    def flush(self) -> Rows:
        """Return the last rows, with zeros after the end of the sound. The stream is then ready for another sound."""
        missing = self._samples // MFCC_HOP + 1 - self._heard
        self._hear(np.zeros((missing - 1) * MFCC_HOP + MFCC_WINDOW + 1 - len(self._pending), np.float32))
        last = self._complete(self._heard)
        self._start()
        return last

    def _hear(self, chunk: Waveform) -> None:
        samples = np.concatenate([self._pending, chunk.astype(np.float32, copy=False)])
        rows = max(0, (len(samples) - 1 - MFCC_WINDOW) // MFCC_HOP + 1)
        logs = _log_energies(samples, rows)
        self._pending = samples[rows * MFCC_HOP :].copy()
        self._heard += rows
        self._logs = np.concatenate([self._logs, logs])
        sums = np.cumsum(np.concatenate([self._sums[-1:], logs[:, PLAIN_BANDS:]]), axis=0)
        self._sums = np.concatenate([self._sums, sums[1:]])

    def _complete(self, stop: int) -> Rows:
        """Rows from the first not yet returned up to ``stop``, less the running mean."""
        first = self._heard - len(self._logs)
        row = np.arange(first, max(first, stop))
        low, high = np.maximum(row - ROWS_BEFORE, 0), np.minimum(row + ROWS_AFTER + 1, self._heard)
        total = self._sums[high - self._oldest] - self._sums[low - self._oldest]
        heard = (high - low)[:, None].astype(np.float64)
        prior_level = PRIOR.mean()
        total_level = total.sum(axis=1, keepdims=True) / PHONE_BANDS
        shape = (total - total_level + PRIOR_ROWS_SHAPE * (PRIOR - prior_level)) / (heard + PRIOR_ROWS_SHAPE)
        level = (total_level + PRIOR_ROWS_LEVEL * prior_level) / (heard + PRIOR_ROWS_LEVEL)
        rows = self._logs[: len(row)].astype(np.float32)
        rows[:, PLAIN_BANDS:] = self._logs[: len(row), PLAIN_BANDS:] - shape - np.maximum(level, LEAST_LEVEL)
        self._logs = self._logs[len(row) :]
        spare = max(0, first + len(row) - ROWS_BEFORE - self._oldest)
        self._sums, self._oldest = self._sums[spare:], self._oldest + spare
        return rows


def predictor_rows(waveform: Waveform) -> Rows:
    """Rows of a whole sound, (n,) float at 16 kHz in −1–1: (n // 160 + 1, 89) float32. Errors as the stream."""
    stream = LogMelStream()
    return np.concatenate([stream.push(waveform), stream.flush()])


SILENT_ROW = predictor_rows(np.zeros(2 * SAMPLE_RATE_HZ, np.float32))[-1]
"""(89,): the row after 2 s of digital silence. What counts as heard before and after a sound."""
