"""What a talker generates → frames of the canvas at its own resolution, in one resampling.

Warp fields: for a pixel p of the canvas, a = M p is its place on the aligned face. The fields, upsampled smoothly, say
at a which still shows it and where: still k's pixel is inv(M_k) (a + flow_k(a)). What no still shows comes from the
residual. A soft mask of mouth and chin blends the result into the canvas; outside it the canvas is untouched.

Aligned faces: they are placed back by the inverse similarity under a soft mask in the shape of a face; on a canvas that
shows the aligned face alone they take its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    FACE_PX,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
    TARGET_OFFSET_PX,
    TARGET_PX,
)
from speech2vid.faces import Still
from speech2vid.faces.align import canonical_points
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.inference.head.renderer import HeadRenderer
from speech2vid.inference.inner_mouth import InnerMouth
from speech2vid.inference.mouth_appearance import INNER
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import AlignedFaces, Generated, Identity, WarpFields
from speech2vid.types import Affine, FaceBox, Floats, Image, Points

STRIDE = 2  # one cell of the flow is 2 × 2 px
BLEND_SIDE_PX, BLEND_TOP_PX, BLEND_BOTTOM_PX = 14.0, 14.0, 8.0  # widths of the soft border, within the region
NEGLIGIBLE = 0.02  # a mask that stays below this is left out
FULL_COLOUR = 20.0  # mean spread of a lower face's channels, 0–255, from which on it counts as coloured
REGION = FaceBox(REGION_LEFT, REGION_TOP, REGION_LEFT + REGION_WIDTH - 1, REGION_TOP + REGION_HEIGHT - 1)
FACE = FaceBox(0, 0, FACE_PX - 1, FACE_PX - 1)
ALL = FaceBox(-1e4, -1e4, 1e4, 1e4)  # of the canvas, however large
FOREHEAD, OUTSIDE_PX, FACE_BORDER_PX = 0.25, 4.0, 10.0  # height of brow to chin; beyond the outline; soft border
SMOOTH_PX = 2.0  # of that border
RESIDUAL_PX = 1.5, 4.5  # from the inner lips: up to there all of the residual shows, and from there on none
DENSER = 1.5  # a still this much denser than the canvas is made smaller first, against aliasing


@dataclass(frozen=True)
class _Source:
    """A still: RGBA, where the box samples it at zero flow (2, h, w), and aligned px → its px, linear (2, 2)."""

    image: Image
    base: Floats
    linear: NDArray[np.float64]


class Composer:
    """Makes the frames of one identity from whatever its talker generates.

    All that one composer is given either has head motion or has none.

    Args:
        identity: the person on the canvas.
        sharpener: sharpens the generated faces; None leaves them as they are.

    Attributes:
        canvas: (H, W, 3) uint8 RGB.
    """

    def __init__(self, identity: Identity, sharpener: Sharpener | None = None) -> None:
        self.canvas = np.ascontiguousarray(identity.canvas)
        self._identity, self._sharpener = identity, sharpener
        self._part: _WarpPart | _FacePart | None = None  # known with what is generated first
        self._head: HeadRenderer | None = None

    def frames(self, generated: Generated) -> Iterator[Image]:
        """Yield whole frames: (H, W, 3) uint8 RGB, new arrays."""
        for part, (left, top) in self.parts(generated):
            frame = self.canvas.copy()
            frame[top : top + part.shape[0], left : left + part.shape[1]] = part
            yield frame

    def parts(self, generated: Generated) -> Iterator[tuple[Image, tuple[int, int]]]:
        """Yield of each frame the part that is not the canvas: (h, w, 3) uint8 RGB, new arrays, and its corner (x, y).

        The corner is the same for all frames.
        """
        if self._part is None:
            kind = _WarpPart if isinstance(generated, WarpFields) else _FacePart
            self._part = kind(self._identity, self._sharpener)
        images = self._part.images(generated)
        if generated.motion is None:
            for image in images:
                yield image, self._part.corner
            return
        self._head = self._head or HeadRenderer(self._identity)
        for image, motion in zip(images, generated.motion, strict=True):
            yield self._head(motion, image, self._part.corner), self._head.corner


class _Part:
    """The part of a canvas that changes: where it lies, and what doesn't change from frame to frame."""

    def __init__(self, identity: Identity, region: FaceBox) -> None:
        """``region``: px of the aligned face, outside which the canvas stays as it is."""
        inverse = invert(identity.canvas_transform)
        corners = transform_points(
            inverse, np.array([[x, y] for x in (region.left, region.right) for y in (region.top, region.bottom)])
        )
        height, width = identity.canvas.shape[:2]
        left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
        right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, (left + 1, top + 1), (width, height))
        self.corner = int(left), int(top)
        self._canvas = np.ascontiguousarray(identity.canvas)[top:bottom, left:right]
        self._size = int(right - left), int(bottom - top)
        # px of the part → px of the aligned face
        self._to_face = compose(identity.canvas_transform, np.array([[1.0, 0, left], [0, 1.0, top]]))


