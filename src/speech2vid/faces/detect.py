"""HOG face detection (Sect. 4), by dlib."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import dlib
import numpy as np

from speech2vid.types import FaceBox, Image

HOG_THRESHOLD = 0.3  # below it weak false positives appear (slides, textures)
DETECTION_WIDTH_PX = 640  # larger images are searched at this width first; HOG's smallest face is 80 px there
MAX_DETECTION_PX = 2400  # and, when nothing is found, once more at up to this size


@cache
def _hog() -> Any:
    return dlib.get_frontal_face_detector()


class HogDetector:
    """Find upright, frontal faces with HOG."""

    name, version = "dlib-hog", "1"

    def detect(self, image: Image) -> list[FaceBox]:
        """Return the faces of an image, largest first; see :class:`speech2vid.faces.Detector`."""
        height, width = image.shape[:2]
        longest = max(height, width)
        for size_px in (DETECTION_WIDTH_PX, MAX_DETECTION_PX):
            scale = min(1.0, size_px / longest)
            upsample = 1 if longest * scale <= DETECTION_WIDTH_PX else 0
            boxes = _detect_at(image, scale, upsample=upsample)
            if boxes or longest <= size_px:
                break
        return sorted(boxes, key=lambda box: box.area, reverse=True)


def _detect_at(image: Image, scale: float, *, upsample: int) -> list[FaceBox]:
    small = image
    if scale < 1.0:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    rectangles, scores, _ = _hog().run(np.ascontiguousarray(small), upsample, HOG_THRESHOLD)
    return [
        FaceBox(r.left() / scale, r.top() / scale, (r.right() + 1) / scale, (r.bottom() + 1) / scale, float(score))
        for r, score in zip(rectangles, scores, strict=True)
    ]
