"""Opening a media file, choosing its streams and decoding them: the part every reader shares."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container

from speech2vid.errors import MediaError

log = logging.getLogger(__name__)

Stream = Any  # av.VideoStream | av.AudioStream; PyAV's own types change between versions
Frame = Any  # av.VideoFrame | av.AudioFrame

BACKWARD_JUMP_S = 1  # time stamps that fall back by more are a restarted clock, not a reordered frame
FORWARD_JUMP_S = 3600  # those that leap ahead by more are a damaged header, not a frame that stands still
MAX_PIXELS = 80_000_000  # of one frame; 8K has 33 million

# What may be opened: containers and streams that hold their content themselves. Lists of other files and addresses
# (HLS, DASH, concat, SDP …), patterns such as `frame%03d.png` and devices are left out: a file must never make us
# open another one.
CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,vob,flv,live_flv,asf,ogg,wav,w64,aiff,caf,au,mp3,aac,ac3,eac3,flac,amr,"
    "amrnb,amrwb,ape,tta,wv,dsf,voc,gsm,dts,truehd,mxf,mxf_d10,mxf_opatom,gxf,dv,h264,hevc,m4v,av1,obu,ivf,nut,rm,gif,"
    "apng,yuv4mpegpipe,mjpeg,wtv"
)
LOCAL_ONLY = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}


def exact(value: Any) -> Fraction:
    """A rational number of PyAV (``Fraction`` up to 18, ``AVRational`` from 19 on) as a ``Fraction``."""
    return Fraction(int(value.numerator), int(value.denominator))


DAMAGED = "it may be damaged, cut short or of another type than its name says; play it, or convert it to mp4 or wav"


@contextlib.contextmanager
def open_media(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Open a file for reading and close it afterwards.

    Raises:
        MediaError: the file is missing, empty, a folder, unreadable, nothing that FFmpeg knows, or a list of others.
    """
    path = Path(path)
    require_file(path)
    try:
        # A bad byte in a title must not stop the reading of the frame.
        container = av.open(str(path.absolute()), metadata_errors="replace", options=LOCAL_ONLY)
    except av.ArgumentError as error:
        raise MediaError(
            f"{path} is not a media file that can be read: no kind of video or audio that is known here",
            "lists of other files are not followed, and pictures have no audio; convert it to mp4 or wav",
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{path} is not a media file that can be read: {reason(error)}", DAMAGED) from error
    with container:
        if find_video(container) is None and find_audio(container) is None:  # or its header is cut short
            raise MediaError(f"{path} is not a media file that can be read: no picture and no audio in it", DAMAGED)
        yield container


def require_file(path: Path) -> None:
    """Raise a ``MediaError`` unless ``path`` is a file with at least one byte that we may read."""
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder, not a file", "name one file in it")
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
    """The system's or FFmpeg's own words for an error, in one line."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def find_video(container: Any) -> Stream | None:
    """The first video stream that is not cover art, or None."""
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & cover and s.codec_context), None)


def find_audio(container: Any) -> Stream | None:
    """The first audio stream with a known codec, or None."""
    return next((s for s in container.streams.audio if s.codec_context), None)


def packets_of(container: Any, *streams: Stream) -> Iterator[Any]:
    """The packets of some streams. Those of a stream that appears midway, which PyAV cannot name, are passed over."""
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:  # the packet is gone, and with it the iteration: begin again where it ended
            continue
        return


def decode(container: Any, stream: Stream, path: Path) -> Iterator[Frame]:
    """Decode a stream, keeping what can be decoded of a damaged or truncated file (and logging what was lost)."""
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    lost = 0
    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            log.warning("%s: reading stopped early: %s", path, reason(error))
            packet = None
        try:
            yield from stream.decode(packet)
        except EOFError:  # also an FFmpegError: the decoder has given everything
            break
        except av.FFmpegError:
            lost += 1
        if packet is None:
            break
    if lost:
        log.warning("%s: %d damaged %s packets were skipped", path, lost, stream.type)


def first_frame(container: Any, stream: Stream, path: Path) -> Frame:
    """The first frame that can be decoded."""
    frame = next(decode(container, stream, path), None)
    if frame is None:
        raise MediaError(
            f"{path} has a video stream, but no picture in it can be decoded",
            "the file is damaged or cut short; copy or convert it again",
        )
    return frame


@dataclass
class Clock:
    """Turns the time stamps of successive frames into seconds that never run far backwards or leap ahead.

    A frame without a time stamp starts where the one before it ended; a clock that restarts midway, or leaps ahead by
    more than an hour, carries on.
    """

    expected_s: Fraction | None = None
    shift_s: Fraction = Fraction(0)

    def start_of(self, frame: Frame, duration_s: Fraction) -> Fraction:
        """Start of ``frame`` in seconds; ``duration_s`` tells how long it lasts."""
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


def origin_of_time(path: str | Path) -> Fraction | None:
    """Presentation time of the first frame in seconds, or None where there is no frame.

    Frame and audio of one file are both counted from here, so that they stay together.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None:
            return None
        frame = next(decode(container, stream, path), None)
        return None if frame is None else Clock().start_of(frame, Fraction(0))
