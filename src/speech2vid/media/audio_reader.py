"""Audio of any file as float blocks in true time, and as 16 kHz mono."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.media.container import Clock, Frame, Stream, decode, exact, find_audio, open_media, origin_of_time
from speech2vid.types import Waveform

GAP_S = Fraction(1, 50)  # time stamps that are off by less are rounding (Matroska: 1 ms); beyond, audio is missing
PLAUSIBLE_RATE_HZ = range(1000, 768_001)  # of audio; a rate outside is a damaged header
SILENCE_SAMPLES = 48_000  # made at once
NOT_SPEECH = {"LFE", "LFE2"}  # the bass channel stays out of the mono mix


@dataclass(frozen=True)
class AudioBlock:
    """Consecutive audio. ``samples`` (C, N) float32 at ``rate_hz``; ``layout`` is FFmpeg's name of the channels."""

    samples: NDArray[np.float32]
    rate_hz: int
    layout: str


def load_audio(path: str | Path, rate_hz: int = SAMPLE_RATE_HZ) -> Waveform:
    """The whole audio of a file: (N,) float32 mono. See ``read_audio``."""
    return np.concatenate(list(read_audio(path, rate_hz)))


def read_audio(path: str | Path, rate_hz: int = SAMPLE_RATE_HZ) -> Iterator[Waveform]:
    """Stream the audio of a file as (N,) float32 mono chunks at ``rate_hz``, nominally -1–1.

    Sample 0 belongs to the first image of the file, where it has images: audio that starts later is preceded by
    silence, audio from before the first image is left out. Gaps in the time stamps become silence. The bass channel
    of surround audio is left out of the mix; all others weigh the same.

    Raises:
        MediaError: no audio stream, or nothing in it can be decoded. A damaged file gives what can be decoded.
    """
    resampler = _MonoResampler(rate_hz)
    for block in audio_blocks(path):
        yield from resampler.push(_mono(block), block.rate_hz)
    yield from resampler.flush()


def audio_blocks(path: str | Path) -> Generator[AudioBlock, None, None]:
    """The first audio stream at its own rate and channels, without holes, counted from the file's first image."""
    path = Path(path)
    origin_s = origin_of_time(path)
    clock = Clock()
    filled_s: Fraction | None = origin_s  # up to here the audio has been given out
    heard = False
    with open_media(path) as container:
        stream = require_audio(find_audio(container), path)
        for frame, kept in _without_padding(decode(container, stream, path), stream):
            rate_hz = int(frame.sample_rate)
            if rate_hz not in PLAUSIBLE_RATE_HZ:
                raise MediaError(
                    f"{path} says that its audio has {rate_hz} samples a second", "it is damaged; convert it again"
                )
            start_s = clock.start_of(frame, Fraction(frame.samples, rate_hz))
            block = AudioBlock(_as_float(frame)[:, :kept], rate_hz, frame.layout.name)
            if filled_s is None:
                filled_s = start_s
            if start_s - filled_s > (GAP_S if heard else 0):
                yield from _silence(block, round((start_s - filled_s) * rate_hz))
                filled_s = start_s
            elif filled_s - start_s > (GAP_S if heard else 0):
                overlap = round((filled_s - start_s) * rate_hz)
                block = AudioBlock(block.samples[:, overlap:], rate_hz, block.layout)
            if block.samples.shape[1]:
                heard = True
                filled_s += Fraction(block.samples.shape[1], rate_hz)
                yield block
    if not heard:
        raise MediaError(
            f"{path} has a recording stream, but no audio in it can be decoded",
            "the file is empty, damaged or cut short; record or convert it again",
        )


def _without_padding(frames: Iterator[Frame], stream: Stream) -> Iterator[tuple[Frame, int]]:
    """Each frame and how many of its samples count: the file's duration tells where an encoder padded the last one."""
    end_s = None
    if stream.duration and stream.start_time is not None:
        end_s = (stream.start_time + stream.duration) * exact(stream.time_base)
    held: Frame | None = None
    for frame in frames:
        if not frame.samples:
            continue
        if held is not None:
            yield held, held.samples
        held = frame
    if held is None:
        return
    kept = held.samples
    if end_s is not None and held.pts is not None:
        left = round((end_s - held.pts * exact(held.time_base)) * int(held.sample_rate))
        if left > 0:
            kept = min(kept, left)
    yield held, kept


def require_audio(stream: Stream | None, path: Path) -> Stream:
    if stream is None:
        raise MediaError(f"{path} has no audio stream", "give a recording file, or a video with audio")
    return stream


def _silence(like: AudioBlock, count: int) -> Iterator[AudioBlock]:
    """``count`` samples of silence, a limited number at a time."""
    while count > 0:
        step = min(count, SILENCE_SAMPLES)
        yield AudioBlock(np.zeros((len(like.samples), step), np.float32), like.rate_hz, like.layout)
        count -= step


def _as_float(frame: Frame) -> NDArray[np.float32]:
    """(C, N) float32, -1–1, from a decoded frame of any sample format."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    if samples.dtype.kind == "f":
        return np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0)
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    middle = full_scale if samples.dtype.kind == "u" else 0.0
    return np.asarray((samples - middle) / full_scale, np.float32)


def _mono(block: AudioBlock) -> Waveform:
    names = [channel.name for channel in av.AudioLayout(block.layout).channels]
    speech = [i for i, name in enumerate(names) if name not in NOT_SPEECH] or list(range(len(names)))
    return np.asarray(block.samples[speech].mean(axis=0), np.float32)


class _MonoResampler:
    """Streams mono audio to one rate; N seconds in are N × rate samples out, rounded, in time to the sample."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.source_hz = 0
        self.resampler: av.AudioResampler | None = None
        self.taken = self.given = 0

    def push(self, samples: Waveform, source_hz: int) -> Iterator[Waveform]:
        if source_hz != self.source_hz:
            yield from self.flush()
            self.source_hz = source_hz
            self.taken = self.given = 0
            self.resampler = None if source_hz == self.rate_hz else av.AudioResampler("fltp", "mono", self.rate_hz)
        if self.resampler is None:
            yield samples
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", "mono")
        frame.sample_rate = source_hz
        self.taken += len(samples)
        for out in self.resampler.resample(frame):
            yield self._count(out.to_ndarray()[0])

    def flush(self) -> Iterator[Waveform]:
        if self.resampler is None:
            return
        wanted = round(Fraction(self.taken * self.rate_hz, self.source_hz))
        for out in self.resampler.resample(None):
            chunk = self._count(out.to_ndarray()[0])
            yield chunk[: len(chunk) - max(0, self.given - wanted)]
        if self.given < wanted:
            yield np.zeros(wanted - self.given, np.float32)

    def _count(self, chunk: Waveform) -> Waveform:
        self.given += len(chunk)
        return chunk
