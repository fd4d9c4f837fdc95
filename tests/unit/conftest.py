"""Makers of small media files, for the tests of everything that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

STEP = 8  # grey levels between two digits of a frame number, base 32, low digit in the left half of the picture


def numbered(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A picture that carries its own number."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2] = index % 32 * STEP
    image[:, width // 2 :] = index // 32 * STEP
    return image


@pytest.fixture(scope="session")
def number_of() -> Callable[[NDArray[np.uint8]], int]:
    """The number a picture of ``make_clip`` carries."""

    def read(image: NDArray[np.uint8]) -> int:
        width = image.shape[1]
        low, high = (
            round(float(half.mean()) / STEP) for half in (image[:, : width // 2 - 2], image[:, width // 2 + 2 :])
        )
        return high * 32 + low

    return read


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Write numbered pictures at the given time stamps, and a recording if wanted."""

    def make(
        path: Path,
        pts: Sequence[int],
        time_base: Fraction,
        *,
        size: tuple[int, int] = (64, 48),
        rate: Fraction = Fraction(25),  # tells how long the last picture stays
        codec: str = "libx264",
        pix_fmt: str = "yuv444p",
        pixel_aspect: Fraction | None = None,
        audio: NDArray[np.float32] | None = None,
        audio_start: int = 0,
        audio_rate_hz: int = 16_000,
        audio_codec: str = "pcm_s16le",
    ) -> Path:
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=rate, options={"crf": "1", "preset": "ultrafast"})
            stream.width, stream.height = size
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = time_base
            stream.time_base = time_base
            if pixel_aspect is not None:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            audio_stream = None
            if audio is not None:
                audio_stream = output.add_stream(audio_codec, rate=audio_rate_hz, layout="mono")
            for index, time in enumerate(pts):
                frame = av.VideoFrame.from_ndarray(numbered(index, *size), format="rgb24")
                frame.pts, frame.time_base = time, time_base
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if audio_stream is not None and audio is not None:
                wave = (audio * 32767).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
                frame.sample_rate, frame.pts, frame.time_base = audio_rate_hz, audio_start, Fraction(1, audio_rate_hz)
                output.mux(audio_stream.encode(frame))
                output.mux(audio_stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def chirp() -> Callable[..., NDArray[np.float32]]:
    """A tone that rises from 200 to 3000 Hz, half of full scale: (N,) float32."""

    def make(duration_s: float, rate_hz: int) -> NDArray[np.float32]:
        time = np.arange(round(duration_s * rate_hz)) / rate_hz
        phase = 2 * np.pi * (200 * time + 1400 * time**2 / duration_s)
        return (0.5 * np.sin(phase)).astype(np.float32)

    return make
