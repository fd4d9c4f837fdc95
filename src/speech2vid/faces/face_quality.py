"""How open the mouth is, how far the head is turned, how sharp the image is: what stills are chosen by."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import INNER_BOTTOM, INNER_TOP
from speech2vid.types import Image, Points

NOSE_TIP = 30
CHEEK_SPOTS, CHEEK_SHARE, CHEEK_PX = ((2, 31), (14, 35)), 0.55, 6  # between jaw and nose, nearer the jaw; radius
CHEEKS = (1, 15)  # jaw points next to the eyes


def lip_opening(landmarks: Points) -> NDArray[np.float32]:
    """Mean distance of the inner lips at their three middle pairs, in the landmarks' pixels: (..., 68, 2) → (...)."""
    gap = landmarks[..., INNER_TOP, :] - landmarks[..., INNER_BOTTOM, :]
    opening: NDArray[np.float32] = np.linalg.norm(gap, axis=-1).mean(axis=-1)
    return opening


def turn(landmarks: Points) -> float:
    """How far the head is turned sideways, (68, 2): 0 frontal, towards 1 when the nose reaches the edge of the face."""
    right, left = landmarks[list(CHEEKS)].astype(np.float64)
    across = left - right
    middle = float((landmarks[NOSE_TIP] - right) @ across / max(1e-9, float(across @ across)))
    return abs(2.0 * middle - 1.0)


def cheek_pixels(image: NDArray[np.uint8], landmarks: Points) -> NDArray[np.uint8]:
    """Return the pixels of both cheeks, next to the nose: aligned face (112, 112[, 3]), (68, 2) → (n[, 3])."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for jaw, nose in CHEEK_SPOTS:
        x, y = np.rint(CHEEK_SHARE * landmarks[jaw] + (1 - CHEEK_SHARE) * landmarks[nose]).astype(int).tolist()
        cv2.circle(mask, (x, y), CHEEK_PX, 1, -1)
    return image[mask > 0]


def sharpness(image: Image) -> float:
    """Root mean square of the Laplacian over contrast, of an aligned face (H, W, 3): does not depend on exposure."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / (grey.std() + 1.0))
