"""Makers of small media files, for the tests of everything that reads them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

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


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, by the clock that ``speech2vid.timing`` reads and by no other: ``work(2)``, s."""
    now_s = [0.0]

    def advance(seconds: float) -> None:
        now_s[0] += seconds

    monkeypatch.setattr("speech2vid.timing.time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    return advance


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


@pytest.fixture(scope="session")
def edit_list() -> Callable[..., Path]:
    """Copy an MP4 file with another edit list on its video (``vide``) or audio (``soun``) track.

    ``edits`` are pairs of duration and start in the media, s; the start None is an empty edit.
    """

    def make(source: Path, path: Path, kind: str, edits: Sequence[tuple[float, float | None]], lead: int) -> Path:
        data = bytearray(source.read_bytes())

        def boxes(low: int, high: int, name: bytes) -> list[tuple[int, int]]:
            found = []
            while low < high:
                size, box = struct.unpack(">I4s", data[low : low + 8])
                if box == name:
                    found.append((low, size))
                low += size
            return found

        def inner(at: tuple[int, int], *names: bytes) -> tuple[int, int]:
            for name in names:
                at = boxes(at[0] + 8, at[0] + at[1], name)[0]
            return at

        ((moov, moov_size),) = boxes(0, len(data), b"moov")
        movie_hz = struct.unpack(">I", data[inner((moov, moov_size), b"mvhd")[0] + 20 :][:4])[0]
        for track, size in boxes(moov + 8, moov + moov_size, b"trak"):
            at = (track, size)
            if bytes(data[inner(at, b"mdia", b"hdlr")[0] + 16 :][:4]).decode() != kind:
                continue
            media_hz = struct.unpack(">I", data[inner(at, b"mdia", b"mdhd")[0] + 20 :][:4])[0]
            entries = b"".join(
                struct.pack(">IiI", round(s * movie_hz), -1 if at_s is None else round(at_s * media_hz) + lead, 1 << 16)
                for s, at_s in edits
            )
            elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
            edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
            header, header_size = inner(at, b"tkhd")
            data[header + 28 : header + 32] = struct.pack(">I", round(sum(s for s, _ in edits) * movie_hz))
            old = boxes(track + 8, track + size, b"edts")
            start, removed = old[0] if old else (header + header_size, 0)
            data[start : start + removed] = edts
            grown = len(edts) - removed
            data[track : track + 4] = struct.pack(">I", size + grown)
            data[moov : moov + 4] = struct.pack(">I", moov_size + grown)
            assert moov > data.index(b"mdat"), "chunk offsets would be wrong"
            break
        path.write_bytes(data)
        return path

    return make
