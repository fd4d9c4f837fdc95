"""The 68 landmarks of a face (Sect. 4), by dlib."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import dlib
import numpy as np

from speech2vid.constants import LANDMARKS, PAPER_LANDMARKS
from speech2vid.faces.dlib_models import LANDMARKS_FILE, model_path
from speech2vid.types import FaceBox, Image, Points

STEADY_SHIFTS = ((0.0, 0.0), (0.04, 0.0), (-0.04, 0.0), (0.0, 0.04), (0.0, -0.04))  # in widths of the box


@cache
def _shape_predictor() -> Any:
    return dlib.shape_predictor(str(model_path(LANDMARKS_FILE)))


class DlibLandmarker:
    """Place the 68 landmarks with dlib's regressor. Its model excludes commercial use (iBUG 300-W)."""

    name, version = PAPER_LANDMARKS.split()

    def landmarks(self, image: Image, box: FaceBox, *, steady: bool = False) -> Points:
        """Return the landmarks of the upright face in a box; see :class:`speech2vid.faces.Landmarker`.

        The regressor sees a patch scaled so that the face is at most about 200 px wide: the cost and the result are the
        same for a 50-megapixel photo as for its thumbnail. ``steady`` averages over five slightly shifted boxes: five
        times the cost, about half the jitter. Whatever is in the box gets landmarks.
        """
        height, width = image.shape[:2]
        margin = 0.5 * max(box.right - box.left, box.bottom - box.top)
        left, top = max(0, int(box.left - margin)), max(0, int(box.top - margin))
        right, bottom = min(width, int(box.right + margin) + 1), min(height, int(box.bottom + margin) + 1)
        patch = image[top:bottom, left:right]
        scale = min(1.0, 200.0 / max(1.0, box.right - box.left))
        if scale < 1.0:
            patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
        patch = np.ascontiguousarray(patch)
        boxes = [_shifted(box, dx, dy) for dx, dy in STEADY_SHIFTS] if steady else [box]
        points = np.mean([_regress(patch, each, scale, left, top) for each in boxes], axis=0)
        # dlib's pixel centres are whole numbers, as are ours: undo the area-resize convention and the crop
        return np.asarray((points + 0.5) / scale - 0.5 + (left, top), np.float32)

    def box_of(self, landmarks: Points) -> FaceBox:
        """Return the box for the next frame, see :func:`box_of_landmarks`."""
        return box_of_landmarks(landmarks)


def _regress(patch: Image, box: FaceBox, scale: float, left: int, top: int) -> Points:
    """Landmarks in the pixels of a patch that was cut out at (left, top) and scaled; ``box`` is in source pixels."""
    rectangle = dlib.rectangle(
        round((box.left - left) * scale),
        round((box.top - top) * scale),
        round((box.right - left) * scale) - 1,
        round((box.bottom - top) * scale) - 1,
    )
    shape = _shape_predictor()(patch, rectangle)
    return np.array([(shape.part(i).x, shape.part(i).y) for i in range(LANDMARKS)], np.float32)


def box_of_landmarks(points: Points) -> FaceBox:
    """Return the box that HOG would have found round these landmarks: the next frame needs no detection.

    HOG boxes are square, centred a tenth above the middle of the landmarks, and a little larger than their extent.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).mean())
    centre_x, centre_y = (low + high) / 2 - (0.0, 0.10 * extent)
    half = 0.535 * extent  # both constants: mean over HOG boxes of the training faces
    return FaceBox(centre_x - half, centre_y - half, centre_x + half, centre_y + half)


def _shifted(box: FaceBox, dx: float, dy: float) -> FaceBox:
    """The box moved by a share of its width and height."""
    x, y = dx * (box.right - box.left), dy * (box.bottom - box.top)
    return FaceBox(box.left + x, box.top + y, box.right + x, box.bottom + y, box.score)
