"""The detector and the landmarker: which networks find faces and place their 68 landmarks.

Everything that looks at faces is given one :class:`FaceModels`. There are two: ``paper``, HOG and dlib's 68 landmarks
as in Sect. 4, and ``mesh``, BlazeFace and MediaPipe's face mesh, which find faces at any tilt. Landmarks of the two
differ by about 5 % of the eye distance, so stores, caches and weights name theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol, get_args

import numpy as np

from speech2vid.constants import Landmarks
from speech2vid.errors import ConfigError
from speech2vid.faces.blaze import BlazeFaceDetector
from speech2vid.faces.detect import HogDetector
from speech2vid.faces.landmarks import DlibLandmarker
from speech2vid.faces.mesh import FaceMeshLandmarker, is_plausible_face, to_68
from speech2vid.types import Face, FaceBox, Floats, Image, Points

SMALLEST = 0.07  # of the image's longer side: BlazeFace looks for faces down to this size, and for smaller ones if none
STEADY_CROPS = 3  # averaged: 0.0032 of the eye distance from frame to frame, one crop 0.0049
MIN_MESH_SCORE = 0.5
OUTER_CORNERS = (36, 45)  # of the eyes
BOX_SCALE = 1.12  # side of BlazeFace's box over the extent of the 68 points


class Detector(Protocol):
    """Finds faces in an image."""

    @property
    def name(self) -> str:
        """Return the name that records and messages give it."""
        ...

    @property
    def version(self) -> str:
        """Return a version that changes whenever other faces or boxes are found."""
        ...

    def detect(self, image: Image) -> list[FaceBox]:
        """Return the faces of an image (H, W, 3) uint8 RGB in its pixels, largest first; empty without any."""
        ...


class Landmarker(Protocol):
    """Places the 68 landmarks of iBUG's scheme on a face."""

    @property
    def name(self) -> str:
        """Return the name that stores, caches, weights and messages give it."""
        ...

    @property
    def version(self) -> str:
        """Return a version that changes whenever the landmarks change."""
        ...

    def landmarks(self, image: Image, box: FaceBox, *, steady: bool = False) -> Points | None:
        """Return the landmarks of the face in a box.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: the face, in source pixels, with its tilt.
            steady: less jitter at several times the cost.

        Returns:
            (68, 2) float32, source pixels; None if the points do not have the shape of a face.
        """
        ...

    def box_of(self, landmarks: Points) -> FaceBox:
        """Return the box of a face with these landmarks, to look for it in the next frame without a detection."""
        ...


@dataclass(frozen=True)
class FaceModels:
    """A detector and a landmarker that go together."""

    detector: Detector
    landmarker: Landmarker

    @property
    def detector_id(self) -> str:
        """Return name and version of the detector, as records store them."""
        return f"{self.detector.name} {self.detector.version}"

    @property
    def landmarker_id(self) -> str:
        """Return name and version of the landmarker, as stores and weights record them."""
        return f"{self.landmarker.name} {self.landmarker.version}"

    def find(self, image: Image) -> list[Face]:
        """Return every face of an image, largest first; what does not have the shape of a face is left out."""
        placed = [(box, self.landmarker.landmarks(image, box)) for box in self.detector.detect(image)]
        return [Face(box, points) for box, points in placed if points is not None]


class BlazeBoxes:
    """Find faces of any tilt with BlazeFace."""

    name, version = "blazeface", "1"

    def __init__(self) -> None:
        self._detector = BlazeFaceDetector()

    def detect(self, image: Image) -> list[FaceBox]:
        """Return the faces of an image, largest first; see :class:`Detector`."""
        found = self._detector.detect(image, smallest_px=SMALLEST * max(image.shape[:2]))
        found = found or self._detector.detect(image)
        return sorted((each.face_box for each in found), key=lambda box: box.area, reverse=True)


class MeshLandmarker:
    """Place the 68 landmarks with MediaPipe's face mesh, upright by the tilt of the box."""

    name, version = "mediapipe-mesh-68", "1"

    def __init__(self) -> None:
        self._mesh = FaceMeshLandmarker()

    def landmarks(self, image: Image, box: FaceBox, *, steady: bool = False) -> Points | None:
        """Return the landmarks of the face in a box, None for an implausible shape; see :class:`Landmarker`."""
        found = self.mesh(image, box, STEADY_CROPS if steady else 1)
        return None if found is None else to_68(found)

    def mesh(self, image: Image, box: FaceBox, shifts: int = 1) -> Floats | None:
        """Return the face mesh in a box, (478, 3) px; None for an implausible shape.

        Args:
            image, box: as :meth:`landmarks`.
            shifts: crops to average.
        """
        found = self._mesh.landmarks(image, box, shifts=shifts)
        return found.points if found.score >= MIN_MESH_SCORE and is_plausible_face(found.points) else None

    def box_of(self, landmarks: Points) -> FaceBox:
        """Return the square that BlazeFace would have found, and its tilt; see :class:`Landmarker`."""
        across = landmarks[OUTER_CORNERS[1]] - landmarks[OUTER_CORNERS[0]]
        angle = float(np.arctan2(across[1], across[0]))
        to_image = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        upright = landmarks.astype(np.float64) @ to_image
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = to_image @ ((low + high) / 2)
        half = BOX_SCALE * float((high - low).max()) / 2
        return FaceBox(x - half, y - half, x + half, y + half, roll_deg=float(np.degrees(angle)))


PAPER = FaceModels(HogDetector(), DlibLandmarker())  # both load their files when they are first used


@cache
def mesh_landmarker() -> MeshLandmarker:
    """Return the landmarker of ``mesh``, loaded once; WeightsError if a file is missing or damaged."""
    return MeshLandmarker()


@cache
def _mesh() -> FaceModels:
    return FaceModels(BlazeBoxes(), mesh_landmarker())


def face_models(landmarks: str | FaceModels | None = None) -> FaceModels:
    """Return the detector and landmarker that ``--landmarks`` names.

    Args:
        landmarks: ``paper`` (HOG and dlib's 68 landmarks), ``mesh`` (BlazeFace and face mesh), or models of your own;
            None for ``paper``.

    Raises:
        ConfigError: an unknown name.
        WeightsError: a file of ``mesh`` is missing or damaged.
    """
    if isinstance(landmarks, FaceModels):
        return landmarks
    name = "paper" if landmarks is None else landmarks
    if name not in get_args(Landmarks):
        raise ConfigError(f"landmarks cannot be {name!r}", f"choose from: {', '.join(get_args(Landmarks))}")
    return _mesh() if name == "mesh" else PAPER
