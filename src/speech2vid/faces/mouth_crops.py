"""Aligned faces → what the sync network sees: movement, in small grey images and landmarks of mouth and chin."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import MOUTH_POINTS
from speech2vid.types import Floats, Frames, Image, Points

REGION = (slice(48, 112), slice(8, 104))  # rows and columns of the 112 px face: nose tip to chin
CROP_ROWS, CROP_COLUMNS = 32, 48
CHIN_POINTS = slice(4, 13)
MEAN_FRAMES = 75  # movement is what is left without the mean over 3 s
GREY_UNIT, POINT_UNIT_PX = 25.0, 2.0  # typical sizes of movement
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def mouth_crop(face: Image) -> NDArray[np.uint8]:
    """The lower half of an aligned face, (112, 112, 3) uint8 RGB, as (32, 48) uint8 grey."""
    grey = face[REGION].astype(np.float32) @ _LUMINANCE
    small = cv2.resize(grey, (CROP_COLUMNS, CROP_ROWS), interpolation=cv2.INTER_AREA)
    return np.asarray(small.round().clip(0, 255), np.uint8)


def mouth_crops(faces: Frames) -> NDArray[np.uint8]:
    """``mouth_crop`` of (T, 112, 112, 3) faces: (T, 32, 48)."""
    return np.stack([mouth_crop(face) for face in faces])


def crop_motion(crops: NDArray[np.uint8]) -> Floats:
    """(T, 32, 48) grey → what differs from the running mean, (T, 32, 48) float32, of order 1."""
    return without_mean(crops) / np.float32(GREY_UNIT)


def point_motion(landmarks: Points) -> Floats:
    """Landmarks (T, 68, 2) px of the 112 px face → mouth, then chin, less the running mean: (T, 58) of order 1."""
    points = np.concatenate([landmarks[:, MOUTH_POINTS], landmarks[:, CHIN_POINTS]], axis=1)
    return without_mean(points.reshape(len(points), -1)) / np.float32(POINT_UNIT_PX)


def without_mean(values: NDArray[np.generic]) -> Floats:
    """Take the mean over the 75 frames around each frame out of (T, …); at the ends, over the 75 nearest to it."""
    frames = len(values)
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
    width = min(MEAN_FRAMES, frames)
    low = np.clip(np.arange(frames) - width // 2, 0, frames - width)
    return np.asarray(values - (sums[low + width] - sums[low]) / width, np.float32)
