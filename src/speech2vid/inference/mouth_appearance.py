"""The look of the inside of a mouth, from a photo: colours under its light, its own blur, the teeth that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import MOUTH_POINTS
from speech2vid.faces import Still, lip_opening
from speech2vid.faces.face_quality import cheek_pixels
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.types import Affine, Floats, Image, Points

PX_A_MM = 0.61  # of the 112 px face, in which the pupils are 38 px apart
INNER = slice(12, 20)  # of the mouth's 20 points
GAP_MM = 2.0  # between teeth of a still, which dark pixels separate
LEAST_TEETH_PX, TEETH_SHARE = 1.5, 0.3  # lip opening, and share of the area between the lips, of a still with teeth
TYPICAL_SKIN = np.array([200.0, 152.0, 130.0], np.float32)  # under white light
TYPICAL_WHITE = np.array([170.0, 140.0, 128.0], np.float32)  # of the eyes, their lids and lashes mixed in
SKIN_SPREAD, WHITE_SPREAD = 0.14, 0.08  # of the logarithms of their colours, between people
SOFT_PX = 0.35  # border of the lips
LEAST_BLUR_PX = 0.55  # of the image
EDGE_BLUR = 0.5, 1.3  # limits of the estimate, px of the 112 px face
REBLUR_PX = 1.5  # of the image


@dataclass(frozen=True)
class MouthColours:
    """Colours of the inside of a mouth, RGB 0–255, each (3,) float32."""

    teeth: Floats
    tongue: Floats
    cavity: Floats


@dataclass(frozen=True)
class OwnTeeth:
    """Upper teeth that a still shows, at its own resolution.

    Attributes:
        image: (h, w, 4) float32, RGB 0–255 and opacity 0–1.
        transform: (2, 3) px of the 112 px face → px of ``image``.
    """

    image: Floats
    transform: Affine

    @classmethod
    def of(cls, still: Still) -> OwnTeeth | None:
        """Return the teeth between the lips of a still, None if it shows none."""
        landmarks = still.aligned.landmarks
        lips = landmarks[MOUTH_POINTS][INNER]
        if float(lip_opening(landmarks)) < LEAST_TEETH_PX:
            return None
        from_face = invert(still.transform)
        scale = float(np.hypot(*from_face[:, 0]))
        outline = transform_points(from_face, lips)
        low = np.maximum(np.floor(outline.min(axis=0) - 2).astype(int), 0)
        high = np.minimum(np.ceil(outline.max(axis=0) + 3).astype(int), still.image.shape[1::-1])
        if (high - low < 2).any():
            return None
        colour = still.image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        between = lips_area(outline - low, (high - low).tolist(), max(LEAST_BLUR_PX, SOFT_PX * scale))
        skin = np.median(cheek_pixels(still.aligned.image, landmarks), axis=0)
        redness = colour[..., 0] / np.maximum(1, colour[..., 1]) / (skin[0] / max(1.0, float(skin[1])))
        light = luminance(colour) / max(1.0, float(luminance(skin)))
        opacity = between * smoothstep((0.97 - redness) / 0.08) * smoothstep((light - 0.5) / 0.25)
        if opacity.sum() < TEETH_SHARE * between.sum():
            return None
        image = _without_gaps(colour, np.asarray(opacity, np.float32), scale)
        return cls(np.asarray(image, np.float32), compose(np.array([[1.0, 0, -low[0]], [0, 1.0, -low[1]]]), from_face))


def mouth_colours(face: Image, landmarks: Points) -> MouthColours:
    """Return colours for the inside of a mouth under the light on a face.

    Args:
        face: (112, 112, 3) uint8 RGB, aligned.
        landmarks: (68, 2) of it.
    """
    cheeks = cheek_pixels(face, landmarks)
    skin = np.median(cheeks, axis=0).astype(np.float32)
    eyes = _eyes(face, landmarks)
    skin_y = float(luminance(skin))
    bright = float(np.percentile(luminance(eyes), 92)) if len(eyes) else skin_y
    level = np.clip(0.5 * (1.5 * skin_y + bright), 1.14 * skin_y, 1.7 * skin_y + 12)
    tints = [_tint(skin, TYPICAL_SKIN, SKIN_SPREAD)]
    if len(eyes):
        white = eyes[luminance(eyes) >= np.percentile(luminance(eyes), 80)].mean(axis=0)
        tints.append(_tint(white, TYPICAL_WHITE, WHITE_SPREAD))
    light = np.exp(np.mean(tints, axis=0))
    grey = 1 - min(1.0, float(cheeks.max(axis=1).astype(float).mean() - cheeks.min(axis=1).astype(float).mean()) / 20)

    def coloured(base: tuple[float, float, float], y: float) -> Floats:
        colour = np.array(base, np.float32) * light
        colour *= y / luminance(colour)
        return np.asarray(colour + grey * (y - colour), np.float32).clip(0, 250)

    return MouthColours(
        teeth=coloured((1.0, 0.905, 0.83), float(level)),
        tongue=coloured((0.80, 0.42, 0.40), 0.56 * skin_y),
        cavity=coloured((0.42, 0.18, 0.16), 0.15 * skin_y),
    )


def _tint(colour: Floats, typical: Floats, spread: float) -> Floats:
    """Return the logarithm of the light's colour, (3,), as far as people's own colours do not explain it."""
    own, usual = colour / max(1.0, float(luminance(colour))), typical / float(luminance(typical))
    difference = np.log(np.maximum(own, 0.05) / usual)
    return np.asarray(np.sign(difference) * np.maximum(np.abs(difference) - spread, 0), np.float32)


def luminance(colour: NDArray[Any]) -> Floats:
    """Return Rec. 601 luminance of RGB colours (..., 3)."""
    return np.asarray(np.asarray(colour, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def _eyes(face: Image, landmarks: Points) -> Image:
    """Return pixels (n, 3) of both eyes, between the lids."""
    mask = np.zeros(face.shape[:2], np.uint8)
    for eye in (slice(36, 42), slice(42, 48)):
        cv2.fillPoly(mask, [np.rint(landmarks[eye]).astype(np.int32)], 1)
    return face[mask > 0]


def edge_blur(still: Still) -> float:
    """Return the blur of the sharpest edges of eyes and brows: a standard deviation in px of the 112 px face.

    An edge blurred by σ loses the factor √(1 + (s/σ)²) of its gradient when it is blurred once more by s.
    """
    from_face = invert(still.aligned.transform)
    scale = float(np.hypot(*from_face[:, 0]))
    points = transform_points(from_face, still.aligned.landmarks[17:48])
    low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, still.image.shape[1::-1])
    if (high - low < 8).any():
        return EDGE_BLUR[1]
    grey = cv2.cvtColor(still.image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    before, after = _gradient(grey), _gradient(cv2.GaussianBlur(grey, (0, 0), REBLUR_PX))
    strong = before >= np.percentile(before, 96)
    ratio = before[strong] / np.maximum(1e-3, after[strong])
    sigma = REBLUR_PX / np.sqrt(np.maximum(1e-2, ratio**2 - 1))
    return float(np.clip(np.percentile(sigma, 60) / scale, *EDGE_BLUR))


def _gradient(grey: NDArray[Any]) -> Floats:
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return np.asarray(np.hypot(x, y), np.float32)


def _without_gaps(colour: Floats, opacity: Floats, scale: float) -> Floats:
    """Return teeth (h, w, 4) whose gaps, and a little above them, have the colours from around.

    Args:
        colour: (h, w, 3).
        opacity: (h, w), what surely is a tooth.
        scale: px a px of the 112 px face.
    """
    reach = max(1, round(GAP_MM * PX_A_MM * scale))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(opacity, cv2.MORPH_CLOSE, kernel)
    above = np.zeros((2 * reach + 1, 1), np.uint8)
    above[reach:] = 1  # a pixel takes what lies below it
    closed = cv2.dilate(closed, above)
    known = cv2.GaussianBlur(opacity, (0, 0), reach)[..., None] + 1e-3
    around = cv2.GaussianBlur(colour * opacity[..., None], (0, 0), reach) / known
    filled = colour + (1 - opacity[..., None]) * (around - colour)
    soft = cv2.GaussianBlur(closed, (0, 0), max(LEAST_BLUR_PX, 0.25 * scale))
    return np.concatenate([filled, soft[..., None]], axis=-1).astype(np.float32)


def lips_area(outline: Points, size: tuple[int, int], soft_px: float) -> Floats:
    """Return a smooth closed curve through points as an area: (h, w) in [0, 1]."""
    curve = _smooth_curve(outline)
    area = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(area, [np.rint(curve * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(area.astype(np.float32) / 255, (0, 0), soft_px), np.float32)


def _smooth_curve(points: Points, steps: int = 6) -> Floats:
    """Return upper and lower lip as curves through their points (8, 2), corner to corner."""
    upper, lower = points[[0, 1, 2, 3, 4]], points[[4, 5, 6, 7, 0]]
    return np.concatenate([_spline(upper, steps), _spline(lower, steps)])


def _spline(points: Points, steps: int) -> Floats:
    """Return a Catmull-Rom curve through (n, 2) points."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate(pieces)
