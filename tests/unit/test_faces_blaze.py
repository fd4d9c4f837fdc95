"""BlazeFace against stored outputs of the original, and at every tilt and size."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from speech2vid.errors import WeightsError
from speech2vid.faces.blaze import (
    LEFT_EAR,
    LEFT_EYE,
    MOUTH,
    RIGHT_EYE,
    BlazeFaceDetector,
    Detection,
    anchor_centres,
    keep_best,
    merge_weighted,
    sample_crop,
)
from speech2vid.files import package_weights

REFERENCE = Path(__file__).parent.parent / "data" / "face_models_reference.npz"
EYES = np.array([(201.7, 104.8), (246.0, 109.7)])  # of the original on the photo


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    path = files("speech2vid") / "assets" / "astronaut.jpg"
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="module")
def detector() -> BlazeFaceDetector:
    return BlazeFaceDetector()


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def turned(image: NDArray[np.uint8], degrees: float, background: int = 90) -> tuple[NDArray[np.uint8], NDArray]:
    """The image turned clockwise as seen on a square that holds all of it, and the matrix."""
    height, width = image.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    matrix[:, 2] += side / 2 - np.array([width / 2, height / 2])
    return cv2.warpAffine(image, matrix, (side, side), borderValue=(background,) * 3), matrix


@pytest.mark.parametrize(("kind", "size"), [("short", 128), ("full", 192)])
def test_graph_gives_the_numbers_of_the_original(photo, reference, kind, size):
    small = cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA)
    session = onnxruntime.InferenceSession(str(package_weights() / f"face_detector_{kind}.onnx"))
    boxes, logits = session.run(["boxes", "logits"], {"image": small[None].astype(np.float32) / 127.5 - 1})
    top = reference[f"{kind}_top"]
    np.testing.assert_allclose(boxes[0, top], reference[f"{kind}_boxes"], atol=0.02)
    np.testing.assert_allclose(logits[0, top], reference[f"{kind}_logits"], atol=0.02)


def test_detection_is_where_the_original_finds_it(photo, detector, reference):
    (found,) = detector.detect(photo)
    x, y, width, height = reference["box"]
    np.testing.assert_allclose(found.box, (x, y, x + width, y + height), atol=4)
    np.testing.assert_allclose(found.keypoints, reference["keypoints"], atol=6)
    assert found.score == pytest.approx(float(reference["score"].item()), abs=0.05)
    assert found.keypoints[LEFT_EAR, 0] > found.keypoints[LEFT_EYE, 0] > found.keypoints[RIGHT_EYE, 0]
    assert found.keypoints[MOUTH, 1] > found.keypoints[RIGHT_EYE, 1]


@pytest.mark.parametrize("degrees", range(-150, 181, 30))
def test_tilted_face_has_its_eyes_where_they_are(photo, detector, degrees):
    image, matrix = turned(photo, degrees)
    found = detector.detect(image)
    assert found
    expected = EYES @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found[0].keypoints[[RIGHT_EYE, LEFT_EYE]], expected, atol=17)
    assert abs((found[0].roll_deg - degrees - 6.3 + 180) % 360 - 180) < 16


def test_without_rotations_an_upside_down_face_has_wrong_eyes(photo, detector):
    """What the search in four rotations is for."""
    (found,) = detector.detect(np.ascontiguousarray(photo[::-1, ::-1]), rotations=False)
    assert abs(found.roll_deg) < 60


@pytest.mark.parametrize("face_px", [24, 32, 48, 96, 200])
@pytest.mark.parametrize("shape", [(720, 1280), (640, 360)])
def test_small_and_large_faces_are_found(photo, detector, face_px, shape):
    patch = photo[30:230, 110:340]
    scale = face_px / 96
    patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    patch = patch[: shape[0], : shape[1]]
    image = np.full((*shape, 3), 120, np.uint8)
    top, left = (shape[0] - patch.shape[0]) // 3, (shape[1] - patch.shape[1]) * 2 // 3
    image[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
    found = detector.detect(image)
    assert len(found) == 1
    expected = (EYES - (110, 30)) * scale + (left, top)
    np.testing.assert_allclose(found[0].keypoints[:2], expected, atol=max(3, 0.12 * face_px))


def test_face_that_fills_the_image_is_found(photo, detector):
    (found,) = detector.detect(np.ascontiguousarray(photo[70:190, 170:285]))
    np.testing.assert_allclose(found.keypoints[:2], EYES - (170, 70), atol=8)


def test_small_face_next_to_a_large_one_is_found_on_request(photo, detector):
    image = np.full((512, 1024, 3), 100, np.uint8)
    image[:, :512] = photo
    small = cv2.resize(photo[30:230, 110:340], None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    image[60 : 60 + small.shape[0], 800 : 800 + small.shape[1]] = small
    found = detector.detect(image, smallest_px=30)
    assert len(found) == 2
    assert sorted(each.size_px for each in found) == pytest.approx([38, 96], rel=0.2)


@pytest.mark.parametrize("kind", ["noise", "gradient", "checkers", "text", "flat", "circles"])
@pytest.mark.parametrize("shape", [(240, 320), (720, 1280)])
def test_nothing_is_found_where_no_face_is(detector, kind, shape):
    height, width = shape
    image = np.full((height, width, 3), 128, np.uint8)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    elif kind == "gradient":
        image[...] = np.linspace(0, 255, width)[None, :, None]
    elif kind == "checkers":
        image[...] = ((np.indices((height, width)) // 20).sum(axis=0) % 2 * 255)[..., None]
    elif kind == "text":
        for y in range(20, height, 24):
            cv2.putText(image, "The quick brown fox 0123456789", (5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    elif kind == "circles":
        for radius in range(5, height, 12):
            cv2.circle(image, (width // 2, height // 2), radius, (radius % 255, 40, 200), 3)
    assert detector.detect(image) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (16, 16)])
def test_odd_shapes_are_searched_without_error(detector, shape):
    assert detector.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"face_detector_short\.onnx"):
        BlazeFaceDetector(tmp_path)


def test_anchors_have_the_numbers_of_the_network():
    short = anchor_centres(128, ((8, 2), (16, 6)))
    assert short.shape == (896, 2)
    np.testing.assert_array_equal(short[[0, 1, 2, 512]], [(4, 4), (4, 4), (12, 4), (8, 8)])
    assert anchor_centres(192, ((4, 1),)).shape == (2304, 2)


def test_overlapping_boxes_are_averaged_by_score():
    values = np.zeros((3, 16), np.float32)
    values[:, :4] = [(0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60)]
    merged, scores = merge_weighted(values, np.array([0.6, 0.9, 0.7], np.float32))
    np.testing.assert_allclose(merged[:, 0], [(0.9 * 1 + 0.6 * 0) / 1.5, 50], rtol=1e-5)
    np.testing.assert_allclose(scores, [0.9, 0.7])


def test_copies_of_a_face_are_dropped():
    def box(x0: float, size: float, score: float) -> Detection:
        return Detection((x0, 0, x0 + size, size), np.zeros((6, 2), np.float32), score)

    kept = keep_best([box(0, 10, 0.6), box(2, 10, 0.9), box(3, 4, 0.7), box(30, 10, 0.5)])
    assert [each.score for each in kept] == [0.9, 0.5]


@pytest.mark.parametrize("side", [60.0, 190.0, 700.0])
def test_crop_matrix_maps_back_to_the_source(side):
    ys, xs = np.mgrid[0:900, 0:1000].astype(np.float32)
    ramp = np.stack([xs / 8, ys / 8, np.zeros_like(xs)], axis=-1)
    crop, matrix = sample_crop(
        np.rint(ramp).astype(np.uint8), (480.3, 430.9), side, 30.0, 96, border=cv2.BORDER_REFLECT
    )
    for x, y in ((20, 20), (70, 30), (48, 80)):
        source = matrix @ (x, y, 1)
        np.testing.assert_allclose(crop[y, x, :2] * 8.0, source, atol=8)
