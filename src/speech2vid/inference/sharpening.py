"""The sharpening network (Sect. 3.3) on generated faces: the whole face, or the mouth alone."""

from __future__ import annotations

from functools import cache
from typing import get_args

import cv2
import numpy as np

from speech2vid.constants import FACE_PX, MOUTH_POINTS, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.faces.align import canonical_points, warp
from speech2vid.geometry import smoothstep
from speech2vid.inference.options import Options, SharpenArea
from speech2vid.runtime.engine import LoadGraph, graph_loader
from speech2vid.runtime.weights import WeightSet, weight_set
from speech2vid.types import Affine, FaceBox, Floats, Frames, Image

SHARPENER = "sharpener"  # architecture
BATCH = 8  # faces computed at once
REACH_PX = 10  # from each pixel, of ten 3×3 convolutions
SHARPEN_AREAS: tuple[str, ...] = get_args(SharpenArea)
TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)
MOUTH_MARGIN_PX, SOFT_PX = 12.0, 6.0  # around the canonical mouth; width of the border over which the effect fades


class Sharpener:
    """The sharpening network, loaded.

    Args:
        weights: a set that holds one.
        load: runs its graph.
        area: ``face``, or ``mouth`` for the mouth and a margin alone.

    Raises:
        WeightsError: neither the set nor the default one holds a sharpener, or it is damaged.
        ConfigError: an unknown area.
    """

    def __init__(self, weights: WeightSet, load: LoadGraph, area: SharpenArea = "face") -> None:
        if area not in SHARPEN_AREAS:
            raise ConfigError(f"sharpen_area cannot be {area!r}", f"choose from: {', '.join(SHARPEN_AREAS)}")
        path = weights.find(SHARPENER)
        if path is None:
            raise WeightsError(
                f"the weights {weights.name} have no sharpening network",
                "give a folder that holds one, such as the weights of speech2vid train sharpener, or leave out "
                "--sharpen",
            )
        self._network = load(path, "sharpen")
        if self._network.header.architecture != SHARPENER:
            raise WeightsError(
                f"{path} holds a {self._network.header.architecture}, not a {SHARPENER}",
                "give the weights of a sharpener, or a folder of them",
            )
        self.area = area
        self.hashes = {SHARPENER: self._network.header.sha256}

    def network(self, faces: Floats) -> Floats:
        """Run the network alone: (N, 3, H, W) RGB in [0, 1] → the same, sharper."""
        return np.asarray(self._network({"frames": faces})["sharpened"], np.float32)

    def faces(self, faces: Frames) -> Frames:
        """Return aligned faces (N, 112, 112, 3) uint8 RGB, sharpened; the border around the target is the edge's."""
        if self.area == "face":
            return sharpened(faces, self)
        return np.asarray(np.rint(faces + self._added(faces)).clip(0, 255), np.uint8)

    def image(self, image: Image, to_face: Affine) -> Image:
        """Return an image (H, W, 3) uint8 RGB with its face sharpened.

        The network sees the aligned 112 px face; what it adds there is added to the image at its own resolution.

        Args:
            to_face: px of the image → px of the 112 px face.
        """
        face = warp(image, to_face, FACE_PX)
        added = self._added(face[None])[0]
        size = image.shape[1], image.shape[0]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        large = cv2.warpAffine(added, to_face, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(np.rint(image + large).clip(0, 255), np.uint8)

    def _added(self, faces: Frames) -> Floats:
        """Return what the network adds within the area, soft at its border: (N, 112, 112, 3) float32."""
        generated = sharpened(faces, self) if self.area == "face" else sharpened_part(faces, mouth_part(), self)
        return area_weight(self.area)[..., None] * (generated.astype(np.float32) - faces)


@cache
def sharpener_for(options: Options, threads: int = 0) -> Sharpener | None:
    """Load the sharpening network, if it is asked for."""
    if not options.sharpen:
        return None
    load = graph_loader(options.device, threads, options.engine)
    return Sharpener(weight_set(options.weights), load, options.sharpen_area)


def area_weight(area: str) -> Floats:
    """Return how much of the effect shows on the aligned face: (112, 112) float32, soft at the border of the area."""
    box = mouth_part() if area == "mouth" else FaceBox(TARGET.start, TARGET.start, TARGET.stop - 1, TARGET.stop - 1)
    at = np.arange(FACE_PX, dtype=np.float64)
    across, down = (
        smoothstep(np.minimum(at - low, high - at) / SOFT_PX)
        for low, high in ((box.left, box.right), (box.top, box.bottom))
    )
    weight = np.asarray(down[:, None] * across[None], np.float32)
    weight.setflags(write=False)
    return weight


def mouth_part() -> FaceBox:
    """Return the box around the canonical mouth, with a margin, px of the 112 px face."""
    points = canonical_points()[MOUTH_POINTS]
    left, top = points.min(axis=0) - MOUTH_MARGIN_PX
    right, bottom = points.max(axis=0) + MOUTH_MARGIN_PX
    return FaceBox(float(left), float(top), float(right), float(bottom))


def sharpened(frames: Frames, sharpener: Sharpener) -> Frames:
    """Return (T, 112, 112, 3) uint8 RGB, sharpened: the exact way, all of the face."""
    faces = frames[:, TARGET, TARGET].transpose(0, 3, 1, 2)
    generated = np.empty_like(faces)
    for first in range(0, len(faces), BATCH):
        block = np.ascontiguousarray(faces[first : first + BATCH], np.float32) / np.float32(255)
        generated[first : first + BATCH] = np.rint(sharpener.network(block) * 255).clip(0, 255)
    border = (TARGET.start, FACE_PX - TARGET.stop)
    return np.pad(generated.transpose(0, 2, 3, 1), ((0, 0), border, border, (0, 0)), mode="edge")


def sharpened_part(frames: Frames, box: FaceBox, sharpener: Sharpener) -> Frames:
    """Return frames of which one part is sharpened, as :func:`sharpened` does it there; the rest stays as it is.

    The network sees ``REACH_PX`` more on each side, so that inside the box nothing differs.

    Args:
        frames: (T, 112, 112, 3) uint8 RGB.
        box: the part, the same in all frames, px; what lies beyond the 109 px target is left out.
        sharpener: the network.
    """
    low, high = TARGET.start, TARGET.stop
    left, right = (min(max(round(edge), low), high) for edge in (box.left, box.right))
    top, bottom = (min(max(round(edge), low), high) for edge in (box.top, box.bottom))
    rows = slice(max(low, top - REACH_PX), min(high, bottom + REACH_PX))
    columns = slice(max(low, left - REACH_PX), min(high, right + REACH_PX))
    inner = np.s_[:, :, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
    generated = frames.copy()
    seen = frames[:, rows, columns].transpose(0, 3, 1, 2)
    for first in range(0, len(frames), BATCH):
        block = np.ascontiguousarray(seen[first : first + BATCH], np.float32) / np.float32(255)
        part = np.rint(sharpener.network(block)[inner] * 255).clip(0, 255).astype(np.uint8)
        generated[first : first + BATCH, top:bottom, left:right] = part.transpose(0, 2, 3, 1)
    return generated
