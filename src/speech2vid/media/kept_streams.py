"""The other streams of a re-dubbed video: subtitles and further audio tracks, copied packet by packet."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.media.container import Stream, exact, find_audio, open_media
from speech2vid.media.packet_queue import PacketQueue, packets_from_zero

HOLDS = {  # codecs that a container takes; Matroska takes nearly everything
    "mp4": {"mov_text", "aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "dvd_subtitle"},
    "mov": {"mov_text", "aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
}
KINDS = ("audio", "subtitle")


class KeptStreams(PacketQueue):
    """All subtitles, and all audio but the first (which is replaced), on their way into an output container.

    Args:
        output: the open output container.
        source: the video.
        limit_s: they stop here; None for all of them.

    Attributes:
        left_out: what the container cannot hold, in words.
    """

    def __init__(self, output: Any, source: Path, limit_s: Fraction | None) -> None:
        self.left_out: list[str] = []
        self._source, self._limit_s = source, limit_s
        self._copies: dict[int, Any] = {}
        holds = HOLDS.get(output.format.name)
        with open_media(source) as container:
            replaced = find_audio(container)
            for stream in container.streams:
                if stream.type not in KINDS or (replaced is not None and stream.index == replaced.index):
                    continue
                codec = _codec(stream)
                if codec is None or (holds is not None and codec not in holds):
                    self.left_out.append(f"{stream.type} stream {stream.index} ({codec or 'unknown'})")
                    continue
                copy = output.add_stream_from_template(stream)
                copy.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
                self._copies[stream.index] = copy
        super().__init__(output)

    def __bool__(self) -> bool:
        return bool(self._copies)

    def _read(self) -> Generator[Any, None, None]:
        if not self._copies:  # no stream asked for would mean all of them
            return
        with open_media(self._source) as container:
            streams = [container.streams[index] for index in self._copies]
            for packet in packets_from_zero(container, self._source, *streams):
                self.written_s = start_s = packet.pts * exact(packet.time_base)
                if start_s < 0 or (self._limit_s is not None and start_s >= self._limit_s):
                    continue
                packet.stream = self._copies[packet.stream.index]
                yield packet


def _codec(stream: Stream) -> str | None:
    context = stream.codec_context
    return None if context is None else str(context.name)
