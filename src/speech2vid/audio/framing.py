"""Audio that arrives in chunks of any size → windows of 25 ms every 10 ms, and their spectra: where all features start.

Row r is centred on sample 160 r; zeros stand before and after the audio. A row depends on its own samples alone, so the
values are the same however the audio is cut, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speech2vid.constants import MFCC_FFT, MFCC_HOP, MFCC_PREEMPHASIS, MFCC_WINDOW, SAMPLE_RATE_HZ, exact_div
from speech2vid.errors import MediaError
from speech2vid.types import Waveform

HALF_WINDOW = exact_div(MFCC_WINDOW, 2)
HAMMING = np.hamming(MFCC_WINDOW)
BIN_HZ = SAMPLE_RATE_HZ / MFCC_FFT  # between two bins of a spectrum
_BLOCK_ROWS = 512  # rows computed at once: keeps the intermediate arrays within the cache


class Framer:
    """Keeps the samples that later rows still need: at most 560.

    Attributes:
        rows: how many have been handed out so far.
    """

    def __init__(self) -> None:
        self._pending: Waveform = np.zeros(1 + HALF_WINDOW, np.float32)
        self._samples = 0
        self.rows = 0

    def push(self, chunk: Waveform) -> tuple[Waveform, int]:
        """Take the next samples, (n,) float at 16 kHz in −1–1.

        Returns:
            samples and the number of rows now complete in them, as :func:`spectra` takes them.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        check_chunk(chunk)
        self._samples += len(chunk)
        return self._advance(chunk)

    def flush(self) -> tuple[Waveform, int]:
        """The same for the last rows, with zeros after the end of the audio."""
        missing = self._samples // MFCC_HOP + 1 - self.rows
        zeros = np.zeros((missing - 1) * MFCC_HOP + MFCC_WINDOW + 1 - len(self._pending), np.float32)
        return self._advance(zeros)

    def _advance(self, chunk: Waveform) -> tuple[Waveform, int]:
        samples = np.concatenate([self._pending, chunk.astype(np.float32, copy=False)])
        rows = max(0, (len(samples) - 1 - MFCC_WINDOW) // MFCC_HOP + 1)
        self._pending = samples[rows * MFCC_HOP :].copy()
        self.rows += rows
        return samples, rows


def check_chunk(chunk: Waveform) -> None:
    """Refuse a chunk of audio that is not (n,) floating point and finite.

    Raises:
        ValueError: the chunk is not one-dimensional floating point.
        MediaError: a sample is not a finite number.
    """
    if chunk.ndim != 1 or not np.issubdtype(chunk.dtype, np.floating):
        raise ValueError(f"a chunk of audio is (n,) floating point, not {chunk.shape} {chunk.dtype}")
    if not np.isfinite(chunk).all():
        raise MediaError("the audio contains samples that are not finite numbers", "export it again as 16-bit audio")


def spectra(samples: Waveform, rows: int) -> Iterator[tuple[slice, NDArray[np.complex128]]]:
    """Spectra of the first ``rows`` rows, pre-emphasised, under a Hamming window, block by block.

    Args:
        samples: of :class:`Framer`; sample 0 is only the predecessor that pre-emphasis needs.
        rows: how many to compute.

    Yields:
        which rows, and their spectra (n, 257).
    """
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, rows))
        wave = samples[block.start * MFCC_HOP : (block.stop - 1) * MFCC_HOP + MFCC_WINDOW + 1].astype(np.float64)
        emphasised = wave[1:] - MFCC_PREEMPHASIS * wave[:-1]
        yield block, np.fft.rfft(sliding_window_view(emphasised, MFCC_WINDOW)[::MFCC_HOP] * HAMMING, MFCC_FFT)


def mel_of(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return HTK's mel of a frequency: 2595 log10(1 + f / 700)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0))


def hz_of(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequency of a mel, Hz."""
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


def mel_filters(
    bands: int, low_hz: float, high_hz: float, *, unit_hz: float = BIN_HZ, whole_bins: bool = False
) -> NDArray[np.float64]:
    """Return triangular filters of height 1, (bands, 257) float64: filter × bin of the 512-point spectrum.

    Args:
        bands: number of filters.
        low_hz, high_hz: where the first begins and the last ends.
        unit_hz: in which frequencies are computed; it changes rounding only.
        whole_bins: put the corners on bins, as Sphinx does. Triangles reach at least one bin to either side.
    """
    corners = hz_of(np.linspace(mel_of(low_hz), mel_of(high_hz), bands + 2)) / unit_hz
    if whole_bins:
        corners = np.round(corners)
    left, centre, right = (corners[k : k + bands, None] for k in range(3))
    bin_step = BIN_HZ / unit_hz
    left, right = np.minimum(left, centre - bin_step), np.maximum(right, centre + bin_step)
    bins = np.arange(MFCC_FFT // 2 + 1) * bin_step
    return np.asarray(np.maximum(0.0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))))
