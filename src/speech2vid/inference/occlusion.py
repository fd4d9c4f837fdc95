"""What a re-dubbing network is shown of a face (Sect. 6.2): its mouth hidden under the median colour of the face.

The hidden area follows the landmarks: from under the nose over the cheeks to below the chin. Training and re-dubbing
share what is here. Landmarks and mouths are px of the 112 px face, faces those at 224 px (``context_from_face``),
parts the 128 × 160 px of them that our network works on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    BLEND_HEIGHT,
    BLEND_LEFT,
    BLEND_TOP,
    BLEND_WIDTH,
    CONTEXT_FACE_PX,
    FACE_PX,
    JAW,
)
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import smoothstep, transform_points
from speech2vid.types import Floats, Frames, Points

PART = np.s_[..., BLEND_TOP : BLEND_TOP + BLEND_HEIGHT, BLEND_LEFT : BLEND_LEFT + BLEND_WIDTH, :]  # of (..., H, W, 3)
SIDES = np.arange(3, 14)  # of the jaw's points; the chin's is 8
UNDER_NOSE = (35, 33, 31)
CHEEK_PX, CHIN_PX = -4.0, 5.0  # how far beyond the jaw the hidden area ends, at its sides and at the chin
SOFT_PX = 7.0  # width, at 224 px, of the border over which the result fades into the source, inside the hidden area
EDGE_PX = 6.0  # the same at the part's own border, which a turned or large face may reach
LOWER_LIP = 9  # of the mouth's 20 points: the middle of its lower edge
KNOWN_ROWS_PX = (102.0, 105.0)  # of the 112 px face, between which a painted face ends: the source shines through
KNOWN_SIDES_PX = (16.0, 22.0)  # the same from the left and the right: what is dragged in from next to a face
FILL_PX = 5.0  # standard deviation of what fills it there, px of the 224 px face
SUBPIXEL_BITS = 4
OUTER_LIP, INNER_LIP = slice(0, 12), slice(12, 20)
SPARSE = 4  # the face's colour is measured on every fourth row and column


@dataclass(frozen=True)
class Hidden:
    """Where faces are hidden, (N, 128, 160) float32 in [0, 1].

    Attributes:
        area: what the network does not see.
        region: where its result shows; inside ``area``, fading to 0 at its border.
    """

    area: Floats
    region: Floats


def hide(landmarks: Points, targets: Points) -> Hidden:
    """The hidden area of each face.

    Args:
        landmarks: (N, 68, 2) of the face as it is.
        targets: (N, 20, 2) mouth that is wanted: where it is lower, so is the area.
    """
    areas = np.stack([_fill(outline) for outline in outlines(landmarks, targets)])
    soft = np.stack([cv2.GaussianBlur(area, (0, 0), SOFT_PX / 2) for area in areas])  # 0.5 at the outline
    region = smoothstep(np.clip((soft - 0.5) / 0.47, 0, 1) * _inner())
    return Hidden(np.asarray(areas, np.float32), np.asarray(region, np.float32))


def outlines(landmarks: Points, targets: Points) -> Points:
    """(N, 14, 2): the corners of the hidden area, px of the 224 px face."""
    nose = landmarks[:, UNDER_NOSE, :]
    jaw = landmarks[:, JAW][:, SIDES]
    towards_chin = (1 - np.abs(SIDES - 8) / 5)[None, :, None]
    ray = jaw - nose[:, 1:2]
    ray = ray / np.maximum(1e-3, np.linalg.norm(ray, axis=-1, keepdims=True))
    lower = np.maximum(0, targets[:, LOWER_LIP, 1] - landmarks[:, 48 + LOWER_LIP, 1])[:, None]
    jaw = jaw + ray * (CHEEK_PX + (CHIN_PX - CHEEK_PX) * towards_chin)
    jaw[..., 1] += lower * towards_chin[..., 0]
    return transform_points(context_from_face(), np.concatenate([jaw, nose], axis=1))


def mouth_areas(targets: Points) -> Floats:
    """Areas within the outer and within the inner lips: (N, 20, 2) → (N, 2, 128, 160) in [0, 1]."""
    points = transform_points(context_from_face(), targets)
    return np.stack([[_fill(each[OUTER_LIP]), _fill(each[INNER_LIP])] for each in points]).astype(np.float32)


def known_area() -> Floats:
    """(128, 160), how far a painted face can be used: 1, but for its ends below the chin and next to the cheeks."""
    matrix = context_from_face()
    y = (np.arange(BLEND_HEIGHT) + BLEND_TOP - matrix[1, 2]) / matrix[1, 1]
    x = (np.arange(BLEND_WIDTH) + BLEND_LEFT - matrix[0, 2]) / matrix[0, 0]
    first, last = KNOWN_ROWS_PX
    none, full = KNOWN_SIDES_PX
    rows = np.clip((last - y) / (last - first), 0, 1)
    columns = np.clip((np.minimum(x, FACE_PX - 1 - x) - none) / (full - none), 0, 1)
    return np.asarray(rows[:, None] * columns, np.float32)


def median_colours(faces: Frames, landmarks: Points, hidden: Hidden) -> Floats:
    """The median colour of each face (N, 224, 224, 3), hidden area left out: (N, 3) float32 0–255."""
    colours = np.empty((len(faces), 3), np.float32)
    points = transform_points(context_from_face(), landmarks) / SPARSE
    side = CONTEXT_FACE_PX // SPARSE
    for index, face in enumerate(faces):
        seen = np.zeros((side, side), np.uint8)
        cv2.fillConvexPoly(seen, cv2.convexHull(points[index].round().astype(np.int32)), 1)
        area = hidden.area[index, ::SPARSE, ::SPARSE]
        top, left = BLEND_TOP // SPARSE, BLEND_LEFT // SPARSE
        seen[top : top + area.shape[0], left : left + area.shape[1]][area > 0] = 0
        pixels = face[::SPARSE, ::SPARSE][seen > 0]
        colours[index] = np.median(pixels, axis=0) if len(pixels) else face.reshape(-1, 3).mean(axis=0)
    return colours


def occlude(face: NDArray[Any], area: Floats, colour: Floats) -> Floats:
    """A part (128, 160, 3) of a face with its hidden area (128, 160) under one colour: float32 0–255."""
    return np.asarray(face + area[..., None] * (colour - face), np.float32)


def filled(face: NDArray[Any], known: Floats) -> Floats:
    """A part (128, 160, 3) of a face, and where it is not ``known`` (128, 160) the colours from around, smooth."""
    weight = known[..., None]
    seen = np.asarray(face * weight, np.float32)
    around = cv2.GaussianBlur(seen, (0, 0), FILL_PX) / (cv2.GaussianBlur(known, (0, 0), FILL_PX)[..., None] + 1e-4)
    return np.asarray(seen + (1 - weight) * around, np.float32)


def _fill(outline: Points) -> Floats:
    """A polygon, px of the 224 px face, as an area of the part: (128, 160) in [0, 1], its edge true below a pixel."""
    area = np.zeros((BLEND_HEIGHT, BLEND_WIDTH), np.uint8)
    corners = (outline - np.array([BLEND_LEFT, BLEND_TOP], np.float32)) * 2**SUBPIXEL_BITS
    cv2.fillPoly(area, [corners.round().astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return np.asarray(area / np.float32(255), np.float32)


def _inner() -> Floats:
    """1 inside the part, 0 at its border."""
    x, y = np.arange(BLEND_WIDTH), np.arange(BLEND_HEIGHT)
    across = np.clip(np.minimum(x, x[::-1]) / EDGE_PX, 0, 1)
    down = np.clip(np.minimum(y, y[::-1]) / EDGE_PX, 0, 1)
    return np.asarray(down[:, None] * across[None], np.float32)
