"""Streams, time stamps and decoding of an open container: the part that every reader shares."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from speech2vid.errors import MediaError
from speech2vid.media.display import Frame, Stream, exact
from speech2vid.media.sources import InMemory, Source

log = logging.getLogger(__name__)

Packet = Any  # av.Packet

BACKWARD_JUMP_S = 1  # time stamps that fall back by more are a restarted clock, not a reordered frame
FORWARD_JUMP_S = 3600  # those that leap ahead by more are a damaged header, not a frame that stays on screen
WITHOUT_PRESENTATION_TIMES = ("avi",)  # demuxers whose time stamps are those of decoding, whatever they are called
MAX_PIXELS = 80_000_000  # of one frame; 8K has 33 million


def has_presentation_times(container: Any, stream: Stream) -> bool:
    """Return whether the time stamps of a stream say when a frame is shown, not when it is decoded."""
    reordered = stream.type == "video" and bool(stream.codec_context.has_b_frames)
    return not reordered or container.format.name not in WITHOUT_PRESENTATION_TIMES


class _DecodingTimes:
    """Gives frames, which come in the order of presentation, the times at which packets are decoded, in rising order.

    Args:
        needed: whether; otherwise frames keep their times.
    """

    def __init__(self, needed: bool) -> None:
        self._needed = needed
        self._waiting: list[int] = []

    def push(self, packet: Packet | None) -> None:
        """Note the time of a packet."""
        if self._needed and packet is not None and packet.size and packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)

    def given_to(self, frames: Iterable[Frame]) -> Generator[Frame, None, None]:
        """Yield the frames with their times."""
        for frame in frames:
            if self._needed:
                frame.pts = heapq.heappop(self._waiting) if self._waiting else None
            yield frame


@dataclass
class Clock:
    """Turns the time stamps of successive frames into seconds that never run far backwards or leap ahead.

    A frame without a time stamp starts where the previous one ended; a clock that restarts midway, or leaps ahead by
    more than an hour, carries on.
    """

    expected_s: Fraction | None = None
    shift_s: Fraction = Fraction(0)

    def start_of(self, frame: Frame, duration_s: Fraction) -> Fraction:
        """Return the start of ``frame`` in seconds; ``duration_s`` is how long it lasts."""
        if frame.pts is None:
            start = self.expected_s or Fraction(0)
        else:
            start = frame.pts * exact(frame.time_base) + self.shift_s
            due = self.expected_s
            if due is not None and not due - BACKWARD_JUMP_S <= start <= due + FORWARD_JUMP_S:
                self.shift_s += due - start
                start = due
        self.expected_s = start + duration_s
        return start


def require_file(path: Source) -> None:
    """Raise a ``MediaError`` unless ``path`` is a file with at least one byte that we may read."""
    if isinstance(path, InMemory):
        if not path.content and path.image is None:
            raise MediaError(f"{path} is empty (0 bytes)", "give the content of a whole file")
        return
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder, not a file", "give one of the files in it")
        if not path.exists():
            raise MediaError(f"{path} does not exist", "check the spelling of the path")
        if not path.is_file():
            raise MediaError(f"{path} is a device or a pipe, not a file", "save it to a file first")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path} is empty (0 bytes)", "copy or download it again")
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}", "check the permissions of the file") from error


def reason(error: BaseException) -> str:
    """Return the system's or FFmpeg's own words for an error, in one line."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def find_video(container: Any) -> Stream | None:
    """Return the first video stream that is not cover art, or None."""
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover and s.codec_context), None)


def find_audio(container: Any) -> Stream | None:
    """Return the first audio stream with a known codec, or None."""
    return next((s for s in container.streams.audio if s.codec_context), None)


def require_video(container: Any, path: Source) -> Stream:
    """Return the first video stream; raise a ``MediaError`` where there is none."""
    if (stream := find_video(container)) is None:
        raise MediaError(f"{path} has no video stream", "give a video file; an audio file cannot show a face")
    return stream


def require_audio(container: Any, path: Source) -> Stream:
    """Return the first audio stream; raise a ``MediaError`` where there is none."""
    if (stream := find_audio(container)) is None:
        raise MediaError(f"{path} has no audio stream", "use an audio file, or a video with an audio track")
    return stream


def packets_of(container: Any, *streams: Stream) -> Generator[Packet, None, None]:
    """Yield the packets of some streams. Those of a stream that appears midway, unknown to PyAV, are skipped."""
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:  # the packet is gone, and with it the iteration: begin again where it ended
            continue
        return


def decode(
    container: Any, stream: Stream, path: Source, packets: Iterable[Packet] | None = None
) -> Generator[Frame, None, None]:
    """Decode a stream, keeping what can be decoded of a damaged or truncated file (and logging what was lost)."""
    if not stream.codec_context.is_open:
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    lost = 0
    times = _DecodingTimes(not has_presentation_times(container, stream))
    coming = iter(packets_of(container, stream) if packets is None else packets)
    while True:
        try:
            packet = next(coming, None)
        except (av.FFmpegError, OSError) as error:
            log.warning("%s: reading stopped early: %s", path, reason(error))
            packet = None
        times.push(packet)
        try:
            yield from times.given_to(stream.decode(packet))
        except EOFError:  # also an FFmpegError: the decoder has given everything
            break
        except av.FFmpegError:
            lost += 1
        if packet is None:
            break
    if lost:
        log.warning("%s: %d damaged %s packets were skipped", path, lost, stream.type)
