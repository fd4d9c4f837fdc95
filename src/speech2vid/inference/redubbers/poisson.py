"""Poisson blending (Sect. 6.1): a generated face takes the light of the filmed one at the border of a region.

All images are on the 224 px face (``faces.align.context_from_face``): the 112 px face and what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    CONTEXT_FACE_PX,
    FACE_PX,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
)
from speech2vid.errors import ConfigError
from speech2vid.faces import Still
from speech2vid.faces.align import context_from_face, warp
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.inference.audio_stream import AudioStream
from speech2vid.inference.compositing import BLEND_BOTTOM_PX, BLEND_SIDE_PX, BLEND_TOP_PX, Composer
from speech2vid.inference.mouth_geometry import FacePlan
from speech2vid.inference.options import Region, Silence
from speech2vid.inference.redubbers.base import Difference, FilmedFace, Person, Redubber, inside, replace_face
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import Canvas, Identity, Talker
from speech2vid.types import Floats, Frames, Image, Points

REGIONS: tuple[str, ...] = get_args(Region)

# Domains of the gradient-domain blending, px of the 112 px face: left, top, right, bottom, half-open.
DOMAINS = {
    "lower": (
        REGION_LEFT + int(BLEND_SIDE_PX),
        REGION_TOP + int(BLEND_TOP_PX),
        REGION_LEFT + REGION_WIDTH - int(BLEND_SIDE_PX),
        REGION_TOP + REGION_HEIGHT - int(BLEND_BOTTOM_PX),
    ),
    "face": (REGION_LEFT, 8, REGION_LEFT + REGION_WIDTH, FACE_PX - 1),
}
FEATHER_PX = 3.0  # width of the border over which the correction fades, px of the 112 px face
STEADY_PX = 2.0  # the difference at the border is averaged over so many px: a single pixel's noise must not spread


class PoissonBlender:
    """Gradients of the painted frame, values of the source at the border (Sect. 6.1; Pérez et al. 2003).

    With a fixed domain the solution is linear in the difference between source and painted frame along the border: a
    membrane that is added to the painted frame. Its matrix is computed once.

    Args:
        region: ``lower``: mouth and chin; ``face``: the whole face.

    Raises:
        ConfigError: no such region.
    """

    def __init__(self, region: Region = "lower") -> None:
        if region not in REGIONS:
            raise ConfigError(f"unknown value {region!r} for region", f"choose from: {', '.join(REGIONS)}")
        self._domain = DOMAINS[region]
        self._weight = domain_weight(region)

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """See :class:`speech2vid.inference.redubbers.warp.Blender`."""
        out = np.empty_like(source)
        for index, (old, new) in enumerate(zip(source, painted, strict=True)):
            corrected, weight = self.lay_in(old, new)
            out[index] = np.rint(old + weight * (corrected - old)).clip(0, 255).astype(np.uint8)
        return out

    def lay_in(self, source: Image, face: Image) -> tuple[Floats, Floats]:
        """Return a face, (224, 224, 3) 0–255, with the source's light, and how much of it shows, (224, 224, 1)."""
        return np.asarray(face + self._membrane(source, face), np.float32), self._weight

    def _membrane(self, old: NDArray[np.uint8], new: NDArray[np.uint8]) -> Floats:
        """(224, 224, 3), what the painted frame must be changed by."""
        difference = cv2.subtract(old, new, dtype=cv2.CV_32F)
        scale = float(context_from_face()[0, 0])
        difference = cv2.GaussianBlur(difference, (0, 0), STEADY_PX * scale)
        small = cv2.warpAffine(
            difference, context_from_face(), (FACE_PX, FACE_PX), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        left, top, right, bottom = self._domain
        patch = small[top - 1 : bottom + 1, left - 1 : right + 1]
        small[top:bottom, left:right] = harmonic(patch)
        return np.asarray(
            cv2.warpAffine(
                small, context_from_face(), (CONTEXT_FACE_PX, CONTEXT_FACE_PX), borderMode=cv2.BORDER_REPLICATE
            ),
            np.float32,
        )


class FaceRedubber(Redubber):
    """The paper's baseline (Sect. 6.1): any talker's face for the new audio, aligned by keypoints, Poisson-blended.

    The stills come from the video; or from photos, which puts another person's face into it.

    Args:
        talker: generates the faces.
        blender: lays them in.
        stills: of another person, ascending by lip opening, the one to animate first; empty for the speaker's own.
        sharpener: sharpens the generated faces.
    """

    def __init__(
        self,
        talker: Talker,
        blender: PoissonBlender,
        stills: Sequence[Still] = (),
        sharpener: Sharpener | None = None,
    ) -> None:
        self._talker, self._blender, self._sharpener = talker, blender, sharpener
        self.hashes = {**talker.hashes, **(sharpener.hashes if sharpener else {})}
        self._other = self._identity(stills) if stills else None

    def audio_stream(self, silence: Silence) -> AudioStream:
        """See :class:`Redubber`."""
        return self._talker.audio_stream(silence)

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """See :class:`Redubber`."""
        return self._talker.drive_at(drive, times_s)

    def prepare(self, person: Person, plan: FacePlan) -> tuple[Identity, Composer]:
        """See :class:`Redubber`."""
        return self._other or self._identity(person.chosen)

    def change(
        self, face: FilmedFace, prepared: tuple[Identity, Composer], plan: FacePlan, at: int, drive: Floats
    ) -> Difference:
        """See :class:`Redubber`."""
        identity, composer = prepared
        generated = next(composer.frames(self._talker.generate(identity, drive[None])))
        blended, weight = self._blender.lay_in(face.context, generated)
        return replace_face(face, blended, weight * inside())

    def _identity(self, stills: Sequence[Still]) -> tuple[Identity, Composer]:
        """Return the person of these stills on a canvas of 224 px, and what composes their frames."""
        first = stills[0]
        image = warp(first.image, compose(context_from_face(), first.transform), CONTEXT_FACE_PX)
        canvas = Canvas(image, invert(context_from_face()), first, crop=True)
        identity = self._talker.prepare(canvas, sorted(stills, key=lambda still: still.opening))
        return identity, Composer(identity, self._sharpener)


def harmonic(patch: NDArray[Any]) -> Floats:
    """The membrane over a rectangle: (H + 2, W + 2, C), of which the border counts, → (H, W, C).

    Laplace's equation, five-point stencil, solved exactly in the sines that diagonalise it.
    """
    height, width = patch.shape[0] - 2, patch.shape[1] - 2
    known = np.zeros((height, width, patch.shape[2]))
    known[0] += patch[0, 1:-1]
    known[-1] += patch[-1, 1:-1]
    known[:, 0] += patch[1:-1, 0]
    known[:, -1] += patch[1:-1, -1]
    (down, down_values), (across, across_values) = _sines(height), _sines(width)
    spectrum = down @ known.transpose(2, 0, 1) @ across.T
    spectrum /= down_values[:, None] + across_values
    return np.asarray((down.T @ spectrum @ across).transpose(1, 2, 0), np.float32)


@cache
def _sines(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal eigenvectors (rows) and eigenvalues of the second difference with zeros beyond both ends."""
    k = np.arange(1, size + 1)
    vectors = np.sqrt(2 / (size + 1)) * np.sin(np.pi * np.outer(k, k) / (size + 1))
    return vectors, 2 - 2 * np.cos(np.pi * k / (size + 1))


def domain_weight(region: Region) -> Floats:
    """(224, 224, 1): 1 within a region, 0 outside, soft at its border."""
    y, x = np.mgrid[0:CONTEXT_FACE_PX, 0:CONTEXT_FACE_PX]
    points = transform_points(invert(context_from_face()), np.stack([x, y], axis=-1))
    left, top, right, bottom = DOMAINS[region]
    within = np.minimum.reduce(
        [points[..., 0] - left, right - 1 - points[..., 0], points[..., 1] - top, bottom - 1 - points[..., 1]]
    )
    return np.asarray(smoothstep(within / FEATHER_PX), np.float32)[..., None]
