"""Similarity registration of a face to the canonical face, and back (Sect. 4)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import cv2
import numpy as np

from speech2vid.constants import (
    CANVAS_CROP_OFFSET_PX,
    CANVAS_CROP_PX,
    CANVAS_PX,
    CONTEXT_FACE_PX,
    FACE_PX,
    LANDMARKS,
    REGISTRATION_POINTS,
)
from speech2vid.geometry import compose, invert, similarity, transform_points
from speech2vid.types import Affine, AlignedFace, Image, Points


@cache
def canonical_face() -> Points:
    """Mean shape of our training faces, (68, 2) float32 in the 240 px canvas (``assets/canonical_face.json``)."""
    text = files("speech2vid").joinpath("assets/canonical_face.json").read_text(encoding="utf-8")
    points = np.array(json.loads(text)["points"], np.float32)
    assert points.shape == (LANDMARKS, 2)
    points.setflags(write=False)
    return points


def canvas_to_face(size_px: int = FACE_PX) -> Affine:
    """Canvas px → px of the crop: the 197 px square at (22, 22), resized to ``size_px``. Pixel centres are whole."""
    scale = size_px / CANVAS_CROP_PX
    shift = (0.5 - CANVAS_CROP_OFFSET_PX) * scale - 0.5
    return np.array([[scale, 0.0, shift], [0.0, scale, shift]])


@cache
def context_from_face() -> Affine:
    """112 px face → 224 px face with the context that re-dubbing needs: the whole 240 px canvas (Sect. 6.2)."""
    scale = CONTEXT_FACE_PX / CANVAS_PX
    canvas_to_context = np.array([[scale, 0.0, 0.5 * scale - 0.5], [0.0, scale, 0.5 * scale - 0.5]])
    return compose(canvas_to_context, invert(canvas_to_face(FACE_PX)))


def canonical_points(size_px: int = FACE_PX) -> Points:
    """The canonical face in the pixels of a ``size_px`` crop, (68, 2) float32."""
    return transform_points(canvas_to_face(size_px), canonical_face())


def face_transform(landmarks: Points, size_px: int = FACE_PX) -> Affine:
    """Source pixels → aligned face, from nose and eyes (points 28–48 of the paper).

    Args:
        landmarks: (68, 2) source pixels.
        size_px: side of the aligned face.
    """
    target = canonical_points(size_px)[REGISTRATION_POINTS]
    return similarity(landmarks[REGISTRATION_POINTS], target)


def warp(image: Image, transform: Affine, size_px: int = FACE_PX) -> Image:
    """Sample ``image`` through ``transform`` into a ``size_px`` square, without aliasing when it shrinks.

    Outside the image the border pixel is repeated.
    """
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    if scale < 0.5:
        # Area-average the part that is needed first: warpAffine alone would skip pixels
        square = np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]])
        corners = transform_points(invert(transform), square)
        height, width = image.shape[:2]
        low = np.clip(np.floor(corners.min(axis=0)) - 4, 0, [width - 1, height - 1]).astype(int)
        high = np.clip(np.ceil(corners.max(axis=0)) + 5, low + 1, [width, height])
        part = image[low[1] : int(high[1]), low[0] : int(high[0])]
        factor = int(1 / scale)
        shrunk = (max(1, part.shape[1] // factor), max(1, part.shape[0] // factor))
        sx, sy = part.shape[1] / shrunk[0], part.shape[0] / shrunk[1]
        image = np.asarray(cv2.resize(part, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
        to_source = np.array([[sx, 0, (sx - 1) / 2 + low[0]], [0, sy, (sy - 1) / 2 + low[1]]])
        transform = compose(transform, to_source)
    warped = cv2.warpAffine(
        image, transform, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def align(image: Image, landmarks: Points, *, transform: Affine | None = None, size_px: int = FACE_PX) -> AlignedFace:
    """Register a face (Sect. 4).

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (68, 2) source pixels.
        transform: use this one (a smoothed one, say) instead of the one of these landmarks.
        size_px: side of the aligned face.
    """
    transform = face_transform(landmarks, size_px) if transform is None else transform
    return AlignedFace(warp(image, transform, size_px), transform_points(transform, landmarks), transform)
