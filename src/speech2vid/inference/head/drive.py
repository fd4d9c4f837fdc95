"""What drives the frames of a talking head: the talker's values and the head motion, a row a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speech2vid.inference.audio_stream import AudioStream
from speech2vid.inference.head.motion import HeadMotionStream
from speech2vid.types import Floats, Waveform


@dataclass(frozen=True)
class Drive:
    """Driving values of some frames; sliced like an array.

    Attributes:
        values: (n, …) for the talker.
        motion: (n, 9) rows of head motion; None for a still head.
    """

    values: Floats
    motion: Floats | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> Drive:
        return Drive(self.values[part], None if self.motion is None else self.motion[part])


def joined(blocks: Sequence[Drive]) -> Drive:
    """Return blocks as one; all have motion, or none has."""
    motions = [block.motion for block in blocks if block.motion is not None]
    return Drive(np.concatenate([block.values for block in blocks]), np.concatenate(motions) if motions else None)


class DriveStream:
    """Driving values of every video frame from audio that arrives in chunks.

    Args:
        talker: stream of the talker's values.
        head: stream of head motion; None for a still head.
    """

    def __init__(self, talker: AudioStream, head: HeadMotionStream | None = None) -> None:
        self._talker, self._head = talker, head
        self._waiting: Drive | None = None

    @property
    def latency_s(self) -> float:
        """Return how far the audio must have gone past a frame's middle before its values are returned, at most."""
        return self._talker.latency_s if self._head is None else max(self._talker.latency_s, self._head.latency_s)

    @property
    def spoken_frames(self) -> int | None:
        """Return how many frames so far have speech; None where the talker does not tell."""
        return self._talker.spoken_frames

    def push(self, chunk: Waveform) -> Drive:
        """Take the next samples, (n,) at 16 kHz; return the values now known."""
        return self._ready(self._talker.push(chunk), None if self._head is None else self._head.push(chunk))

    def flush(self) -> Drive:
        """Return the values of the last frames."""
        return self._ready(self._talker.flush(), None if self._head is None else self._head.flush())

    def _ready(self, values: Floats, motion: Floats | None) -> Drive:
        """Return the rows that both streams have given; keep the others."""
        if motion is None:
            return Drive(values)
        if self._waiting is not None and self._waiting.motion is not None:
            values = np.concatenate([self._waiting.values, values])
            motion = np.concatenate([self._waiting.motion, motion])
        ready = min(len(values), len(motion))
        self._waiting = Drive(values[ready:], motion[ready:])
        return Drive(values[:ready], motion[:ready])
