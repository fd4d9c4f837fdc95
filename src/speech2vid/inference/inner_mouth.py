"""The inside of a mouth, drawn at the canvas' own resolution: cavity, tongue, upper and lower teeth.

A photo with closed lips has no pixels to move between the lips, and a residual predicted at 112 px is the mean of all
mouths: a pale smear. But geometry is known: the upper teeth are fixed to the skull, hence to the aligned face; the
lower teeth move with the jaw; lips cover both. Upper teeth that the photo shows are used; others are drawn in the
light on the face. All geometry is in px of the 112 px face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from speech2vid.constants import INNER_BOTTOM, INNER_TOP, MOUTH_POINTS
from speech2vid.faces import Still
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.inference.mouth_appearance import (
    INNER,
    LEAST_BLUR_PX,
    PX_A_MM,
    SOFT_PX,
    MouthColours,
    OwnTeeth,
    edge_blur,
    lips_area,
    mouth_colours,
)
from speech2vid.types import Affine, Floats, Points

UPPER, LOWER = ([point - MOUTH_POINTS.start for point in lip] for lip in (INNER_TOP, INNER_BOTTOM))  # left to right
CHIN = [7, 8, 9]  # lower edge of the lower lip, which the jaw carries
SIZE = 192, 96  # px of the teeth's texture, w × h
WIDTHS_MM = (8.5, 6.6, 7.2, 5.2, 4.2, 3.0)  # as seen from the front: incisors, canine, premolars, molar
LOWER_WIDTHS_MM = (5.3, 5.8, 6.3, 5.2, 4.2, 3.2)
HEIGHT_MM, LOWER_HEIGHT_MM = 9.5, 8.0
SHOWN_MM = 3.0  # of the upper teeth, below the lip at rest
BITE_MM = 2.0  # how far the upper incisors cover the lower ones, jaws closed
JAW = 0.9  # of the way of the lower lip that the jaw goes
SMILE_MM = 2.0  # how much higher than the incisors' the edge of the side teeth is
OPAQUE = 0.25, 0.6  # share of the residual from which the drawn inside shows, and from which nothing else does
COARSE_BLUR_PX = 0.7  # a drawing blurred by more than twice that is made smaller
GAP_PX = 0.5, 1.6  # lip opening at which it begins to show, and shows fully


@dataclass(frozen=True)
class Jaws:
    """Where somebody's teeth are, px of the 112 px face.

    Attributes:
        centre: x of the middle between the incisors.
        upper: y of the edge of the upper incisors.
        lower: y of the edge of the lower incisors, jaws closed.
        chin: y of the lower edge of the lower lip, jaws closed.
    """

    centre: float
    upper: float
    lower: float
    chin: float

    @classmethod
    def of(cls, neutral_mouth: Points) -> Jaws:
        """Return the jaws of a person from their closed mouth, (20, 2)."""
        line = float(neutral_mouth[UPPER, 1].mean())
        upper = line + SHOWN_MM * PX_A_MM
        centre = float(neutral_mouth[[12, 16], 0].mean())
        return cls(centre, upper, upper - BITE_MM * PX_A_MM, float(neutral_mouth[CHIN, 1].mean()))


@dataclass(frozen=True)
class MouthInside:
    """What is drawn between the lips of a person.

    Attributes:
        jaws: where the teeth are.
        colours: under the light on the face.
        blur_px: standard deviation of the photo's own blur, px of the 112 px face.
        teeth: the person's own upper teeth; None: drawn ones.
    """

    jaws: Jaws
    colours: MouthColours
    blur_px: float
    teeth: OwnTeeth | None = None

    @classmethod
    def of(cls, still: Still, neutral_mouth: Points, *, own_teeth: bool = False) -> MouthInside:
        """Return the inside of a mouth as a still's light and sharpness suggest it.

        Args:
            still: of the person.
            neutral_mouth: (20, 2), their closed mouth, px of the 112 px face.
            own_teeth: show the teeth of the still where it has some.
        """
        face, landmarks = still.aligned.image, still.aligned.landmarks
        teeth = OwnTeeth.of(still) if own_teeth else None
        return cls(Jaws.of(neutral_mouth), mouth_colours(face, landmarks), edge_blur(still), teeth)


class InnerMouth:
    """Draws the inside of a mouth.

    Args:
        inside: of the person.
        to_face: (2, 3) px of the part of the canvas → px of the 112 px face.
        to_cells: (2, 3) px of the part → cells of the residual's mask.
    """

    def __init__(self, inside: MouthInside, to_face: Affine, to_cells: Affine) -> None:
        self._to_face, self._to_cells = to_face, to_cells
        self._from_face = invert(to_face)
        self._scale = float(np.hypot(*self._from_face[:, 0]))
        self._jaws, self._colours, self._teeth = inside.jaws, inside.colours, inside.teeth
        self._blur_px = max(LEAST_BLUR_PX, inside.blur_px * self._scale)

    def draw(self, image: Floats, mouth: Points, residual: Floats) -> None:
        """Draw the inside of a mouth into a part of a frame, in place.

        Args:
            image: (h, w, C) float32 0–255, RGB first.
            mouth: (20, 2), px of the 112 px face.
            residual: (64, 96) in [0, 1], share of the residual in the image.
        """
        gap = float((mouth[LOWER, 1] - mouth[UPPER, 1]).max())
        shown = float(smoothstep(np.array((gap - GAP_PX[0]) / (GAP_PX[1] - GAP_PX[0]))))
        if shown <= 0:
            return
        lips = transform_points(self._from_face, mouth[INNER])
        margin = 3 * self._scale
        low = np.maximum(np.floor(lips.min(axis=0) - margin).astype(int), 0)
        high = np.minimum(np.ceil(lips.max(axis=0) + margin).astype(int) + 1, (image.shape[1], image.shape[0]))
        if (high <= low).any():
            return
        width, height = (high - low).tolist()
        shift = np.array([[1.0, 0, low[0]], [0, 1.0, low[1]]])
        inside = lips_area(lips - low, (width, height), max(LEAST_BLUR_PX, SOFT_PX * self._scale))
        inside *= shown
        if self._teeth is None:
            share = _sampled(residual, compose(self._to_cells, shift), (width, height), cv2.BORDER_REPLICATE)
            inside *= smoothstep((share - OPAQUE[0]) / (OPAQUE[1] - OPAQUE[0]))
        drawn, shadow = self._enlarged(mouth, compose(self._to_face, shift), (width, height))
        if self._teeth is not None:
            to_teeth = compose(self._teeth.transform, compose(self._to_face, shift))
            own = _sampled(self._teeth.image, to_teeth, (width, height), cv2.BORDER_CONSTANT)
            drawn += own[..., 3:] * (own[..., :3] * shadow[..., None] - drawn)
        seen = image[low[1] : high[1], low[0] : high[0], :3]
        seen += inside[..., None] * (drawn - seen)

    def _enlarged(self, mouth: Points, to_face: Affine, size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Return the inside of a mouth (h, w, 3), and the shade of the upper lip (h, w).

        As both are blurred, they are drawn on every n-th pixel and enlarged.
        """
        step = max(1, int(self._blur_px / COARSE_BLUR_PX))
        columns, rows = (np.arange(-(-side // step), dtype=np.float32) * step + (step - 1) / 2 for side in size)
        x, y = (row[0] * columns + row[1] * rows[:, None] + row[2] for row in to_face.astype(np.float32))
        drawn = cv2.GaussianBlur(self._drawn(x, y, mouth), (0, 0), self._blur_px / step)
        both = cv2.merge([*cv2.split(drawn), _shadow(y, float(mouth[UPPER, 1].mean()))])
        if step > 1:
            both = cv2.resize(both, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)[: size[1], : size[0]]
        return np.ascontiguousarray(both[..., :3], np.float32), np.asarray(both[..., 3], np.float32)

    def _drawn(self, x: Floats, y: Floats, mouth: Points) -> Floats:
        """Return the inside of a mouth at points of the 112 px face: (h, w, 3)."""
        jaws, colours = self._jaws, self._colours
        dropped = JAW * max(0.0, float(mouth[CHIN, 1].mean()) - jaws.chin)
        half = max(4.0, float(mouth[16, 0] - mouth[12, 0]) / 2)
        centre = 0.5 * (jaws.centre + float(mouth[[12, 16], 0].mean()))
        across = (x - centre) / half
        top, bottom = float(mouth[UPPER, 1].mean()), float(mouth[LOWER, 1].mean())
        depth = np.clip((y - top) / max(1.0, bottom - top), 0, 1)
        # cavity, darkest in the middle of its height; then the tongue, which rises from the floor
        dark = 0.7 + 0.3 * np.abs(2 * depth - 1)
        image = colours.cavity * dark[..., None]
        arc = top + 0.45 * (bottom - top) + 2.0 * across**2
        tongue = smoothstep((y - arc) / 2.5 + 0.3)
        shade = (0.6 + 0.4 * smoothstep((y - arc) / 4.0)) * (1 - 0.6 * np.clip(np.abs(across), 0, 1) ** 2)
        image += tongue[..., None] * (colours.tongue * shade[..., None] - image)
        corner = 1 - 0.72 * np.clip(np.abs(x - centre) / (25.0 * PX_A_MM), 0, 1) ** 1.8
        # lower teeth, then the upper ones before them
        edge = jaws.lower + dropped
        texture = _row_of_teeth(_teeth(lower=True), (x - centre), (y - edge), lower=True)
        light = 0.72 * corner * (1 - 0.35 * smoothstep((y - (bottom - 1.2)) / 1.2))
        _lay(image, texture, colours.teeth, light)
        if self._teeth is None:
            texture = _row_of_teeth(_teeth(lower=False), (x - centre), (jaws.upper - y), lower=False)
            _lay(image, texture, colours.teeth, corner * _shadow(y, top))
        return np.asarray(image, np.float32)


def _shadow(y: Floats, top: float) -> Floats:
    """Return the shade of the upper lip, whose edge is at ``top``, on the teeth: 1 is none."""
    return np.asarray(1 - 0.30 * (1 - smoothstep((y - top) / 1.6)), np.float32)


def _sampled(grid: Floats, transform: Affine, size: tuple[int, int], border: int) -> Floats:
    """Return a small image at every pixel of a part of the canvas; ``transform``: px of the part → px of the image."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grid, transform, size, flags=flags, borderMode=border), np.float32)


def _lay(image: Floats, texture: Floats, colour: Floats, light: Floats) -> None:
    weight = texture[..., 1:]
    image += weight * (colour * (texture[..., :1] * light[..., None]) - image)


def _row_of_teeth(texture: Floats, x: Floats, up: Floats, *, lower: bool) -> Floats:
    """Return brightness and opacity of teeth, (h, w, 2), ``up`` px from the edge towards the gums."""
    height = (LOWER_HEIGHT_MM if lower else HEIGHT_MM) * PX_A_MM
    widths = LOWER_WIDTHS_MM if lower else WIDTHS_MM
    half = sum(widths) * PX_A_MM
    up = up - SMILE_MM * PX_A_MM * np.clip(x / half, -1, 1) ** 2 * (0.4 if lower else 1.0)
    u = (x / half * 0.5 + 0.5) * (SIZE[0] - 1)
    v = (up / height * 0.8 + 0.1) * (SIZE[1] - 1)
    return np.asarray(
        cv2.remap(
            texture, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        ),
        np.float32,
    )


@cache
def _teeth(*, lower: bool) -> Floats:
    """Return a row of teeth, (96, 192, 2): brightness 0–1 and opacity, the edge at a tenth of the height."""
    widths = LOWER_WIDTHS_MM if lower else WIDTHS_MM
    half = sum(widths)
    over = 4
    w, h = SIZE[0] * over, SIZE[1] * over
    brightness, opacity = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    mm = (x / (w - 1) - 0.5) * 2 * half
    up = (y / (h - 1) - 0.1) / 0.8  # 0 at the edge, 1 at the gums
    for side in (-1, 1):
        left = 0.0
        for number, width in enumerate(widths):
            middle, r = side * (left + width / 2), width / 2
            left += width
            t = (mm - middle) / r  # -1 … 1 across the tooth
            short = (0.0, 0.09, 0.02, 0.10, 0.14, 0.2)[number] * (0.3 if lower else 1.0)
            round_corner = 0.10 * np.clip(np.abs(t), 0, 1) ** 5 + (0.05 * t**2 if number == 2 else 0)
            edge = up - short - round_corner
            body = smoothstep(edge / 0.05) * smoothstep((1.12 - np.abs(t)) / 0.12)
            tone = (0.93 + 0.07 * np.sqrt(np.clip(1 - t**2, 0, 1))) * (1 - 0.13 * np.clip(edge, 0, 1))
            tone *= 1 - 0.06 * smoothstep((np.abs(t) - 0.8) / 0.2)  # between two teeth
            tone *= (0.94 + 0.06 * smoothstep(edge / 0.12)) * (1.0, 0.98, 0.93, 0.92, 0.9, 0.88)[number]
            better = body > opacity
            brightness[better], opacity[better] = tone[better], body[better]
    opacity *= smoothstep((1.02 - up) / 0.08)
    both = np.stack([brightness, opacity], axis=-1)
    small = cv2.resize(both, SIZE, interpolation=cv2.INTER_AREA)
    small.setflags(write=False)
    return np.asarray(small, np.float32)
