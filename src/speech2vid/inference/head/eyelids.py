"""Blinks: the upper lid's own skin is drawn down over the eye, lashes with it; the lower lid rises a little.

Everything happens in the axes of the eye: ``along`` from corner to corner, ``down`` across it. The lid moves as one
with its lashes and its fold, whose shadow would become a dark patch if it were stretched; the skin above stretches,
not at all below the brow. The eye itself stays where it is, and the lid covers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.geometry import remapped, smoothstep
from speech2vid.inference.head.proxy import HeadShape
from speech2vid.types import Floats, Image

Doubles = NDArray[np.float64]

# Contours from corner to corner, in MediaPipe's numbers: right eye, left eye
UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
BROW = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))  # lower edges
SKIN = 0.9  # share of the height between lid and brow that moves
SKIN_CM = (0.6, 1.6)  # and its limits
FOLD = 0.3  # share of that which moves as one with the lid
LASH_CM = 0.10  # below the contour of the lid, what belongs to it
LOWER_SHARE = 0.12  # of the closing, done by the lower lid
LOWER_CM, LOWER_FOLD = 0.9, 0.1  # height of what moves with the lower lid, and the share that moves as one with it
OVERLAP_CM = 0.04  # of closed lids
CORNER = 0.22  # share of the eye's length, at either end, over which the effect fades in beyond the corners
OPEN_CM, SHUT_CM = 0.42, 0.2  # eyes open less than the second in the photo do not blink
EDGE_PX = 0.7  # half of the soft edge of a lid
LEAST = 0.01


@dataclass(frozen=True)
class _Eye:
    """One eye of a photo.

    Attributes:
        corner: left, top of its rectangle in the photo.
        pixels: (h, w, 3) uint8 RGB of that rectangle.
        grid: (h, w, 2) float32, where each pixel is.
        axis: (2,) float32, px of the photo for one px downwards across the eye.
        above: (h, w) float32, px above the contour of the upper lid; negative below it.
        below: (h, w) float32, px below the contour of the lower lid; negative above it.
        travel: (h, w) float32, px from lid to lid in this column, 0 beyond the corners.
        overlap: (h, w) float32, px by which closed lids overlap.
        skin_px, lower_px: height of the skin that stretches, of the upper and the lower lid.
        lash_px: inside the contour, what belongs to the lid.
        strength: 0–1.
    """

    corner: tuple[int, int]
    pixels: Image
    grid: Floats
    axis: Floats
    above: Floats
    below: Floats
    travel: Floats
    overlap: Floats
    skin_px: float
    lower_px: float
    lash_px: float
    strength: float


class Eyelids:
    """Closes the eyes of a photo.

    Args:
        image: (H, W, 3) uint8 RGB.
        shape: its head.
    """

    def __init__(self, image: Image, shape: HeadShape) -> None:
        self._eyes = [_eye(image, shape, side) for side in (0, 1)]

    def patches(self, closing: Floats) -> list[tuple[Image, tuple[int, int]]]:
        """Return the parts of the photo that show the eyes: (h, w, 3) uint8 RGB, and their corners (x, y).

        Args:
            closing: (2,) right and left, 0 as in the photo, 1 closed.
        """
        return [
            (_closed(eye, float(amount) * eye.strength), eye.corner)
            for eye, amount in zip(self._eyes, closing, strict=True)
            if eye is not None
        ]


def _eye(image: Image, shape: HeadShape, side: int) -> _Eye | None:
    """Measure an eye; None if it lies outside the photo."""
    cm = shape.fit.px_per_cm
    upper, lower = shape.points[list(UPPER[side]), :2], shape.points[list(LOWER[side]), :2]
    start, end = upper[0], upper[-1]
    length = max(1.0, float(np.linalg.norm(end - start)))
    along = (end - start) / length
    down = np.array([-along[1], along[0]])
    if down @ (lower[4] - upper[4]) < 0:
        down = -down
    brow = shape.points[list(BROW[side]), :2]
    to_brow = float(np.median((upper[4] - brow) @ down))
    skin = float(np.clip(SKIN * to_brow, SKIN_CM[0] * cm, SKIN_CM[1] * cm))
    reach = length * CORNER
    ends = np.array([start - reach * along, end + reach * along])
    rim = np.concatenate([upper, lower, ends])
    corners = np.concatenate([rim - (skin + 3) * down, rim + (LOWER_CM * cm + 3) * down])
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int)
    if right - left < 4 or bottom - top < 4:
        return None
    grid = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).astype(np.float64)
    place, depth = (grid - start) @ along / length, (grid - start) @ down
    lids = [_curve(contour, start, along, down, length)(np.clip(place, 0, 1)) for contour in (upper, lower)]
    beyond = smoothstep((np.minimum(place, 1 - place) + CORNER) / CORNER)
    opening = np.maximum(lids[1] - lids[0], 0.0)
    strength = float(smoothstep(np.array((float(opening.max()) / cm - SHUT_CM) / (OPEN_CM - SHUT_CM))))
    return _Eye(
        (int(left), int(top)),
        np.ascontiguousarray(image[top:bottom, left:right]),
        (grid - (left, top)).astype(np.float32),
        down.astype(np.float32),
        (lids[0] - depth).astype(np.float32),
        (depth - lids[1]).astype(np.float32),
        (opening * beyond).astype(np.float32),
        (OVERLAP_CM * cm * smoothstep(np.minimum(place, 1 - place) / CORNER)).astype(np.float32),
        skin,
        LOWER_CM * cm,
        LASH_CM * cm,
        strength,
    )


def _curve(contour: Doubles, start: Doubles, along: Doubles, down: Doubles, length: float) -> np.polynomial.Polynomial:
    """Return the contour of a lid as a smooth curve: 0–1 along the eye → px down."""
    place, depth = (contour - start) @ along / length, (contour - start) @ down
    weights = np.ones(len(contour))
    weights[[0, -1]] = 4.0
    return np.polynomial.Polynomial.fit(place, depth, 4, w=weights)


def _closed(eye: _Eye, amount: float) -> Image:
    """Return the rectangle of an eye, closed by ``amount`` 0–1."""
    if amount < LEAST:
        return eye.pixels
    rise = LOWER_SHARE * amount * eye.travel
    fall = (1 - LOWER_SHARE) * amount * eye.travel + amount * eye.overlap
    image = eye.pixels
    for outside, travel, skin_px, fold, edge_px, sign in (
        (eye.below, rise, eye.lower_px, LOWER_FOLD, eye.lash_px / 2, 1.0),
        (eye.above, fall, eye.skin_px, FOLD, eye.lash_px, -1.0),
    ):
        shift = _source(outside, travel, fold * skin_px, skin_px) - outside
        at = eye.grid + sign * shift[..., None] * eye.axis
        lid = remapped(eye.pixels, at, cv2.INTER_CUBIC)
        cover = np.clip((outside + travel + edge_px) / (2 * EDGE_PX) + 0.5, 0, 1)[..., None]
        image = np.rint(image + cover * (lid.astype(np.float32) - image)).astype(np.uint8)
    return image


def _source(outside: Floats, travel: Floats, fold_px: float, skin_px: float) -> Floats:
    """Return what a lid that has moved shows.

    What was v px outside the lid's contour has moved by travel · f(v) towards the eye: f is 1 on the lid and its fold,
    0 beyond the skin, and in between ((skin − v) / (skin − fold))².

    Args:
        outside: px outside the contour of the photo, of the pixels to show.
        travel: px that the lid has moved.
        fold_px, skin_px: upper ends of the fold and of the skin.

    Returns:
        px outside the contour of the photo, of what these pixels show.
    """
    height = skin_px - fold_px
    room = np.maximum(skin_px - outside, 0)
    share = 2 * room / (height + np.sqrt(height**2 + 4 * travel * room))  # root of travel s² + height s = room
    skin = np.where(outside < skin_px, skin_px - height * share, outside)
    return np.asarray(np.where(outside + travel <= fold_px, outside + travel, skin), np.float32)
