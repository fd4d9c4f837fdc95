"""Fields → frames at the photo's own resolution, in one resampling.

For a pixel p of the canvas, a = M p is its place on the aligned face. The fields, upsampled smoothly, say at a which
still shows it and where: still k's pixel is inv(M_k) (a + flow_k(a)). What no still shows comes from the residual. A
soft mask of mouth and chin blends the result into the canvas; outside it the canvas is untouched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH
from speech2vid.faces import Still
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.inference.identity import Identity
from speech2vid.inference.talkers.warp import Fields
from speech2vid.types import Affine, Floats, Image

STRIDE = 2  # one cell of the flow is 2 × 2 px
BLEND_SIDE_PX, BLEND_TOP_PX, BLEND_BOTTOM_PX = 14.0, 14.0, 8.0  # widths of the soft border, within the region
NEGLIGIBLE = 0.02  # a mask that stays below this is left out
FULL_COLOUR = 20.0  # mean spread of a lower face's channels, 0–255, from which on it counts as coloured
DENSER = 1.5  # a still this much denser than the canvas is made smaller first, against aliasing


@dataclass(frozen=True)
class _Source:
    """A still: RGBA, where the box samples it at zero flow (2, h, w), and aligned px → its px, linear (2, 2)."""

    image: Image
    base: Floats
    linear: NDArray[np.float64]


class Composer:
    """Makes the frames of one identity. Everything that does not change from frame to frame is computed here."""

    def __init__(self, identity: Identity) -> None:
        self.canvas = np.ascontiguousarray(identity.canvas)
        inverse = invert(identity.canvas_transform)
        height, width = self.canvas.shape[:2]
        corners = transform_points(
            inverse,
            np.array(
                [
                    [x, y]
                    for x in (REGION_LEFT, REGION_LEFT + REGION_WIDTH - 1)
                    for y in (REGION_TOP, REGION_TOP + REGION_HEIGHT - 1)
                ]
            ),
        )
        left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
        right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, (left + 1, top + 1), (width, height))
        self.corner = int(left), int(top)
        self._box = np.s_[top:bottom, left:right]
        self._size = int(right - left), int(bottom - top)
        to_face = compose(identity.canvas_transform, np.array([[1.0, 0, left], [0, 1.0, top]]))  # box px → aligned px
        self._to_cells = _to_grid(to_face, STRIDE)
        self._to_pixels = _to_grid(to_face, 1)
        aligned = _affine_grid(to_face, self._size)
        blend = blend_mask(aligned.transpose(1, 2, 0))
        self._blend = cv2.merge([blend] * 4)
        self._background = cv2.multiply(_rgba(self.canvas[self._box]), 1 - self._blend, dtype=cv2.CV_32F)
        self._colour = colour_share(self.canvas[self._box])
        density = float(np.hypot(*inverse[:, 0]))
        self._slots: dict[int, list[int]] = {}  # which slots each still fills
        for slot, still in enumerate(identity.stills):
            self._slots.setdefault(id(still), []).append(slot)
        self._sources = [
            _source(identity.stills[slots[0]], to_face, self._size, density) for slots in self._slots.values()
        ]

    def frames(self, fields: Fields) -> Iterator[Image]:
        """The frames of all frames: (H, W, 3) uint8 RGB, new arrays."""
        for part in self.parts(fields):
            frame = self.canvas.copy()
            frame[self._box] = part
            yield frame

    def parts(self, fields: Fields) -> Iterator[Image]:
        """Of the frames of all frames the part that is not the canvas: (h, w, 3) uint8 RGB, new arrays.

        Its upper left pixel lies at ``corner`` (x, y) of the canvas.
        """
        merged = [merge_copies(fields, slots) for slots in self._slots.values()]
        grey = fields.residual.mean(axis=1, keepdims=True)
        painted = 255 * fields.masks[:, -1:] * (grey + self._colour * (fields.residual - grey))
        painted = np.concatenate([painted, merged[0][1][:, None]], axis=1)  # four channels are sampled fastest
        painted = np.ascontiguousarray(painted.transpose(0, 2, 3, 1))
        layers = [
            (source, _linear(source.linear, flow), mask)
            for source, (flow, mask) in zip(self._sources, merged, strict=True)
        ]
        for index in range(len(painted)):
            yield self._part([(source, shift[index], mask[index]) for source, shift, mask in layers], painted[index])

    def _part(self, layers: list[tuple[_Source, Floats, Floats]], painted: Floats) -> Image:
        total = self._enlarge(painted, self._to_pixels)
        for number, (source, shift, mask) in enumerate(layers):
            if mask.max() < NEGLIGIBLE:
                continue
            x, y = (
                cv2.add(self._enlarge(each, self._to_cells), at) for each, at in zip(shift, source.base, strict=True)
            )
            seen = cv2.remap(source.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            weight = self._enlarge(mask, self._to_pixels) if number else cv2.extractChannel(total, 3)
            cv2.add(total, cv2.multiply(seen, cv2.merge([weight] * 4), dtype=cv2.CV_32F), total)
        cv2.add(cv2.multiply(total, self._blend), self._background, total)
        return np.asarray(cv2.cvtColor(cv2.convertScaleAbs(total), cv2.COLOR_RGBA2RGB), np.uint8)

    def _enlarge(self, grid: Floats, transform: Affine) -> Floats:
        """Sample a small grid (h, w[, c]) at every pixel of the box."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        enlarged = cv2.warpAffine(grid, transform, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(enlarged, np.float32)


