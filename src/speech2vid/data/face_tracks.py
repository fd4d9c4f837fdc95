"""Frames in shots → every face followed through its shot, aligned at both sizes (Sect. 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX
from speech2vid.data.jpeg import CONTEXT_QUALITY, encode_jpeg
from speech2vid.data.records import FaceTrack, Reason
from speech2vid.faces import PAPER, FaceModels, TrackedFace, sharpness
from speech2vid.faces.align import context_from_face, warp
from speech2vid.faces.shots import ShotFrame
from speech2vid.faces.track import FaceTracker, Followed
from speech2vid.geometry import compose
from speech2vid.timing import StageTimer
from speech2vid.types import Points


@dataclass(frozen=True)
class _Face:
    """A frame of a track without its source image."""

    jpeg: bytes
    context: bytes
    landmarks: Points
    source_landmarks: Points
    transform: NDArray[np.float64]
    sharpness: float


class TrackFinder:
    """Finds the tracks of all faces in the frames of a video; holds a few frames and the tracks under way.

    Args:
        clock: measures the time of each stage.
        models: detector and landmarker.
    """

    def __init__(self, clock: StageTimer, models: FaceModels = PAPER) -> None:
        self._clock = clock
        self._follower = FaceTracker(self._keep, models)

    @property
    def dropped(self) -> Counter[Reason]:
        """What was seen but not followed: shots without a face, faces of a crowd."""
        found = Counter({Reason.NO_FACE: self._follower.empty_shots, Reason.CROWD: self._follower.crowded_shots})
        return +found

    @property
    def shots(self) -> list[int]:
        """First frame of every shot so far."""
        return self._follower.shots

    def find(self, frames: Iterable[ShotFrame]) -> Iterator[FaceTrack]:
        """Every track, when it ends."""
        for followed in self._clock.each("faces", self._follower.find(frames)):
            yield _track(followed)

    def _keep(self, tracked: TrackedFace) -> _Face:
        aligned = tracked.aligned
        with self._clock.during("registration"):
            context = warp(tracked.image, compose(context_from_face(), aligned.transform), CONTEXT_FACE_PX)
            return _Face(
                encode_jpeg(aligned.image),
                encode_jpeg(context, CONTEXT_QUALITY),
                aligned.landmarks,
                tracked.landmarks,
                aligned.transform,
                sharpness(aligned.image),
            )


def _track(followed: Followed[_Face]) -> FaceTrack:
    faces = followed.kept
    return FaceTrack(
        followed.start,
        [face.jpeg for face in faces],
        np.stack([face.landmarks for face in faces]),
        np.stack([face.source_landmarks for face in faces]),
        np.stack([face.transform for face in faces]),
        float(np.mean([face.sharpness for face in faces])),
        [face.context for face in faces],
        followed.shot,
        followed.detection,
    )
