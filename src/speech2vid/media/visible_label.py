"""A visible label: small text in the lower right corner of every image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.types import Image

TEXT = "AI-generated"
CAPITALS_SHARE = 1 / 45  # height of a capital letter over the shorter side of the image
LEAST_CAPITALS_PX = 10  # the smallest that survives H.264 at its usual quality
PLATE_ALPHA = 0.55


class VisibleLabel:
    """Draws the label into images of one size; what it looks like is computed once.

    Args:
        width_px: of the images.
        height_px: of the images.

    Attributes:
        box: left, top, right, bottom of what is drawn on, px, half-open; left and top are even.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        capitals_px = max(LEAST_CAPITALS_PX, round(min(width_px, height_px) * CAPITALS_SHARE))
        face, thickness = cv2.FONT_HERSHEY_DUPLEX, max(1, round(capitals_px / 14))
        scale = cv2.getFontScaleFromHeight(face, capitals_px, thickness)
        (text_px, high_px), below_px = cv2.getTextSize(TEXT, face, scale, thickness)
        pad = max(3, capitals_px // 2)
        margin = capitals_px // 2
        right, bottom = max(1, width_px - margin), max(1, height_px - margin)
        left, top = (max(0, right - text_px - 2 * pad) // 2 * 2, max(0, bottom - high_px - below_px - pad) // 2 * 2)
        self.box = (left, top, right, bottom)
        plate = np.zeros((bottom - top, right - left), np.uint8)  # a small image gets the end of it
        baseline = (right - left - pad - text_px, bottom - top - below_px - pad // 2)
        cv2.putText(plate, TEXT, baseline, face, scale, 255, thickness, cv2.LINE_AA)
        text = plate[..., None].astype(np.float32) / 255
        self._kept = (1 - PLATE_ALPHA) * (1 - text)  # white letters on a dark plate that lets the image through
        self._added = 255 * text

    def __call__(self, image: Image) -> Image:
        """The image, (H, W, 3) uint8 RGB, with the label; the one given stays as it is."""
        left, top, right, bottom = self.box
        labelled = image.copy()
        labelled[top:bottom, left:right] = self.corner(image[top:bottom, left:right]).round()
        return labelled

    def corner(self, under: Image) -> NDArray[np.float32]:
        """What the box shows: (h, w, 3) float32 RGB, from what it would show without the label."""
        return np.asarray(under * self._kept + self._added, np.float32)
