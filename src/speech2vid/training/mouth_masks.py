"""Mouth landmarks in training: lip opening, masks of the mouth, mirror images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speech2vid.constants import (
    FACE_PX,
    INNER_BOTTOM,
    INNER_TOP,
    LANDMARKS,
    MOUTH_POINTS,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
)
from speech2vid.models.warp_decoder import inside_mouth, region_grid
from speech2vid.types import Frames, Points

TOP = [point - MOUTH_POINTS.start for point in INNER_TOP]
BOTTOM = [point - MOUTH_POINTS.start for point in INNER_BOTTOM]
REGION = np.s_[..., REGION_TOP : REGION_TOP + REGION_HEIGHT, REGION_LEFT : REGION_LEFT + REGION_WIDTH]
REGION_RGB = (*REGION, slice(None))  # the same of (..., H, W, 3)
MARGIN_PX = (4.0, 4.0, 4.0, 6.0)  # around the landmarks: left, top, right, bottom
EMPHASIS, INSIDE = 6.0, 10.0  # weight of the mouth, and what is added between the lips


def _mirror_order() -> NDArray[np.int64]:
    order = np.arange(LANDMARKS)
    pairs = [(i, 16 - i) for i in range(8)] + [(17 + i, 26 - i) for i in range(5)]  # jaw, brows
    pairs += [(31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]  # nose, eyes
    pairs += [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]  # mouth
    for one, other in pairs:
        order[[one, other]] = order[[other, one]]
    return order


MIRROR = _mirror_order()
MIRROR_MOUTH = MIRROR[MOUTH_POINTS] - MOUTH_POINTS.start


def mirrored(frames: Frames, landmarks: Points) -> tuple[Frames, Points]:
    """Return aligned faces (T, 112, 112, 3) and landmarks (T, 68, 2) with left and right exchanged."""
    turned = landmarks[:, MIRROR]
    turned[..., 0] = FACE_PX - 1 - turned[..., 0]
    return frames[:, :, ::-1], turned


def opening(mouths: Tensor) -> Tensor:
    """Return the mean distance of the inner lips: (..., 20, 2) px → (...)."""
    gap: Tensor = (mouths[..., TOP, :] - mouths[..., BOTTOM, :]).norm(dim=-1).mean(-1)
    return gap


def vertical_opening(mouths: Any) -> Any:
    """Return how far the lower inner lip lies below the upper one: (..., 20, 2) px → (...), array or tensor.

    Unlike :func:`opening` it is linear and has a sign: it also holds for mouth motion, relative to any mouth.
    """
    heights = mouths[..., 1]
    return heights[..., BOTTOM].mean(-1) - heights[..., TOP].mean(-1)


def emphasis(mouths: Tensor) -> Tensor:
    """Return the weight of each pixel of the region for mouths (N, 20, 2): (N, 1, 64, 96).

    1 far from the mouth, 6 at it, 16 between the lips, which no still shows and which are few pixels.
    """
    around = functional.avg_pool2d(mouth_box(mouths), 7, 1, 3)
    inner_mouth_mask = functional.max_pool2d(inner_mouth(mouths), 3, 1, 1)
    return 1.0 + (EMPHASIS - 1.0) * around + INSIDE * inner_mouth_mask


def inner_mouth(mouths: Tensor) -> Tensor:
    """Return how far each pixel of the region lies between the inner lips: (N, 20, 2) → (N, 1, 64, 96) in [0, 1]."""
    return inside_mouth(mouths, _grid(mouths))


def mouth_box(mouths: Tensor) -> Tensor:
    """Return (N, 1, 64, 96): 1 in the box around each mouth (N, 20, 2) of the region, 0 outside."""
    left, top, right, bottom = MARGIN_PX
    low = mouths.amin(1) - mouths.new_tensor([left, top])
    high = mouths.amax(1) + mouths.new_tensor([right, bottom])
    grid = _grid(mouths)[None]
    return ((grid > low[:, None, None]) & (grid < high[:, None, None])).all(-1)[:, None].to(torch.float32)


def _grid(mouths: Tensor) -> Tensor:
    return region_grid(REGION_HEIGHT, REGION_WIDTH, mouths.device)
