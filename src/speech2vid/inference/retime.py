"""Which frame of the video is shown when, where the new audio is longer or shorter than it.

Where the audio goes on after the video has ended, its last moments are played backwards and forwards again: people go
on breathing and blinking, which a frame that stands still does not show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import get_args

from speech2vid.errors import ConfigError
from speech2vid.inference.options import Length
from speech2vid.media import RawFrame

LENGTHS: tuple[str, ...] = get_args(Length)
REPLAYED_S = 4  # most that is played backwards
REPLAYED_BYTES = 192 << 20


def length_of(length: Length, audio_s: Fraction, video_s: Fraction) -> Fraction:
    """How long the new video is.

    Raises:
        ConfigError: no such policy.
    """
    if length not in LENGTHS:
        raise ConfigError(f"unknown value {length!r} for length", f"choose from: {', '.join(LENGTHS)}")
    return {"audio": audio_s, "video": video_s, "shortest": min(audio_s, video_s)}[length]


def timeline(frames: Iterable[RawFrame], end_s: Fraction, last_shot: int) -> Iterator[tuple[RawFrame, int]]:
    """Frames and the ticks at which they are shown, up to ``end_s``.

    Args:
        frames: of the video, in order.
        end_s: the last frame begins before it.
        last_shot: index of the first frame of the video's last shot, which is played again if there is time left;
            beyond the last frame if that is not wanted.
    """
    replay: deque[RawFrame] = deque()
    held = 0
    end = Fraction(0)
    for frame in frames:
        if frame.start_s >= end_s:
            return
        if frame.index >= last_shot:
            replay.append(frame.copy())
            held += _bytes(frame)
            while held > REPLAYED_BYTES or frame.start_s - replay[0].start_s > REPLAYED_S:
                held -= _bytes(replay.popleft())
        end = frame.start_s + frame.duration * frame.format.tick_s
        yield frame, frame.ticks
    if not replay:
        return
    ticks = round(end / replay[0].format.tick_s)
    order = list(replay)
    while True:
        order.reverse()
        for frame in order[1:] or order:
            if ticks * frame.format.tick_s >= end_s:
                return
            yield frame.copy(), ticks
            ticks += frame.duration


def _bytes(frame: RawFrame) -> int:
    return sum(plane.nbytes for plane in frame.planes)
