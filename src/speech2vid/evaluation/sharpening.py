"""The sharpening network behind any generator (Sect. 3.3), and the part of a face that a clip's mouths fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speech2vid.data.records import Track
from speech2vid.evaluation.generation import Generator, Speaker
from speech2vid.faces import Still
from speech2vid.inference.sharpening import Sharpener, sharpened
from speech2vid.types import FaceBox, Frames


class SharpenedGenerator:
    """Another generator's frames, sharpened; the border around the 109 px target is repeated from its edge."""

    def __init__(self, generator: Generator, sharpener: Sharpener) -> None:
        self.name = f"{generator.name}, sharpened"
        self._generator, self._sharpener = generator, sharpener

    def speaker(self, stills: Sequence[Still]) -> SharpenedSpeaker:
        """See :class:`speech2vid.evaluation.generation.Generator`."""
        return SharpenedSpeaker(self._generator.speaker(stills), self._sharpener)


class SharpenedSpeaker:
    """See :class:`speech2vid.evaluation.generation.Speaker`. Other audio is not tried: sharpening costs too much."""

    for_chance = False

    def __init__(self, speaker: Speaker, sharpener: Sharpener) -> None:
        self.stills = speaker.stills
        self._speaker, self._sharpener = speaker, sharpener

    def says(self, track: Track, frames: int | None = None) -> Frames:
        """See :class:`speech2vid.evaluation.generation.Speaker`."""
        return sharpened(self._speaker.says(track, frames), self._sharpener)

    def says_nothing(self, frames: int) -> Frames:
        """See :class:`speech2vid.evaluation.generation.Speaker`."""
        return sharpened(self._speaker.says_nothing(frames), self._sharpener)


AnyGenerator = Generator | SharpenedGenerator


def mouth_part(boxes: NDArray[np.int64]) -> FaceBox:
    """Return the box around the mouths of all frames.

    Args:
        boxes: (T, 4) of :func:`speech2vid.evaluation.mouth_metrics.mouth_boxes`.
    """
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return FaceBox(left, top, right, bottom)
