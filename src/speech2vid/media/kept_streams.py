"""The other streams of a re-dubbed video: subtitles and further sound tracks, copied packet by packet."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.media.container import Stream, exact, find_audio, open_media, origin_of_time, packets_of

HOLDS = {  # codecs that a container takes; Matroska takes nearly everything
    "mp4": {"mov_text", "aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "dvd_subtitle"},
    "mov": {"mov_text", "aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"},
}
KINDS = ("audio", "subtitle")


class KeptStreams:
    """All subtitles, and all sound but the first (which is replaced), on their way into an output container.

    Args:
        output: the open output container.
        source: the video.
        limit_s: they stop here; None for all of them.

    Attributes:
        left_out: what the container cannot hold, in words.
    """

    def __init__(self, output: Any, source: Path, limit_s: Fraction | None) -> None:
        self.left_out: list[str] = []
        self.written_s = Fraction(0)
        self._output, self._source, self._limit_s = output, source, limit_s
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
        self._packets = self._read()

    def __bool__(self) -> bool:
        return bool(self._copies)

    def advance(self, until_s: Fraction | None = None) -> None:
        """Write up to ``until_s`` seconds, or to the end."""
        while self._copies and (until_s is None or self.written_s < until_s):
            packet = next(self._packets, None)
            if packet is None:
                return
            self._output.mux(packet)

    def close(self) -> None:
        """Release the source file."""
        self._packets.close()

    def _read(self) -> Generator[Any, None, None]:
        origin_s = origin_of_time(self._source) or Fraction(0)
        with open_media(self._source) as container:
            streams = [container.streams[index] for index in self._copies]
            for packet in packets_of(container, streams):
                if packet.pts is None or not packet.size:
                    continue
                tick_s = exact(packet.time_base)
                packet.pts -= round(origin_s / tick_s)
                packet.dts = packet.pts
                self.written_s = start_s = packet.pts * tick_s
                if start_s < 0 or (self._limit_s is not None and start_s >= self._limit_s):
                    continue
                packet.stream = self._copies[packet.stream.index]
                yield packet


def _codec(stream: Stream) -> str | None:
    context = stream.codec_context
    return None if context is None else str(context.name)
