"""How a generated mouth is laid into a face that was filmed: the border, the light.

All frames are on the 224 px canvas (``registration.context_from_face``): the 112 px face and what is around it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, Protocol, get_args

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
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert, smoothstep, transform_points
from speech2vid.inference.compositing import BLEND_BOTTOM_PX, BLEND_SIDE_PX, BLEND_TOP_PX
from speech2vid.types import Floats, Frames, Points

Region = Literal["lower", "face"]
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


class Blender(Protocol):
    """Lays generated mouths into filmed faces."""

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """Faces with the new mouth in them, to be put back into their frames.

        Args:
            source: (N, 224, 224, 3) uint8 RGB, the filmed faces.
            painted: (N, 224, 224, 3) uint8 RGB, the same with the generated mouth laid in by the warp talker.
            landmarks: (N, 68, 2) of the filmed faces, px of the 112 px face.
            targets: (N, 20, 2) mouth shapes wanted, px of the 112 px face.

        Returns:
            (N, 224, 224, 3) uint8 RGB.
        """
        ...


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
            raise ConfigError(f"region cannot be {region!r}", f"choose from: {', '.join(REGIONS)}")
        self._domain = DOMAINS[region]
        self._weight = domain_weight(region)

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """See :class:`Blender`."""
        out = np.empty_like(source)
        for index, (old, new) in enumerate(zip(source, painted, strict=True)):
            corrected = new + self._membrane(old, new)
            out[index] = np.rint(old + self._weight * (corrected - old)).clip(0, 255).astype(np.uint8)
        return out

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
    inside = np.minimum.reduce(
        [points[..., 0] - left, right - 1 - points[..., 0], points[..., 1] - top, bottom - 1 - points[..., 1]]
    )
    return np.asarray(smoothstep(inside / FEATHER_PX), np.float32)[..., None]