def merge_copies(fields: Fields, slots: list[int]) -> tuple[Floats, Floats]:
    """The flow (N, 2, 32, 48) and mask (N, 64, 96) of a still that fills several slots.

    Its copies are sampled once, where their flows, averaged by their masks, point to: a mean of positions, not of
    frames. That is sharper than the sum of slightly different samplings, and no further from the truth.
    """
    masks = fields.masks[:, slots]
    if len(slots) == 1:
        return fields.flow[:, slots[0]], masks[:, 0]
    n, k, height, width = masks.shape
    total = masks.sum(axis=1)
    shares = _cells(masks.reshape(n * k, height, width)).reshape(n, k, height // STRIDE, width // STRIDE)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-6)
    return np.einsum("nkchw,nkhw->nchw", fields.flow[:, slots], shares), total


def _linear(matrix: NDArray[np.float64], flow: Floats) -> Floats:
    """Flow (N, 2, h, w) of aligned pixels → of a still's own pixels."""
    x, y = flow[:, 0], flow[:, 1]
    (a, b), (c, d) = matrix.astype(np.float32)
    return np.stack([a * x + b * y, c * x + d * y], axis=1)


def _cells(masks: Floats) -> Floats:
    """Means over the cells of masks (N, h, w)."""
    rows = masks[:, ::STRIDE] + masks[:, 1::STRIDE]
    return np.asarray((rows[..., ::STRIDE] + rows[..., 1::STRIDE]) / STRIDE**2, np.float32)


def _affine_grid(transform: Affine, size: tuple[int, int]) -> Floats:
    """Where the pixels of a box (w, h) come to lie: (2, h, w), x and y."""
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    return np.stack([row[0] * x + (row[1] * y + row[2]) for row in transform]).astype(np.float32)


def _rgba(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.uint8)


def colour_share(face: Image) -> float:
    """How much colour a residual may have next to this lower face: 0 for a greyscale photo, 1 for any usual one."""
    red, green, blue = cv2.split(face)
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    spread = float(cv2.subtract(brightest, darkest).mean())
    return min(1.0, spread / FULL_COLOUR)


def blend_mask(aligned: Floats) -> Floats:
    """How much of the generated frame shows at aligned points (..., 2): 1 inside, 0 at the region's border."""
    x, y = aligned[..., 0], aligned[..., 1]
    right, bottom = REGION_LEFT + REGION_WIDTH - 1, REGION_TOP + REGION_HEIGHT - 1
    distances = (np.minimum(x - REGION_LEFT, right - x) / BLEND_SIDE_PX, (y - REGION_TOP) / BLEND_TOP_PX)
    side, top, low = (np.asarray(smoothstep(d), np.float32) for d in (*distances, (bottom - y) / BLEND_BOTTOM_PX))
    return np.asarray(side * top * low, np.float32)


def _to_grid(to_face: Affine, stride: int) -> Affine:
    """Box pixels → cells of a grid over the region with ``stride`` px a cell."""
    shift = np.array([REGION_LEFT, REGION_TOP]) - 0.5
    offset = (to_face[:, 2] - shift) / stride - 0.5
    return np.column_stack([to_face[:, :2] / stride, offset])


def _source(still: Still, to_face: Affine, size: tuple[int, int], density: float) -> _Source:
    image, inverse = still.image, invert(still.transform)
    denser = float(np.hypot(*inverse[:, 0])) / density
    if denser > DENSER:
        height, width = image.shape[:2]
        smaller = max(1, round(width / denser)), max(1, round(height / denser))
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        sx, sy = smaller[0] / width, smaller[1] / height
        inverse = compose(np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2]]), inverse)
    return _Source(_rgba(image), _affine_grid(compose(inverse, to_face), size), inverse[:, :2])
