"""Which of the faces in an image is meant."""

from __future__ import annotations

from speech2vid.errors import FaceError
from speech2vid.faces.face_models import PAPER, FaceModels
from speech2vid.faces.face_quality import turn
from speech2vid.faces.upright import find_at_any_tilt
from speech2vid.media import Source
from speech2vid.types import Face, Image

ALIKE = 0.7  # a second face of this share of the largest one's area could be meant just as well
MOST_TURNED = 0.95  # about 50° of yaw; beyond it the landmarks of the far side of the face are guesses
UNCOVERED = "use an image in which the whole face is visible, uncovered and at least 80 pixels wide"
LOOK = "use an image in which the face looks at the camera, upright and at least 80 pixels wide"


def faces_from_left(image: Image, models: FaceModels = PAPER) -> list[Face]:
    """Return the faces of an image, (H, W, 3) uint8 RGB, at any tilt, in the order of ``face_index``."""
    return sorted(find_at_any_tilt(image, models), key=lambda face: face.box.left + face.box.right)


def choose_face(image: Image, where: Source | str, face_index: int | None = None, models: FaceModels = PAPER) -> Face:
    """Find the faces of an image and choose one: the largest, or the one asked for.

    Args:
        image: (H, W, 3) uint8 RGB.
        where: the image's name, for messages.
        face_index: which face, counted from the left, the leftmost being 0.
        models: detector and landmarker.

    Raises:
        FaceError: no frontal face; landmarks that do not have the shape of a face; several faces of nearly equal size
            and no ``face_index``; no face of that index; the face is turned too far.
    """
    from_left = faces_from_left(image, models)
    if not from_left and models.detector.detect(image):
        raise FaceError(f"the landmarks found in {where} do not have the shape of a face", UNCOVERED)
    if not from_left:
        raise FaceError(f"no frontal face was found in {where}", LOOK)

    def area(face: Face) -> float:
        """Return the area of the landmarks' box: detector boxes come in steps of a fifth."""
        return models.landmarker.box_of(face.landmarks).area

    if face_index is not None:
        if not 0 <= face_index < len(from_left):
            raise FaceError(
                f"{where} has no face {face_index}; faces found: {len(from_left)}",
                f"--face-index counts from 0 to {len(from_left) - 1}, from the left",
            )
        chosen = from_left[face_index]
    else:
        by_size = sorted(from_left, key=area, reverse=True)
        chosen = by_size[0]
        alike = [face for face in from_left if area(face) >= ALIKE * area(chosen)]
        if len(alike) > 1:
            indices = ", ".join(str(from_left.index(face)) for face in alike)
            raise FaceError(
                f"{where} shows {len(alike)} faces of about the same size",
                f"choose one with --face-index, counted from the left: {indices}",
            )
    if turn(chosen.landmarks) > MOST_TURNED:
        raise FaceError(f"the face in {where} is turned too far to the side", LOOK)
    return chosen
