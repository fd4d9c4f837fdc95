"""Frames of a video on a grid of exact times, upright, with square pixels, one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.media.container import Clock, Frame, Stream, decode, exact, find_video, open_media
from speech2vid.media.picture import pixel_aspect, upright_rgb
from speech2vid.records import Image, VideoFrame

TICK_S = Fraction(1, 1000)  # Matroska rounds time stamps to 1 ms: a frame that is later by less is on time


class VideoReader:
    """Iterate over the frames of a video, streaming.

    Time 0 is the presentation time of the first picture. Frame ``i`` of the grid is the picture that is on screen at
    ``i / frame_rate_hz`` seconds: the last one whose time stamp is not later. A video of D seconds gives
    ``round(D * frame_rate_hz)`` frames, at least one. Display rotation, mirroring and non-square pixels are undone.
    Every iteration starts again from the beginning.

    Args:
        path: any file that FFmpeg reads.
        frame_rate_hz: the grid, or None for the file's own pictures at their own times.

    Raises:
        MediaError: no video stream, or nothing in it can be decoded. A damaged file gives what can be decoded.
    """

    def __init__(self, path: str | Path, frame_rate_hz: Fraction | int | None = Fraction(FRAME_RATE_HZ)) -> None:
        self.path = Path(path)
        self.frame_rate_hz = None if frame_rate_hz is None else Fraction(frame_rate_hz)
        self._open: list[Generator[VideoFrame, None, None]] = []
        with open_media(self.path) as container:
            self._pixel_aspect = pixel_aspect(_require_video(find_video(container), self.path))

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file under every iteration that was not run to its end."""
        while self._open:
            self._open.pop().close()

    def __iter__(self) -> Iterator[VideoFrame]:
        frames = self._native() if self.frame_rate_hz is None else self._on_grid(self.frame_rate_hz)
        self._open.append(frames)
        return frames

    def _native(self) -> Generator[VideoFrame, None, None]:
        for index, (start_s, _, frame) in enumerate(self._timed()):
            yield VideoFrame(index, start_s, self._rgb(frame))

    def _on_grid(self, rate_hz: Fraction) -> Generator[VideoFrame, None, None]:
        grid = _Grid(rate_hz, self._rgb)
        for start_s, end_s, frame in self._timed():
            yield from grid.push(start_s, end_s, frame)
        yield from grid.flush()

    def _rgb(self, frame: Frame) -> Image:
        return upright_rgb(frame, self._pixel_aspect)

    def _timed(self) -> Iterator[tuple[Fraction, Fraction, Frame]]:
        """Start and end in seconds, counted from the first picture, and the frame."""
        clock = Clock()
        origin_s: Fraction | None = None
        with open_media(self.path) as container:
            stream = _require_video(find_video(container), self.path)
            usual_s = _usual_duration_s(stream)
            for frame in decode(container, stream, self.path):
                duration_s = frame.duration * exact(frame.time_base) if frame.duration and frame.time_base else usual_s
                start_s = clock.start_of(frame, duration_s)
                if origin_s is None:
                    origin_s = start_s
                yield start_s - origin_s, start_s - origin_s + duration_s, frame
        if origin_s is None:
            raise MediaError(
                f"{self.path} has a video stream, but no picture in it can be decoded",
                "the file is damaged or cut short; copy or convert it again",
            )


class _Grid:
    """Picks the frame on screen at each grid time.

    A picked frame waits until the video is known to last past the middle of its grid step: the count is then the
    rounded duration.
    """

    def __init__(self, rate_hz: Fraction, rgb: Callable[[Frame], Image]) -> None:
        self.rate_hz = rate_hz
        self.rgb = rgb
        self.shown: Frame | None = None
        self.end_s = Fraction(0)
        self.next_index = 0  # first grid time not decided yet
        self.waiting: deque[tuple[int, Frame]] = deque()
        self.last: tuple[Frame, Image] | None = None

    def push(self, start_s: Fraction, end_s: Fraction, frame: Frame) -> Iterator[VideoFrame]:
        self._decide_before(start_s - TICK_S)
        yield from self._emit(round(start_s * self.rate_hz))
        self.shown = frame
        self.end_s = max(self.end_s, end_s)

    def flush(self) -> Iterator[VideoFrame]:
        count = max(1, round(self.end_s * self.rate_hz))
        self._decide_before(count / self.rate_hz)
        yield from self._emit(count)

    def _decide_before(self, time_s: Fraction) -> None:
        """Every undecided grid time earlier than ``time_s`` shows the current frame."""
        while self.shown is not None and self.next_index / self.rate_hz < time_s:
            self.waiting.append((self.next_index, self.shown))
            self.next_index += 1

    def _emit(self, count: int) -> Iterator[VideoFrame]:
        while self.waiting and self.waiting[0][0] < count:
            index, frame = self.waiting.popleft()
            if self.last is None or self.last[0] is not frame:
                self.last = (frame, self.rgb(frame))
                image = self.last[1]
            else:
                image = self.last[1].copy()
            yield VideoFrame(index, index / self.rate_hz, image)


def _require_video(stream: Stream | None, path: Path) -> Stream:
    if stream is None:
        raise MediaError(f"{path} has no video stream", "give a video file; a sound file cannot show a face")
    return stream


def _usual_duration_s(stream: Stream) -> Fraction:
    """How long one frame lasts where the file does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return 1 / exact(rate) if rate else Fraction(1, FRAME_RATE_HZ)
