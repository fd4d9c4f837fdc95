"""The given audio on its way into the written file: AAC copied packet by packet, other audio encoded at its rate."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from speech2vid.media.audio_reader import PYAV_PLANES, AudioReader
from speech2vid.media.containers import Container
from speech2vid.media.display import Stream, exact
from speech2vid.media.downmix import AudioBlock, SpeechMixer
from speech2vid.media.media_file import MediaFile
from speech2vid.media.packets import PacketQueue, is_audio_continuous, packets_from
from speech2vid.media.sources import AnyAudio
from speech2vid.media.streams import require_audio

AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
BIT_RATE = 192_000  # at least, whatever the channels
BIT_RATE_PER_CHANNEL = 96_000
AAC_FRAME = 1024  # samples
AAC_FRAME_BITS = 6144  # most that one channel of one AAC frame may take


class AudioTrack(PacketQueue):
    """One audio stream of an output container.

    AAC is copied packet by packet, without loss, where that gives what decoding gives; anything else is encoded to AAC
    at the source's rate and channels, at 192 kb/s or more. Time 0 is the same as in ``read_audio``.

    Args:
        output: the open output container.
        container: what it can hold.
        source: the file whose audio is wanted; an open file stays open.
        limit_s: the audio stops here (at the packet border before it, when copied), or None for all of it.
        frame_s: duration of a video frame; AAC whose packets are longer is copied only when it is not cut.
        shift_s: the audio comes this much later; negative: earlier, and what would come before time 0 is dropped.
        complete: where time 0 is, as for ``read_audio``.

    Raises:
        MediaError: the source has no audio that can be read.
    """

    def __init__(
        self,
        output: Any,
        container: Container,
        source: AnyAudio | MediaFile,
        limit_s: Fraction | None,
        frame_s: Fraction,
        *,
        shift_s: Fraction = Fraction(0),
        complete: bool = True,
    ) -> None:
        self._file = source if isinstance(source, MediaFile) else MediaFile(source)
        self._owned = self._file is not source
        self._limit_s, self._shift_s = limit_s, shift_s
        self._reader = AudioReader(self._file, complete=complete)
        self._first = next(iter(self._reader))
        with self._file.reading() as streams:
            stream = require_audio(streams, self._file.path)
            fits = limit_s is None or _packet_s(stream) <= frame_s
            self.copied = fits and _is_copyable(stream) and container.edit_lists and is_audio_continuous(self._file)
            if self.copied:
                self._stream = output.add_stream_from_template(stream)
            else:
                self._stream = _add_aac(output, self._first)
        super().__init__(output)

    def close(self) -> None:
        super().close()
        self._reader.close()
        if self._owned:
            self._file.close()

    def _read(self) -> Generator[Any, None, None]:
        return self._copy() if self.copied else self._encode()

    def _copy(self) -> Generator[Any, None, None]:
        with self._file.reading() as container:
            stream = require_audio(container, self._file.path)
            tick_s = exact(stream.time_base)
            lead_in_s = 2 * _packet_s(stream)  # a decoder needs the packets just before the first sample
            for packet in packets_from(container, (self._reader.origin_s or Fraction(0)) - self._shift_s, stream):
                end_s = (packet.pts + (packet.duration or 0)) * tick_s
                if end_s < -lead_in_s:
                    continue
                if self._limit_s is not None and end_s > self._limit_s:
                    return
                packet.stream = self._stream
                self.written_s = end_s
                yield packet

    def _encode(self) -> Generator[Any, None, None]:
        context = self._stream.codec_context
        pts = round(max(Fraction(0), self._shift_s) * context.sample_rate)
        for frame in self._conformed():
            frame.pts = pts
            frame.time_base = Fraction(1, context.sample_rate)
            pts += frame.samples
            self.written_s = Fraction(pts, context.sample_rate)
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _conformed(self) -> Iterator[Any]:
        """Yield frames in the rate and channels of the output, whatever the source changes to midway."""
        context = self._stream.codec_context
        shape: tuple[int, str] | None = None
        resampler: av.AudioResampler | None = None
        mixer: SpeechMixer | None = None
        for block in self._limited(chain([self._first], self._reader)):
            if resampler is None or shape != (block.rate_hz, block.layout):
                yield from _flush(resampler)
                shape = (block.rate_hz, block.layout)
                resampler = av.AudioResampler("fltp", context.layout, context.sample_rate)
                mixer = None if _is_mixable(block, context.layout) else SpeechMixer()
            if mixer is not None:
                block = AudioBlock(mixer(block)[None], block.rate_hz, "mono")
            yield from resampler.resample(_frame_of(block))
        yield from _flush(resampler)

    def _limited(self, blocks: Iterable[AudioBlock]) -> Iterator[AudioBlock]:
        taken_s = Fraction(0)
        dropped_s = max(Fraction(0), -self._shift_s)
        for block in blocks:
            if dropped_s > 0:
                drop = min(block.samples.shape[1], round(dropped_s * block.rate_hz))
                dropped_s -= Fraction(drop, block.rate_hz)
                block = replace(block, samples=block.samples[:, drop:])
                if not block.samples.shape[1]:
                    continue
            if self._limit_s is not None:
                room = round((self._limit_s - taken_s) * block.rate_hz)
                block = replace(block, samples=block.samples[:, : max(0, room)])
            if not block.samples.shape[1]:
                return
            taken_s += Fraction(block.samples.shape[1], block.rate_hz)
            yield block


def _is_copyable(stream: Stream) -> bool:
    """Return whether it is AAC with its setup in the header."""
    context = stream.codec_context
    return context.name == "aac" and bool(context.extradata)


def _frame_of(block: AudioBlock) -> Any:
    """Return an audio frame; more channels than PyAV handles in planes are packed."""
    if len(block.samples) > PYAV_PLANES:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.samples.T).reshape(1, -1), "flt", block.layout)
    else:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.samples), "fltp", block.layout)
    frame.sample_rate = block.rate_hz
    return frame


def _is_mixable(block: AudioBlock, layout: Any) -> bool:
    """Return whether FFmpeg knows how these channels become those of ``layout``."""
    if len(block.samples) > max(AAC_LAYOUTS):
        return False
    silence = AudioBlock(np.zeros((len(block.samples), AAC_FRAME), np.float32), block.rate_hz, block.layout)
    try:
        av.AudioResampler("fltp", layout, block.rate_hz).resample(_frame_of(silence))
    except (av.FFmpegError, ValueError):
        return False
    return True


def _packet_s(stream: Stream) -> Fraction:
    context = stream.codec_context
    return Fraction(context.frame_size or AAC_FRAME, int(context.sample_rate))


def _add_aac(output: Any, like: AudioBlock) -> Stream:
    """An AAC stream of the same rate and channels, or the nearest that AAC has."""
    rate_hz = like.rate_hz if like.rate_hz in AAC_RATES_HZ else 48_000
    channels = len(like.samples)
    layout = AAC_LAYOUTS.get(channels, "stereo")
    stream = output.add_stream("aac", rate=rate_hz, layout=layout)
    most = AAC_FRAME_BITS * channels * rate_hz // AAC_FRAME
    stream.bit_rate = min(most, max(BIT_RATE, BIT_RATE_PER_CHANNEL * channels))
    return stream


def _flush(resampler: av.AudioResampler | None) -> list[Any]:
    return [] if resampler is None else [frame for frame in resampler.resample(None) if frame is not None]
