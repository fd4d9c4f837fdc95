"""Packets of another file on their way into an output container, copied without decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import Any

from speech2vid.media.audio_reader import GAP_S
from speech2vid.media.containers import Container
from speech2vid.media.display import Stream, exact
from speech2vid.media.media_file import MediaFile
from speech2vid.media.streams import Packet, find_audio, find_video, packets_of, require_audio

COPIED_KINDS = ("audio", "subtitle")


class PacketQueue(ABC):
    """What is written next to the video, as far as the video has come.

    Args:
        output: the open output container.

    Attributes:
        written_s: how far its packets reach.
    """

    def __init__(self, output: Any) -> None:
        self.written_s = Fraction(0)
        self._output = output
        self._packets = self._read()

    def advance(self, until_s: Fraction | None = None) -> None:
        """Write up to ``until_s`` seconds, or to the end."""
        while until_s is None or self.written_s < until_s:
            packet = next(self._packets, None)
            if packet is None:
                return
            self._output.mux(packet)

    def packets(self) -> Iterator[Packet]:
        """Return the packets themselves, for a caller that writes them."""
        return self._packets

    def close(self) -> None:
        """Release the source file."""
        self._packets.close()

    @abstractmethod
    def _read(self) -> Generator[Packet, None, None]:
        """Yield the packets in order; set ``written_s`` ahead of each."""


class KeptStreams(PacketQueue):
    """All subtitles, and all audio but the first (which is replaced), on their way into an output container.

    Args:
        output: the open output container.
        container: what it can hold.
        source: the video.
        limit_s: they stop here; None for all of them.

    Attributes:
        left_out: streams that are not copied, in words.
    """

    def __init__(self, output: Any, container: Container, source: MediaFile, limit_s: Fraction | None) -> None:
        self.left_out: list[str] = []
        self._source, self._limit_s = source, limit_s
        self._copies: dict[int, Any] = {}
        with source.reading() as streams:
            replaced = {stream.index for stream in (find_video(streams), find_audio(streams)) if stream is not None}
            for stream in streams.streams:
                if stream.index in replaced:
                    continue
                codec = codec_of(stream)
                if stream.type not in COPIED_KINDS or codec is None or not container.can_hold(codec):
                    self.left_out.append(describe(stream))
                    continue
                copy = output.add_stream_from_template(stream)
                copy.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
                self._copies[stream.index] = copy
        super().__init__(output)

    def __bool__(self) -> bool:
        return bool(self._copies)

    def _read(self) -> Generator[Packet, None, None]:
        if not self._copies:  # no stream requested would mean all of them
            return
        with self._source.reading() as container:
            streams = [container.streams[index] for index in self._copies]
            for packet in packets_from(container, self._source.video_start_s or Fraction(0), *streams):
                self.written_s = start_s = packet.pts * exact(packet.time_base)
                if start_s < 0 or (self._limit_s is not None and start_s >= self._limit_s):
                    continue
                packet.stream = self._copies[packet.stream.index]
                yield packet


def packets_from(container: Any, origin_s: Fraction, *streams: Stream) -> Iterator[Packet]:
    """Yield the packets of some streams in presentation time, counted from ``origin_s``."""
    for packet in packets_of(container, *streams):
        if packet.pts is None or not packet.size:
            continue
        packet.pts -= round(origin_s / exact(packet.time_base))
        packet.dts = packet.pts
        yield packet


def is_audio_continuous(file: MediaFile) -> bool:
    """Return whether the audio packets, copied as they are, give what decoding gives.

    They do not where an edit list has several parts or where time stamps are missing, jump or stand still.
    """
    due_s: Fraction | None = None
    with file.reading() as container:
        stream = require_audio(container, file.path)
        for packet in packets_of(container, stream):
            if not packet.size:
                continue
            if packet.pts is None:
                return False
            if packet.is_discard:
                if due_s is not None:
                    return False
                continue
            start_s = packet.pts * exact(packet.time_base)
            if due_s is not None and abs(start_s - due_s) > GAP_S:
                return False
            due_s = start_s + (packet.duration or 0) * exact(packet.time_base)
    return True


def codec_of(stream: Stream) -> str | None:
    """Return FFmpeg's name of a stream's codec, or None where it knows none."""
    context = stream.codec_context
    return None if context is None else str(context.name)


def describe(stream: Stream) -> str:
    """Return what a stream is, in words: "subtitle stream 2 (ass)"."""
    kind = stream.type or "unknown"
    return f"{kind} stream {stream.index} ({codec_of(stream) or stream.metadata.get('handler_name') or 'unknown'})"
