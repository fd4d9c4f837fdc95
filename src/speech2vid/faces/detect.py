"""HOG face detection (Sect. 4), by dlib."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import dlib
import numpy as np

from speech2vid.faces.landmarks import find_landmarks
from speech2vid.types import Face, FaceBox, Image

HOG_THRESHOLD = 0.3  # below it weak false positives appear (slides, textures)
DETECTION_WIDTH_PX = 640  # larger images are searched at this width first; HOG's smallest face is 80 px there
MAX_DETECTION_PX = 2400  # and, when nothing is found, once more at up to this size


@cache
def _hog() -> Any:
    return dlib.get_frontal_face_detector()


def detect_boxes(image: Image, *, threshold: float = HOG_THRESHOLD) -> list[FaceBox]:
    """Find frontal faces with HOG, largest first.

    Args:
        image: (H, W, 3) uint8 RGB.
        threshold: lowest detector score that counts as a face.

    Returns:
        Boxes in source pixels; empty when there is no face.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    for size_px in (DETECTION_WIDTH_PX, MAX_DETECTION_PX):
        scale = min(1.0, size_px / longest)
        upsample = 1 if longest * scale <= DETECTION_WIDTH_PX else 0
        boxes = _detect_at(image, scale, upsample=upsample, threshold=threshold)
        if boxes or longest <= size_px:
            break
    return sorted(boxes, key=lambda box: box.area, reverse=True)


def _detect_at(image: Image, scale: float, *, upsample: int, threshold: float) -> list[FaceBox]:
    small = image
    if scale < 1.0:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    rectangles, scores, _ = _hog().run(np.ascontiguousarray(small), upsample, threshold)
    return [
        FaceBox(r.left() / scale, r.top() / scale, (r.right() + 1) / scale, (r.bottom() + 1) / scale, float(score))
        for r, score in zip(rectangles, scores, strict=True)
    ]


def detect_faces(image: Image, *, threshold: float = HOG_THRESHOLD) -> list[Face]:
    """Find every frontal face with its landmarks, largest first."""
    return [Face(box, find_landmarks(image, box)) for box in detect_boxes(image, threshold=threshold)]
