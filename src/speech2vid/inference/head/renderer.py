"""Frames of a photo whose head moves: eyelids drawn, mouth laid in, then one resampling of what moves."""

from __future__ import annotations

import cv2
import numpy as np

from speech2vid.faces.head_motion import EYELIDS, HEAD
from speech2vid.inference.head.eyelids import Eyelids
from speech2vid.inference.head.proxy import head_fields, head_shape
from speech2vid.inference.talkers.base import Identity
from speech2vid.types import Floats, Image


class HeadRenderer:
    """Moves the head of an identity.

    Args:
        identity: with a scene.

    Attributes:
        corner: left and top of the part of the canvas that moves.
        size: its width and height.
    """

    def __init__(self, identity: Identity) -> None:
        assert identity.scene is not None
        scene = identity.scene
        height, width = scene.image.shape[:2]
        shape = head_shape(scene.image, scene.landmarks)
        fields = head_fields((height, width), shape)
        self._image = np.array(scene.image)
        self._offset = np.array(scene.corner)
        self._eyelids = Eyelids(scene.image, shape)
        self._basis, self._amplitude = fields.basis, fields.amplitude
        rows, columns = self._basis.shape[1:3]
        at = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        self._cells = np.stack(at, axis=-1)
        whole = fields.right - fields.left, fields.bottom - fields.top
        self._cells_per_px = np.array([columns / whole[0], rows / whole[1]], np.float32)
        # the part that is shown: what moves, as far as it lies on the canvas
        canvas = identity.canvas.shape[1::-1]
        low = np.clip(np.array([fields.left, fields.top]) - self._offset, 0, np.array(canvas) - 1)
        high = np.clip(np.array([fields.right, fields.bottom]) - self._offset, low + 1, canvas)
        self.corner, self.size = (int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1]))
        first = low + self._offset
        grid = np.meshgrid(*(np.arange(f, f + s, dtype=np.float32) for f, s in zip(first, self.size, strict=True)))
        self._grid = np.stack(grid, axis=-1)
        # px of the part → cells of the grid, middles of pixels and cells being whole numbers
        start = (first + 0.5 - (fields.left, fields.top)) * self._cells_per_px - 0.5
        self._to_cells = np.array([[self._cells_per_px[0], 0, start[0]], [0, self._cells_per_px[1], start[1]]])

    def __call__(self, motion: Floats, part: Image, corner: tuple[int, int]) -> Image:
        """Return the part of a frame that moves: (h, w, 3) uint8 RGB.

        Args:
            motion: a row of head motion.
            part: what is generated for the frame, (h, w, 3) uint8 RGB, laid over the canvas before it moves.
            corner: left and top of it on the canvas.
        """
        on_scene = corner[0] + int(self._offset[0]), corner[1] + int(self._offset[1])
        for image, (left, top) in [*self._eyelids.patches(motion[EYELIDS]), (part, on_scene)]:
            self._image[top : top + image.shape[0], left : left + image.shape[1]] = image
        at = cv2.add(self._grid, self._sources(motion[HEAD]))
        moved = cv2.remap(self._image, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    def _sources(self, pose: Floats) -> Floats:
        """Return how far away each pixel of the part is sampled, (h, w, 2) px."""
        moved = np.tensordot(pose * np.float32(self._amplitude), self._basis, 1)
        back = self._cells - moved * self._cells_per_px  # the head that is seen in a cell came from there
        moved = cv2.remap(moved, back, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        large = cv2.warpAffine(-moved, self._to_cells, self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(large, np.float32)
