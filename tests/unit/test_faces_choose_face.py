"""Which face is meant: the largest, the one asked for, or a question back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.errors import FaceError
from speech2vid.faces import FaceModels, choose_face, lip_opening, sharpness, turn
from speech2vid.faces.align import canonical_points
from speech2vid.media import load_photo
from speech2vid.types import Face, FaceBox, Image, Points


@pytest.fixture(scope="module")
def portrait(photo: Path) -> Image:
    return load_photo(photo)[:260, 90:350]


def side_by_side(*images: Image) -> Image:
    height = max(image.shape[0] for image in images)
    padded = [np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0)), mode="edge") for image in images]
    return np.ascontiguousarray(np.concatenate(padded, axis=1))


def enlarged(image: Image, factor: float) -> Image:
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def centre_x(face: Face) -> float:
    return float(face.landmarks[:, 0].mean())


def test_the_largest_face_is_meant_wherever_it_is(portrait: Image) -> None:
    large = enlarged(portrait, 1.5)
    assert centre_x(choose_face(side_by_side(large, portrait), "two.png")) < 390
    assert centre_x(choose_face(side_by_side(portrait, large), "two.png")) > 260


def test_two_alike_are_a_question_and_an_index_is_the_answer(portrait: Image) -> None:
    both = side_by_side(portrait, portrait)
    with pytest.raises(FaceError, match=r"two\.png shows 2 faces of about the same size .*--face-index.*left: 0, 1"):
        choose_face(both, "two.png")
    assert centre_x(choose_face(both, "two.png", 0)) < 260 < centre_x(choose_face(both, "two.png", 1))
    with pytest.raises(FaceError, match=r"has no face 2; faces found: 2 .*0 to 1"):
        choose_face(both, "two.png", 2)


def test_no_face() -> None:
    with pytest.raises(FaceError, match=r"no frontal face was found in wall\.jpg .*camera, upright"):
        choose_face(np.full((240, 320, 3), 128, np.uint8), "wall.jpg")


class Fixed:
    """A detector that finds one face, and a landmarker that places these points; None: they are implausible."""

    name, version = "fixed", "1"

    def __init__(self, points: Points | None) -> None:
        self.points = points

    def detect(self, image: Image) -> list[FaceBox]:
        return [FaceBox(0, 0, 112, 112)]

    def landmarks(self, image: Image, box: FaceBox, *, steady: bool = False) -> Points | None:
        return self.points

    def box_of(self, landmarks: Points) -> FaceBox:
        return FaceBox(0, 0, 112, 112)


def test_landmarks_without_the_shape_of_a_face_are_refused() -> None:
    models = FaceModels(Fixed(None), Fixed(None))
    with pytest.raises(FaceError, match=r"landmarks found in mask\.jpg do not have the shape of a face .*uncovered"):
        choose_face(np.zeros((112, 112, 3), np.uint8), "mask.jpg", models=models)


def test_a_face_turned_too_far_is_refused() -> None:
    points = canonical_points().copy()
    points[27:36, 0] = points[15, 0]  # the nose over the far cheek
    models = FaceModels(Fixed(points), Fixed(points))
    with pytest.raises(FaceError, match="turned too far"):
        choose_face(np.zeros((112, 112, 3), np.uint8), "side.jpg", models=models)


def test_a_three_quarter_view_is_taken() -> None:
    points = canonical_points().copy()
    middle = (points[1, 0] + points[15, 0]) / 2
    points[27:36, 0] = middle + 0.8 * (points[15, 0] - middle)
    models = FaceModels(Fixed(points), Fixed(points))
    assert turn(choose_face(np.zeros((112, 112, 3), np.uint8), "side.jpg", models=models).landmarks) > 0.75


def test_turn_is_0_frontal_and_1_at_the_edge(portrait: Image) -> None:
    points = canonical_points().copy()
    assert turn(points) < 0.02
    assert turn(choose_face(portrait, "portrait").landmarks) < 0.25
    points[30] = points[1]
    assert turn(points) == pytest.approx(1.0)
    angle = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    assert turn(points @ angle) == pytest.approx(1.0, abs=1e-5)


def test_lip_opening_is_the_mean_gap_of_the_inner_lips() -> None:
    points = np.zeros((2, 68, 2), np.float32)
    points[1, 65:68, 1] = (3, 4, 5)
    points[1, 61:64, 0] = 100  # and a shift sideways of both lips
    points[1, 65:68, 0] = 100
    np.testing.assert_allclose(lip_opening(points), [0, 4])


def test_blur_lowers_sharpness_and_darkness_does_not(portrait: Image) -> None:
    sharp = sharpness(portrait)
    assert sharpness(np.asarray(cv2.GaussianBlur(portrait, (0, 0), 2), np.uint8)) < 0.5 * sharp
    assert sharpness((portrait * 0.6).astype(np.uint8)) == pytest.approx(sharp, rel=0.1)
