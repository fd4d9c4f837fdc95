"""Frames of a photo whose head moves: eyelids drawn, mouth laid in, then one resampling of the moving region.

The photo is kept at twice its density: bilinear sampling of it is as sharp as bicubic sampling of the photo, at a
fifth of the cost, and hardly changes its sharpness as the head passes from one pixel to the next.
"""

from __future__ import annotations

import cv2
import numpy as np

from speech2vid.faces.head_motion import EYELIDS, HEAD
from speech2vid.geometry import remapped
from speech2vid.inference.head.eyelids import Eyelids
from speech2vid.inference.head.proxy import head_fields, head_shape, moving_box
from speech2vid.inference.talkers.base import Identity
from speech2vid.types import Floats, Image

DENSER = 2
MARGIN = 4  # px around a patch that its upsampling looks at


class HeadRenderer:
    """Moves the head of an identity.

    Args:
        identity: with a scene.

    Attributes:
        corner: left and top of the part of the canvas that moves.
        size: its width and height.
    """

    def __init__(self, identity: Identity) -> None:
        scene = identity.scene
        assert scene is not None
        offset, canvas = np.array(scene.corner), np.array(identity.canvas.shape[1::-1])
        shape = head_shape(scene.image, scene.landmarks)
        low, high = (np.array(each) - offset for each in moving_box(scene.image.shape[:2], shape))
        low = np.clip(low, 0, canvas - 1)
        high = np.clip(high, low + 1, canvas)
        self.corner, self.size = (int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1]))
        first, last = low + offset, high + offset
        fields = head_fields(scene.image.shape[:2], shape, (int(first[0]), int(first[1])), self.size)
        self._offset = scene.corner
        self._eyelids, self._closing = Eyelids(scene.image, shape), np.zeros(2, np.float32)
        # four channels are sampled fastest
        self._image: Image = np.asarray(cv2.cvtColor(scene.image, cv2.COLOR_RGB2RGBA), np.uint8)
        self._dense = _denser(self._image)
        self._basis = fields.basis * np.float32(fields.amplitude)
        rows, columns = self._basis.shape[1:3]
        at = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
        self._cells = np.stack(at, axis=-1)
        self._cells_per_px = np.array([columns / self.size[0], rows / self.size[1]], np.float32)
        grid = np.meshgrid(*(np.arange(*ends, dtype=np.float32) for ends in zip(first, last, strict=True)))
        self._grid = np.stack(grid, axis=-1) * DENSER + np.float32((DENSER - 1) / 2)
        # new arrays of this size would cost as much as what is written into them
        self._at: Floats = np.empty_like(self._grid)
        self._moved: Image = np.empty((*self._grid.shape[:2], 4), np.uint8)

    def __call__(self, motion: Floats, part: Image, corner: tuple[int, int]) -> Image:
        """Return the part of a frame that moves: (h, w, 3) uint8 RGB.

        Args:
            motion: a row of head motion.
            part: what is generated for the frame, (h, w, 3) uint8 RGB, laid over the canvas before it moves.
            corner: left and top of it on the canvas.
        """
        closing = motion[EYELIDS]
        if (closing != self._closing).any():
            self._closing = closing.copy()
            for image, (left, top) in self._eyelids.patches(closing):
                self._lay_in(image, left, top)
        self._lay_in(part, corner[0] + self._offset[0], corner[1] + self._offset[1])
        cv2.resize(self._sources(motion[HEAD]), self.size, dst=self._at, interpolation=cv2.INTER_LINEAR)
        cv2.add(self._grid, self._at, dst=self._at)
        remapped(self._dense, self._at, out=self._moved)
        return np.asarray(cv2.cvtColor(self._moved, cv2.COLOR_RGBA2RGB), np.uint8)

    def _sources(self, pose: Floats) -> Floats:
        """Return how far away each cell is sampled, (h, w, 2) px of the dense photo."""
        moved = np.tensordot(pose, self._basis, 1)
        back = self._cells - moved * self._cells_per_px  # the head that is seen in a cell came from there
        return np.asarray(remapped(moved, back) * np.float32(-DENSER), np.float32)

    def _lay_in(self, image: Image, left: int, top: int) -> None:
        """Lay an image over the photo at both densities."""
        height, width = self._image.shape[:2]
        bottom, right = top + image.shape[0], left + image.shape[1]
        self._image[top:bottom, left:right] = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
        above, before = max(0, top - MARGIN), max(0, left - MARGIN)
        dense = _denser(self._image[above : min(height, bottom + MARGIN), before : min(width, right + MARGIN)])
        y, x = DENSER * (top - above), DENSER * (left - before)
        part = dense[y : y + DENSER * image.shape[0], x : x + DENSER * image.shape[1]]
        self._dense[DENSER * top : DENSER * bottom, DENSER * left : DENSER * right] = part


def _denser(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=DENSER, fy=DENSER, interpolation=cv2.INTER_CUBIC), np.uint8)
