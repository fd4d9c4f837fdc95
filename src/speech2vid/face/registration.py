"""Similarity registration of a face to the canonical face, and back (Sect. 4)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    CANVAS_CROP_OFFSET_PX,
    CANVAS_CROP_PX,
    CANVAS_PX,
    CONTEXT_FACE_PX,
    FACE_PX,
    LANDMARKS,
    REGISTRATION_POINTS,
)
from speech2vid.records import Affine, AlignedFace, Image, Points


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


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Affine:
    """Least-squares rotation, uniform scale and shift of ``source`` onto ``target`` (Umeyama); never a reflection.

    Args:
        source: (N, 2) points.
        target: (N, 2) points.

    Returns:
        (2, 3) float64.

    Raises:
        ValueError: the source points coincide.
    """
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    s, t = source - mean_s, target - mean_t
    spread = float((s * s).sum())
    if spread <= 1e-12:
        raise ValueError("points coincide: no similarity transform")
    # In the plane the optimal rotation and scale are one complex number: a + ib
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (mean_t - linear @ mean_s)[:, None]])


def invert(transform: Affine) -> Affine:
    """The inverse of an affine transform, (2, 3) float64."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(transform, np.float64)), np.float64)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The transform that applies ``inner``, then ``outer``."""
    full = np.vstack([inner, [0.0, 0.0, 1.0]])
    return np.asarray(np.asarray(outer, np.float64) @ full, np.float64)


def transform_points(transform: Affine, points: NDArray[np.floating]) -> Points:
    """Apply an affine transform to (..., 2) points."""
    return (np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


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

    Outside the picture the border pixel is repeated.
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


def mean_shape(shapes: NDArray[np.floating], *, iterations: int = 10) -> Points:
    """Generalised Procrustes mean of faces, registered by nose and eyes, placed in the canvas.

    The mean is made symmetric, levelled, and scaled so that brows and chin stand at 12 % and 90 % of the 197 px crop.

    Args:
        shapes: (N, 68, 2) landmarks in any pixels.

    Returns:
        (68, 2) float32 in the 240 px canvas.
    """
    mirror = _mirror_order()
    mean = np.asarray(shapes[0], np.float64)
    for _ in range(iterations):
        registered = np.stack(
            [transform_points(similarity(s[REGISTRATION_POINTS], mean[REGISTRATION_POINTS]), s) for s in shapes]
        )
        mean = np.median(registered, axis=0).astype(np.float64)
        flipped = mean[mirror] * (-1.0, 1.0)
        mean = (mean + transform_points(similarity(flipped, mean), flipped)) / 2
        eyes = mean[36:42].mean(axis=0), mean[42:48].mean(axis=0)
        angle = -np.arctan2(eyes[1][1] - eyes[0][1], eyes[1][0] - eyes[0][0])
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        mean = mean @ rotation.T
        top, bottom = mean[17:27, 1].min(), mean[8, 1]
        mean *= (0.90 - 0.12) * CANVAS_CROP_PX / (bottom - top)
        mean[:, 0] += CANVAS_CROP_OFFSET_PX + CANVAS_CROP_PX / 2 - mean[27:31, 0].mean()
        mean[:, 1] += CANVAS_CROP_OFFSET_PX + 0.12 * CANVAS_CROP_PX - mean[17:27, 1].min()
    return mean.astype(np.float32)


def _mirror_order() -> list[int]:
    """Index of each landmark's mirror image."""
    pairs = [(i, 16 - i) for i in range(8)] + [(17 + i, 26 - i) for i in range(5)]
    pairs += [(31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
    pairs += [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]
    order = list(range(LANDMARKS))
    for a, b in pairs:
        order[a], order[b] = b, a
    return order
