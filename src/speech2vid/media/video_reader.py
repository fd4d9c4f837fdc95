"""Frames of a video on a grid of exact times, upright, with square pixels, one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from types import TracebackType

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.media.display import Frame, exact
from speech2vid.media.media_file import MediaFile
from speech2vid.media.sources import AnyFile
from speech2vid.media.streams import FORWARD_JUMP_S, Clock
from speech2vid.types import Image, VideoFrame

LOOK = Fraction(1, 4)
"""Of a grid step. At 0, frames of a 30 Hz camera are half of their duration (0.4 steps) late; at 1/2 they are right,
but frames that FFmpeg repeated to get from 25 to 30 Hz are 0.5 steps early, as it shows them before their time."""
COARSE_TICK_S = Fraction(1, 1000)  # ticks up to this long round the time stamps (Matroska), longer ones count frames


class VideoReader:
    """Iterate over the frames of a video, streaming.

    Time 0 is the presentation time of the first frame. Frame ``i`` of the grid is the one that is on screen ``LOOK`` of
    the way through it, at ``(i + LOOK) / frame_rate_hz`` seconds. A video of D seconds gives
    ``round(D * frame_rate_hz)`` frames, at least one. Display rotation, mirroring and non-square pixels are undone, HDR
    becomes SDR. Every iteration starts again from the beginning.

    Args:
        source: a path, or an open file, which stays open.
        frame_rate_hz: the grid, or None for the file's own frames at their own times.

    Raises:
        MediaError: no video stream, or nothing in it can be decoded. A damaged file gives what can be decoded.
    """

    def __init__(
        self, source: AnyFile | MediaFile, frame_rate_hz: Fraction | int | None = Fraction(FRAME_RATE_HZ)
    ) -> None:
        self.file = source if isinstance(source, MediaFile) else MediaFile(source)
        self.frame_rate_hz = None if frame_rate_hz is None else Fraction(frame_rate_hz)
        self._owned = self.file is not source
        self._open: list[Generator[VideoFrame, None, None]] = []
        try:
            self._first = self.file.first_frame
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every iteration that was not run to its end, and the file where a path was given."""
        while self._open:
            self._open.pop().close()
        if self._owned:
            self.file.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        frames = self._raw() if self.frame_rate_hz is None else self._on_grid(self.frame_rate_hz)
        self._open.append(frames)
        return frames

    def _raw(self) -> Generator[VideoFrame, None, None]:
        for index, (start_s, _, frame) in enumerate(timed_frames(self.file)):
            yield VideoFrame(index, start_s, self._first.display.rgb(frame))

    def _on_grid(self, rate_hz: Fraction) -> Generator[VideoFrame, None, None]:
        for index, frame in _on_grid(timed_frames(self.file), rate_hz, self._first.tick_s):
            yield VideoFrame(index, index / rate_hz, self._first.display.rgb(frame))


def timed_frames(file: MediaFile) -> Iterator[tuple[Fraction, Fraction, Frame]]:
    """Yield start and end in seconds, counted from the first frame, and the frame."""
    clock = Clock()
    origin_s: Fraction | None = None
    usual_s = file.first_frame.usual_duration_s
    for frame in file.frames():
        duration_s = frame.duration * exact(frame.time_base) if frame.duration and frame.time_base else usual_s
        duration_s = min(duration_s, Fraction(FORWARD_JUMP_S))
        start_s = clock.start_of(frame, duration_s)
        if origin_s is None:
            origin_s = start_s
        yield start_s - origin_s, start_s - origin_s + duration_s, frame


def read_keyframes(source: MediaFile) -> Iterator[Image]:
    """Yield the key frames of a video, (H, W, 3) uint8 RGB, upright; the frames between them are never decoded.

    Raises:
        MediaError: no video stream, or nothing in it can be decoded.
    """
    display = source.first_frame.display
    for frame in source.frames(keyframes_only=True):
        yield display.rgb(frame)


def _on_grid(
    frames: Iterable[tuple[Fraction, Fraction, Frame]], rate_hz: Fraction, tick_s: Fraction
) -> Iterator[tuple[int, Frame]]:
    """Yield grid index and the frame on screen then.

    A picked frame waits until the video is known to last past the middle of its grid step: the count is then the
    rounded duration.
    """
    rounding_s = tick_s if tick_s <= COARSE_TICK_S else 0
    waiting: deque[tuple[int, Frame]] = deque()
    index = 0  # the first grid time without a picked frame
    shown: Frame = None
    last_end_s = Fraction(0)
    for start_s, end_s, frame in frames:
        while shown is not None and (index + LOOK) / rate_hz <= start_s + rounding_s:
            waiting.append((index, shown))
            index += 1
        while waiting and waiting[0][0] < round(start_s * rate_hz):
            yield waiting.popleft()
        shown = frame
        last_end_s = max(last_end_s, end_s)
    count = max(1, round(last_end_s * rate_hz))
    waiting.extend((late, shown) for late in range(index, count))
    yield from (pick for pick in waiting if pick[0] < count)
