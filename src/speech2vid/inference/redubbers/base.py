"""The seam of re-dubbing methods: a redubber changes one filmed face at a time; nothing else knows how.

Everything is on the 224 px face of Sect. 6.2 (``faces.align.context_from_face``): the 112 px face and its surroundings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX, IDENTITY_PERCENTILES
from speech2vid.faces import Still
from speech2vid.faces.align import align, context_from_face, warp
from speech2vid.geometry import compose
from speech2vid.inference.audio_stream import AudioStream
from speech2vid.inference.mouth_geometry import FacePlan, NeutralMouth
from speech2vid.inference.options import Silence
from speech2vid.inference.video_tracks import SeenStill
from speech2vid.types import Affine, Floats, Image

COST_WEIGHT = 0.25  # of unfitness, in px of lip opening
BORDER_PX = 6.0  # of the 224 px face: over which what is changed fades to nothing

Difference = tuple[Floats, tuple[int, int]]  # (h, w, 3) to be added to a crop, and where its corner lies (x, y)


@dataclass(frozen=True)
class Person:
    """Somebody who speaks.

    Attributes:
        stills: all moments that are known of them.
        chosen: five of them at percentiles of lip opening, ascending: their identity (Sect. 3.4).
    """

    stills: tuple[Still, ...]
    chosen: tuple[Still, ...]

    @classmethod
    def of(cls, seen: Sequence[SeenStill]) -> Person:
        """Choose moments at percentiles of lip opening, sharp and frontal ones first."""
        openings = [still.opening for still in seen]
        stills = [still_of(each) for each in seen]

        def nearest(opening: float) -> Still:
            return min(stills, key=lambda still: abs(still.opening - opening) + COST_WEIGHT * still.cost)

        chosen = [nearest(float(np.percentile(openings, each))) for each in IDENTITY_PERCENTILES]
        return cls(tuple(stills), tuple(chosen))


def still_of(seen: SeenStill) -> Still:
    """Return a moment of the first pass as a still."""
    image = seen.image()
    return Still(image, align(image, seen.landmarks), seen.opening, seen.cost)


@dataclass(frozen=True)
class FilmedFace:
    """A face in one frame of a video, to be changed.

    Attributes:
        crop: (h, w, 3) uint8 RGB, the face and what is around it.
        transform: (2, 3) px of the crop → px of the 112 px face.
        landmarks: (68, 2), px of the 112 px face.
    """

    crop: Image
    transform: Affine
    landmarks: Floats

    @cached_property
    def to_context(self) -> Affine:
        """Return px of the crop → px of the 224 px face."""
        return compose(context_from_face(), self.transform)

    @cached_property
    def context(self) -> Image:
        """Return the face at 224 px, (224, 224, 3) uint8 RGB."""
        return warp(self.crop, self.to_context, CONTEXT_FACE_PX)


class Redubber(ABC):
    """A re-dubbing method with its networks, loaded. Safe to use from several threads.

    Attributes:
        hashes: architecture of each network that runs → SHA-256 of its tensors.
    """

    hashes: Mapping[str, str] = {}

    @abstractmethod
    def audio_stream(self, silence: Silence) -> AudioStream:
        """Return a new stream from audio to the values that drive :meth:`change`."""

    @abstractmethod
    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """Return the driving values at any times, from those of the 25 Hz grid."""

    def neutral_mouth(self, person: Person) -> NeutralMouth | None:
        """Return how to read somebody's closed mouth off their landmarks; None where the method needs none."""
        return None

    @abstractmethod
    def prepare(self, person: Person, plan: FacePlan) -> Any:
        """Return what is computed once for a face that is followed through a shot."""

    @abstractmethod
    def change(self, face: FilmedFace, prepared: Any, plan: FacePlan, at: int, drive: Floats) -> Difference:
        """Return what must be added to the crop of a face.

        Args:
            face: as it was filmed.
            prepared: of :meth:`prepare`.
            plan: geometry of the face through its shot.
            at: which frame of the plan this is.
            drive: driving values of this frame, without the axis of frames.
        """

    def openings(self, plan: FacePlan, drive: Floats) -> Floats:
        """Return how far the new mouth is opened in each frame of a plan, (T,), as far as the method can tell.

        Args:
            plan: T frames.
            drive: (T, …) driving values of its frames.
        """
        return plan.weight


def replace_face(face: FilmedFace, generated: NDArray[np.floating], weight: Floats) -> Difference:
    """Return the difference that puts a face of 224 px in the place of the filmed one.

    Args:
        face: as it was filmed.
        generated: (224, 224, 3) 0–255.
        weight: (224, 224, 1) in [0, 1], how much of it shows.
    """
    size = face.crop.shape[1], face.crop.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(
        np.asarray(generated, np.float32), face.to_context, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    share = cv2.warpAffine(weight, face.to_context, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(share[..., None] * (large - face.crop), np.float32), (0, 0)


@cache
def inside() -> Floats:
    """Return (224, 224, 1): 1, and 0 towards the border of the 224 px face."""
    ramp = np.clip((np.arange(CONTEXT_FACE_PX) + 0.5) / BORDER_PX, 0, 1)
    side = np.minimum(ramp, ramp[::-1])
    return np.asarray(np.minimum(side[:, None], side)[..., None], np.float32)
