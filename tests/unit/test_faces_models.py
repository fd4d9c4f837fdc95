"""Both pairs of detector and landmarker keep one contract; ``mesh`` finds faces at any tilt and never needs dlib."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.constants import LANDMARKS, PAPER_LANDMARKS
from speech2vid.errors import ConfigError
from speech2vid.faces import FaceModels, align, aligned_track, canonical_points, face_models
from speech2vid.faces.track import overlap
from speech2vid.media import load_photo
from speech2vid.types import Image

NAMES = ("paper", "mesh")


@pytest.fixture(scope="module")
def portrait(photo: Path) -> Image:
    return load_photo(photo)[:320, 40:400]


@pytest.fixture(scope="module", params=NAMES)
def models(request: pytest.FixtureRequest) -> FaceModels:
    return face_models(request.param)


def turned(image: Image, degrees: float) -> Image:
    """The image turned clockwise by some degrees about its centre, its border repeated."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def test_one_face_is_found_with_its_landmarks(models: FaceModels, portrait: Image) -> None:
    (face,) = models.find(portrait)
    assert face.landmarks.shape == (LANDMARKS, 2)
    assert face.landmarks.dtype == np.float32
    assert abs(face.box.roll_deg) < 10
    error_px = np.abs(align(portrait, face.landmarks).landmarks - canonical_points())[27:].mean()
    assert error_px < 3.5  # of 112


def test_the_box_of_landmarks_is_where_the_detector_found_the_face(models: FaceModels, portrait: Image) -> None:
    (face,) = models.find(portrait)
    again = models.landmarker.box_of(face.landmarks)
    assert overlap(again, face.box) > 0.6
    placed = models.landmarker.landmarks(portrait, again, steady=True)
    assert placed is not None
    eyes_px = float(np.linalg.norm(face.landmarks[45] - face.landmarks[36]))
    assert np.linalg.norm(placed - face.landmarks, axis=1).mean() < 0.06 * eyes_px


def test_no_face_is_found_in_a_plain_image(models: FaceModels) -> None:
    assert models.find(np.full((200, 300, 3), 128, np.uint8)) == []


def test_a_face_is_followed_until_it_disappears(models: FaceModels, portrait: Image) -> None:
    start = models.detector.detect(portrait)[0]
    frames = [portrait] * 12 + [np.full_like(portrait, 128)] * 2
    assert len(list(aligned_track(frames, start, models))) == 12


def test_names_and_versions_tell_the_landmarkers_apart() -> None:
    paper, mesh = (face_models(name) for name in NAMES)
    assert paper.landmarker_id == PAPER_LANDMARKS
    assert mesh.landmarker_id != paper.landmarker_id
    assert mesh.detector_id != paper.detector_id
    assert face_models() is paper
    assert face_models(mesh) is mesh


def test_an_unknown_name_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"'dlib'.*paper, mesh"):
        face_models("dlib")


@pytest.mark.parametrize("degrees", [0, 40, 90, 180])
def test_mesh_brings_a_face_upright_from_any_tilt(degrees: int, portrait: Image) -> None:
    mesh = face_models("mesh")
    upright = align(portrait, mesh.find(portrait)[0].landmarks)
    image = turned(portrait, degrees)
    (face,) = mesh.find(image)
    assert abs((face.box.roll_deg - degrees + 180) % 360 - 180) < 10
    aligned = align(image, face.landmarks)
    assert np.abs(aligned.landmarks - upright.landmarks).mean() < 1.0
    assert np.corrcoef(aligned.image.ravel(), upright.image.ravel())[0, 1] > 0.97


def test_mesh_refuses_landmarks_where_there_is_no_face(portrait: Image) -> None:
    mesh = face_models("mesh")
    box = mesh.find(portrait)[0].box
    texture = np.random.default_rng(0).integers(0, 255, portrait.shape).astype(np.uint8)
    assert mesh.landmarker.landmarks(texture, box) is None
