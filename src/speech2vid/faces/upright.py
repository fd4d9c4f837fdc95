"""Faces that lie on their side or upside down.

HOG finds upright faces, and on others finds brows or chins; dlib puts landmarks of a face on whatever it is given. So
BlazeFace, which finds faces at any tilt, says how a face lies. Beyond a tilt that HOG and dlib bear, they see a part of
the image turned upright, and the landmarks are turned back: the image itself stays as it is.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from speech2vid.errors import FaceError
from speech2vid.faces.blaze import BlazeFaceDetector
from speech2vid.faces.detect import HogDetector
from speech2vid.faces.face_models import BlazeBoxes, FaceModels
from speech2vid.geometry import invert, transform_points
from speech2vid.media import Source
from speech2vid.types import Affine, Face, FaceBox, Image

MOST_TILT_DEG = 25.0  # HOG and dlib bear it
PATCH_SCALE = 2.4  # side of the part that is turned upright, over that of BlazeFace's box
PATCH_FACE_PX = 300.0  # a larger face is made smaller first
LOOK_SCALE = 2.0  # side of the part in which the tilt of a face is looked up, over that of HOG's box


def find_at_any_tilt(image: Image, models: FaceModels) -> list[Face]:
    """Return the faces of an image, largest first, as ``models.find``, with faces at any tilt.

    Args:
        image: (H, W, 3) uint8 RGB.
        models: detector and landmarker. With a detector other than HOG, its own faces count.

    Returns:
        faces; ``box.roll_deg`` says how a face lies that HOG cannot be trusted with, 0 stands for an upright one.
    """
    faces = models.find(image)
    if not isinstance(models.detector, HogDetector):
        return faces
    tilted = [box for box in _blaze().detect(image) if abs(box.roll_deg) > MOST_TILT_DEG]
    if not tilted:
        return faces
    upright = [face for face in faces if not any(_is_same(face.box, box) for box in tilted)]
    turned = [face for box in tilted if (face := _turned_face(image, box, models)) is not None]
    return sorted([*upright, *turned], key=lambda face: face.box.area, reverse=True)


def require_upright(face: Face, video: Source, models: FaceModels) -> None:
    """Raise a ``FaceError`` for a face of a video that HOG and dlib cannot follow because of its tilt."""
    if isinstance(models.detector, HogDetector) and face.box.roll_deg:
        raise FaceError(
            f"the face in {video} is tilted by {abs(face.box.roll_deg):.0f}°",
            "turn the video upright, or use --landmarks mesh",
        )


def is_tilted(image: Image, box: FaceBox, models: FaceModels) -> bool:
    """Return whether the face that HOG found in a box is tilted too far for its landmarks to be trusted."""
    if not isinstance(models.detector, HogDetector):
        return False
    patch, to_patch = _turned_patch(image, box, 0.0, LOOK_SCALE)
    corners = transform_points(to_patch, np.array([[box.left, box.top], [box.right, box.bottom]]))
    place = FaceBox(*(float(value) for value in corners.ravel()))
    found = [each.face_box for each in _detector().detect(patch)]
    return any(abs(each.roll_deg) > MOST_TILT_DEG and _is_same(place, each) for each in found)


@cache
def _blaze() -> BlazeBoxes:
    return BlazeBoxes()


@cache
def _detector() -> BlazeFaceDetector:
    return BlazeFaceDetector()


def _turned_face(image: Image, box: FaceBox, models: FaceModels) -> Face | None:
    """Return the face that HOG and dlib see in a tilted box once it is upright; None if they see none."""
    patch, to_patch = _turned_patch(image, box, box.roll_deg, PATCH_SCALE)
    middle = np.array(patch.shape[1::-1]) / 2
    for face in models.find(patch):
        if face.box.left < middle[0] < face.box.right and face.box.top < middle[1] < face.box.bottom:
            return Face(box, transform_points(invert(to_patch), face.landmarks))
    return None


def _turned_patch(image: Image, box: FaceBox, roll_deg: float, scale: float) -> tuple[Image, Affine]:
    """Return the part of an image round a box, turned upright, and the transform of its pixels to the part's."""
    side = max(box.right - box.left, box.bottom - box.top)
    factor = min(1.0, PATCH_FACE_PX / side)
    size = max(1, round(scale * side * factor))
    angle = np.radians(roll_deg)
    turn = factor * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array([box.left + box.right, box.top + box.bottom]) / 2
    to_patch = np.column_stack([turn, (size - 1) / 2 - turn @ centre])
    smaller = cv2.INTER_AREA if factor < 0.5 else cv2.INTER_LINEAR
    patch = cv2.warpAffine(image, to_patch, (size, size), flags=smaller, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.uint8), to_patch


def _is_same(one: FaceBox, other: FaceBox) -> bool:
    """Return whether the middle of either box lies in the other."""
    return _holds(one, other) or _holds(other, one)


def _holds(box: FaceBox, other: FaceBox) -> bool:
    x, y = (other.left + other.right) / 2, (other.top + other.bottom) / 2
    return box.left < x < box.right and box.top < y < box.bottom
