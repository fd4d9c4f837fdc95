"""The audio of any file as float blocks in true time, and as 16 kHz mono."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.media.display import Frame, Stream, exact
from speech2vid.media.downmix import AudioBlock, SpeechMixer
from speech2vid.media.media_file import MediaFile, opened
from speech2vid.media.sources import AnyAudio
from speech2vid.media.streams import Clock, decode, require_audio
from speech2vid.types import Waveform

GAP_S = Fraction(1, 50)  # time stamps that are off by less are rounding (Matroska: 1 ms); beyond, audio is missing
PLAUSIBLE_RATE_HZ = range(1000, 768_001)  # a sample rate outside is a damaged header
SILENCE_SAMPLES = 48_000  # made at once
PYAV_PLANES = 7  # with more planar channels than this, PyAV reads and writes beyond its arrays


def load_audio(source: AnyAudio | MediaFile, rate_hz: int = SAMPLE_RATE_HZ, *, complete: bool = False) -> Waveform:
    """Return the whole audio of a file, (N,) float32 mono. See :func:`read_audio`."""
    return np.concatenate(list(read_audio(source, rate_hz, complete=complete)))


def read_audio(
    source: AnyAudio | MediaFile, rate_hz: int = SAMPLE_RATE_HZ, *, complete: bool = False
) -> Iterator[Waveform]:
    """Stream the audio of a file as (N,) float32 mono chunks at ``rate_hz``, nominally -1–1.

    Sample 0 belongs to the first frame of the file's video: audio that starts later is preceded by silence, audio from
    before it is left out. Without video, sample 0 is the first sample. Gaps in the time stamps become silence. How
    channels are mixed: see :class:`~speech2vid.media.downmix.SpeechMixer`.

    Args:
        source: a path, or an open file, which stays open.
        rate_hz: of the result.
        complete: count from the first sample where it comes before the first video frame, so that nothing is left out.

    Raises:
        MediaError: no audio stream, or nothing in it can be decoded. A damaged file gives what can be decoded.
    """
    resampler, mixer = MonoResampler(rate_hz), SpeechMixer()
    with opened(source) as file:
        for block in AudioReader(file, complete=complete):
            yield from resampler.push(mixer(block), block.rate_hz)
        yield from resampler.flush()


class AudioReader:
    """Iterate once over the first audio stream at its own rate and channels, without gaps.

    Args:
        file: the open file.
        complete: as for :func:`read_audio`.

    Attributes:
        origin_s: presentation time of the first sample that is given, known with the first block.
    """

    def __init__(self, file: MediaFile, *, complete: bool = False) -> None:
        self.origin_s: Fraction | None = None
        self._file, self._complete = file, complete
        self._blocks = self._read()

    def __iter__(self) -> Iterator[AudioBlock]:
        return self._blocks

    def close(self) -> None:
        """Stop reading."""
        self._blocks.close()

    def _read(self) -> Generator[AudioBlock, None, None]:
        file = self._file
        if not file.has_audio:
            raise MediaError(f"{file.path} has no audio stream", "use an audio file, or a video with an audio track")
        clock = Clock()
        self.origin_s = filled_s = file.video_start_s  # up to filled_s the audio has been given
        heard = False
        to_float = _FloatSamples(file.float_scale)
        with file.reading() as container:
            stream = require_audio(container, file.path)
            for frame, kept in _without_padding(decode(container, stream, file.path), stream):
                rate_hz = int(frame.sample_rate)
                if rate_hz not in PLAUSIBLE_RATE_HZ:
                    raise MediaError(
                        f"{file.path} says that its audio has {rate_hz} samples a second",
                        "the file is damaged; convert it again",
                    )
                start_s = clock.start_of(frame, Fraction(frame.samples, rate_hz))
                block = AudioBlock(to_float(frame)[:, :kept], rate_hz, frame.layout.name)
                if filled_s is None or (self._complete and not heard and start_s < filled_s):
                    self.origin_s = filled_s = start_s
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
                f"{file.path} has an audio stream, but nothing in it can be decoded",
                "the file is empty, damaged or truncated; record or convert it again",
            )


def _without_padding(frames: Iterator[Frame], stream: Stream) -> Iterator[tuple[Frame, int]]:
    """Each frame and how many of its samples count: the file's duration says where an encoder padded the last one."""
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


def _silence(like: AudioBlock, count: int) -> Iterator[AudioBlock]:
    """``count`` samples of silence, a limited number at a time."""
    while count > 0:
        step = min(count, SILENCE_SAMPLES)
        yield AudioBlock(np.zeros((len(like.samples), step), np.float32), like.rate_hz, like.layout)
        count -= step


class _FloatSamples:
    """Decoded frames of any sample format and number of channels → (C, N) float32, -1–1.

    Args:
        scale: floating-point samples are divided by it.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __call__(self, frame: Frame) -> NDArray[np.float32]:
        if frame.format.is_planar and frame.layout.nb_channels > PYAV_PLANES:
            return self._packed(frame)
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(frame.samples, -1).T
        if samples.dtype.kind == "f":
            if self._scale != 1:
                samples = samples / self._scale
            return np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0)
        full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        middle = full_scale if samples.dtype.kind == "u" else 0.0
        return np.asarray((samples - middle) / full_scale, np.float32)

    def _packed(self, frame: Frame) -> NDArray[np.float32]:
        channels = int(frame.layout.nb_channels)
        pack = av.AudioResampler("flt")
        parts = [out.to_ndarray().reshape(-1, channels).T for out in [*pack.resample(frame), *pack.resample(None)]]
        samples = np.concatenate(parts, axis=1) if parts else np.zeros((channels, 0), np.float32)
        return np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0)


class MonoResampler:
    """Streams mono audio to one rate; N seconds in are N × rate samples out, rounded, in time to the sample."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.source_hz = 0
        self.resampler: av.AudioResampler | None = None
        self.taken = self.given = 0

    def push(self, samples: Waveform, source_hz: int) -> Iterator[Waveform]:
        """Take the next samples, (n,) float32; yield what is known at the other rate."""
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
        """Yield the last samples."""
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
