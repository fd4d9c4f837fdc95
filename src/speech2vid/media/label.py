"""A visible label: small text in the lower right corner of every picture."""

from __future__ import annotations

import cv2
import numpy as np

from speech2vid.records import Image

TEXT = "AI-generated"
CAPITALS_SHARE = 1 / 45  # height of a capital letter over the shorter side of the picture
LEAST_CAPITALS_PX = 10  # the smallest that survives H.264 at its usual quality
PLATE_ALPHA = 0.55


class Label:
    """Draws the label into pictures of one size; what it looks like is computed once.

    Args:
        width_px: of the pictures.
        height_px: of the pictures.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        capitals_px = max(LEAST_CAPITALS_PX, round(min(width_px, height_px) * CAPITALS_SHARE))
        face, thickness = cv2.FONT_HERSHEY_DUPLEX, max(1, round(capitals_px / 14))
        scale = cv2.getFontScaleFromHeight(face, capitals_px, thickness)
        (text_px, high_px), below_px = cv2.getTextSize(TEXT, face, scale, thickness)
        pad = max(3, capitals_px // 2)
        plate = np.zeros((high_px + below_px + pad, text_px + 2 * pad), np.uint8)
        cv2.putText(plate, TEXT, (pad, pad // 2 + high_px), face, scale, 255, thickness, cv2.LINE_AA)
        margin = capitals_px // 2
        plate = plate[-max(1, height_px - margin) :, : max(1, width_px - margin)]  # a picture smaller than the label
        bottom, right = height_px - margin, width_px - margin
        self._at = (slice(bottom - plate.shape[0], bottom), slice(right - plate.shape[1], right))
        text = plate[..., None].astype(np.float32) / 255
        self._kept = (1 - PLATE_ALPHA) * (1 - text)  # white letters on a dark plate that lets the picture through
        self._added = 255 * text

    def __call__(self, image: Image) -> Image:
        """The picture, (H, W, 3) uint8 RGB, with the label; the one given stays as it is."""
        labelled = image.copy()
        corner = labelled[self._at]
        corner[:] = (corner * self._kept + self._added).round()
        return labelled