class _WarpPart(_Part):
    """Samples the stills where warp fields point to."""

    def __init__(self, identity: Identity, sharpener: Sharpener | None) -> None:
        super().__init__(identity, REGION)
        density = float(np.hypot(*invert(identity.canvas_transform)[:, 0]))
        self._to_cells = _to_grid(self._to_face, STRIDE)
        self._to_pixels = _to_grid(self._to_face, 1)
        aligned = _affine_grid(self._to_face, self._size)
        blend = blend_mask(aligned.transpose(1, 2, 0))
        self._blend = cv2.merge([blend] * 4)
        self._background = cv2.multiply(_rgba(self._canvas), 1 - self._blend, dtype=cv2.CV_32F)
        self._colour = colour_share(self._canvas)
        self._slots: dict[int, list[int]] = {}  # which slots each still fills
        for slot, still in enumerate(identity.stills):
            self._slots.setdefault(id(still), []).append(slot)
        self._sources = [
            _source(identity.stills[slots[0]], self._to_face, self._size, density) for slots in self._slots.values()
        ]
        self._inner = None if identity.inside is None else InnerMouth(identity.inside, self._to_face, self._to_pixels)
        self._whole = None if sharpener is None else _SharpenedFace(identity, sharpener, self.corner)
        if self._whole is not None:
            self.corner = self._whole.corner

    def images(self, generated: Generated) -> Iterator[Image]:
        """Yield the part of each frame."""
        assert isinstance(generated, WarpFields)
        if self._inner is not None:
            generated = residual_near_mouths(generated)
        merged = [merge_copies(generated, slots) for slots in self._slots.values()]
        grey = generated.residual.mean(axis=1, keepdims=True)
        painted = 255 * generated.masks[:, -1:] * (grey + self._colour * (generated.residual - grey))
        painted = np.concatenate([painted, merged[0][1][:, None]], axis=1)  # four channels are sampled fastest
        painted = np.ascontiguousarray(painted.transpose(0, 2, 3, 1))
        layers = [
            (source, _linear(source.linear, flow), mask)
            for source, (flow, mask) in zip(self._sources, merged, strict=True)
        ]
        for index in range(len(painted)):
            moved = [(source, shift[index], mask[index]) for source, shift, mask in layers]
            mouth = None if generated.mouths is None else generated.mouths[index]
            part = self._part(moved, painted[index], mouth, generated.masks[index, -1])
            yield part if self._whole is None else self._whole(part)

    def _part(
        self, layers: list[tuple[_Source, Floats, Floats]], painted: Floats, mouth: Floats | None, residual: Floats
    ) -> Image:
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
        if self._inner is not None and mouth is not None:
            self._inner.draw(total, mouth, residual)
        cv2.add(cv2.multiply(total, self._blend), self._background, total)
        return np.asarray(cv2.cvtColor(cv2.convertScaleAbs(total), cv2.COLOR_RGBA2RGB), np.uint8)

    def _enlarge(self, grid: Floats, transform: Affine) -> Floats:
        """Sample a small grid (h, w[, c]) at every pixel of the box."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        enlarged = cv2.warpAffine(grid, transform, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(enlarged, np.float32)


class _SharpenedFace(_Part):
    """Sharpens the whole face around a part that has been made anew."""

    def __init__(self, identity: Identity, sharpener: Sharpener, corner: tuple[int, int]) -> None:
        super().__init__(identity, FACE)
        self._sharpener = sharpener
        self._left, self._top = corner[0] - self.corner[0], corner[1] - self.corner[1]

    def __call__(self, part: Image) -> Image:
        image = self._canvas.copy()
        image[self._top : self._top + part.shape[0], self._left : self._left + part.shape[1]] = part
        return self._sharpener.image(image, self._to_face)


class _FacePart(_Part):
    """Places whole aligned faces back by the inverse similarity."""

    def __init__(self, identity: Identity, sharpener: Sharpener | None) -> None:
        super().__init__(identity, ALL if identity.crop else FACE)
        self._crop, self._sharpener = identity.crop, sharpener
        self._background = self._canvas.astype(np.float32)

    def images(self, generated: Generated) -> Iterator[Image]:
        """Yield the part of each frame."""
        assert isinstance(generated, AlignedFaces)
        faces = generated.faces if self._sharpener is None else self._sharpener.faces(generated.faces)
        weight = None
        if not self._crop:
            mask = face_mask() if generated.mask is None else generated.mask
            weight = self._enlarge(np.asarray(mask, np.float32), cv2.BORDER_CONSTANT)[..., None]
        for face in faces:
            large = self._enlarge(face.astype(np.float32), cv2.BORDER_REPLICATE)
            if weight is not None:
                large = self._background + weight * (large - self._background)
            yield np.rint(large).clip(0, 255).astype(np.uint8)

    def _enlarge(self, image: Floats, border: int) -> Floats:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        large = cv2.warpAffine(image, self._to_face, self._size, flags=flags, borderMode=border)
        return np.asarray(large, np.float32)


@cache
def face_mask() -> Floats:
    """Return how much of an aligned face shows on a photo: (112, 112) float32, the shape of a face, soft at its border.

    The canonical landmarks' outline, the forehead added, within the target of 109 px.
    """
    points = canonical_points()
    brow, chin = points[17:27, 1].min(), points[8, 1]
    forehead = points[17:27] - np.array([0, FOREHEAD * (chin - brow)], np.float32)
    outline = cv2.convexHull(np.concatenate([points, forehead]).astype(np.float32))[:, 0]
    inside = np.zeros((FACE_PX, FACE_PX), np.uint8)
    cv2.fillConvexPoly(inside, np.rint(outline).astype(np.int32), 1)
    steps = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(steps, (0, 0), SMOOTH_PX)  # of the steps of the filled outline
    at = np.arange(FACE_PX)
    edge = np.minimum(at - TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX - 1 - at)
    edge = np.minimum(edge[:, None], edge[None])
    softened = smoothstep((distance + OUTSIDE_PX) / FACE_BORDER_PX) * smoothstep(edge / FACE_BORDER_PX)
    mask: Floats = np.asarray(softened, np.float32)
    mask.setflags(write=False)
    return mask


def residual_near_mouths(fields: WarpFields) -> WarpFields:
    """Return fields whose residual shows between the lips and around them only: further away it is a stain."""
    if fields.mouths is None:
        return fields
    near = np.stack([near_outlines([mouth[INNER]], *RESIDUAL_PX) for mouth in fields.mouths])
    masks = fields.masks.copy()
    masks[:, -1] *= near
    masks[:, :-1] *= ((1 - masks[:, -1]) / np.maximum(1e-6, 1 - fields.masks[:, -1]))[:, None]
    return replace(fields, masks=masks)


def near_outlines(outlines: Iterable[Points], near_px: float, far_px: float) -> Floats:
    """Return (64, 96) of the region: 1 inside outlines (n, 2) and up to ``near_px`` away, 0 from ``far_px`` on."""
    outside = np.full((REGION_HEIGHT, REGION_WIDTH), 1, np.uint8)
    for outline in outlines:
        cv2.fillPoly(outside, [np.rint(outline - (REGION_LEFT, REGION_TOP)).astype(np.int32)], 0)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
    return np.asarray(smoothstep((far_px - distance) / (far_px - near_px)), np.float32)


def merge_copies(fields: WarpFields, slots: list[int]) -> tuple[Floats, Floats]:
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
    side = smoothstep(np.minimum(x - REGION_LEFT, right - x) / BLEND_SIDE_PX)
    mask: Floats = side * smoothstep((y - REGION_TOP) / BLEND_TOP_PX) * smoothstep((bottom - y) / BLEND_BOTTOM_PX)
    return mask


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
