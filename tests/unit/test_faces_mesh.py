"""The face mesh against stored outputs of the original, at every tilt; pose, eyes and the check of the shape."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from speech2vid.errors import WeightsError
from speech2vid.faces.blaze import BlazeFaceDetector, Detection
from speech2vid.faces.mesh import (
    ALL_POINTS,
    FaceMeshLandmarker,
    FaceMeshPoints,
    eye_opening,
    gaze,
    head_pose,
    is_plausible_face,
    shape_residual,
    shift_pattern,
    to_68,
)
from speech2vid.files import package_weights

REFERENCE = Path(__file__).parent.parent / "data" / "face_models_reference.npz"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    path = files("speech2vid") / "assets" / "astronaut.jpg"
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="module")
def detector() -> BlazeFaceDetector:
    return BlazeFaceDetector()


@pytest.fixture(scope="module")
def landmarker() -> FaceMeshLandmarker:
    return FaceMeshLandmarker()


@pytest.fixture(scope="module")
def face(photo, detector, landmarker) -> FaceMeshPoints:
    return landmarker.landmarks(photo, detector.detect(photo)[0])


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def eye_distance(points: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(points[468, :2] - points[473, :2]))


def turn(points: NDArray[np.float32], degrees: float, axis: int) -> NDArray[np.float32]:
    """Points turned in space about an axis through their middle: 0 x, 1 y, 2 the line of sight."""
    vector = np.zeros(3)
    vector[axis] = np.radians(degrees)
    middle = points.mean(axis=0)
    return ((points - middle) @ cv2.Rodrigues(vector)[0].T + middle).astype(np.float32)


def test_graph_gives_the_points_of_the_original(photo, reference):
    """MediaPipe's own run of the network and its refinement, on three crops of the photo."""
    session = onnxruntime.InferenceSession(str(package_weights() / "face_mesh.onnx"))
    for (x, y, side, roll), expected in zip(reference["rois"], reference["points"], strict=True):
        cosine, sine = np.cos(np.radians(roll)) * side / 192, np.sin(np.radians(roll)) * side / 192
        matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0]], np.float64)
        matrix[:, 2] = (x, y) - matrix[:, :2] @ (96, 96)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(photo, matrix, (192, 192), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        points, score = session.run(["points", "score"], {"image": crop[None].astype(np.float32) / 255})
        # the crop may differ by a grey level between versions of OpenCV
        np.testing.assert_allclose(points[0], expected, atol=0.3)
        assert np.abs(points[0] - expected).mean() < 0.03
        assert score[0] > 0.9


def test_points_are_those_of_the_original_on_the_whole_photo(face, reference):
    """The original stops after one crop and counts from pixel edges: a difference of about a pixel is expected."""
    difference = np.linalg.norm(face.points[:, :2] - reference["full"][:, :2], axis=1)
    assert difference.mean() < 0.02 * eye_distance(face.points)
    assert face.points.shape == (ALL_POINTS, 3)
    assert face.points.dtype == np.float32
    assert face.score > 0.95


@pytest.mark.parametrize("degrees", range(-160, 181, 20))
def test_tilt_changes_nothing_but_roll(photo, detector, landmarker, face, degrees):
    height, width = photo.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    matrix[:, 2] += side / 2 - np.array([width / 2, height / 2])
    image = cv2.warpAffine(photo, matrix, (side, side), flags=cv2.INTER_CUBIC)
    found = landmarker.landmarks(image, detector.detect(image)[0])
    expected = face.points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(found.points[:, :2] - expected, axis=1).mean() < 0.03 * eye_distance(face.points)
    upright, tilted = head_pose(face.points), head_pose(found.points)
    assert abs((tilted.roll - upright.roll - degrees + 180) % 360 - 180) < 2
    assert (tilted.yaw, tilted.pitch) == pytest.approx((upright.yaw, upright.pitch), abs=3)
    assert is_plausible_face(found.points, roll_deg=degrees)


def test_detection_with_eyes_the_wrong_way_up_is_put_right(photo, detector, landmarker, face):
    """A detector's keypoints may be upside down; the shape of the points says so."""
    (found,) = detector.detect(photo)
    middle = np.mean(np.reshape(found.box, (2, 2)), axis=0)
    wrong = Detection(found.box, (2 * middle - found.keypoints).astype(np.float32), found.score)
    placed = landmarker.landmarks(photo, wrong)
    assert np.abs(placed.points - face.points).max() < 0.06 * eye_distance(face.points)


def test_mesh_placed_upside_down_is_refused(photo, landmarker, face):
    low, high = face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)
    centre, side = tuple((low + high) / 2), 1.5 * float((high - low).max())
    for roll, plausible in ((0.0, True), (90.0, False), (180.0, False), (270.0, False)):
        placed = landmarker._run(photo, centre, side, roll, 1)
        assert is_plausible_face(placed.points) is plausible, roll
    assert not is_plausible_face(face.points, roll_deg=180.0)


def test_points_that_are_no_face_are_refused(face):
    points, rng = face.points, np.random.default_rng(0)
    assert is_plausible_face(points)
    assert is_plausible_face(turn(points, 50, 1))
    assert not is_plausible_face(rng.permutation(points))
    assert not is_plausible_face(points * (-1, 1, 1))  # mirrored: eyes change sides
    assert not is_plausible_face(points * (1, -1, 1))
    assert not is_plausible_face(points * (1, 1, -1))
    assert not is_plausible_face(points * (1, 1.8, 1))
    assert not is_plausible_face(np.zeros_like(points))
    assert not is_plausible_face(np.full_like(points, np.nan))
    assert not is_plausible_face(rng.normal(0, 50, points.shape).astype(np.float32))
    scattered = points + rng.normal(0, 0.1 * eye_distance(points), points.shape)
    assert not is_plausible_face(scattered.astype(np.float32))


def test_residual_does_not_depend_on_place_size_and_pose(face):
    base = shape_residual(face.points)
    for points in (
        face.points * 7 + 300,
        turn(face.points, 40, 1),
        turn(face.points, -25, 0),
        turn(face.points, 170, 2),
    ):
        assert shape_residual(points) == pytest.approx(base, rel=0.01)


def test_pose_has_its_signs_and_its_size(face):
    base = head_pose(face.points)
    assert abs(base.yaw) < 15
    assert abs(base.pitch) < 15
    upright = turn(face.points, -base.roll, 2)
    assert head_pose(upright).roll == pytest.approx(0, abs=0.1)
    right, up = turn(upright, -20, 1), turn(upright, 20, 0)
    assert head_pose(right).yaw == pytest.approx(base.yaw + 20, abs=1.5)
    nose, eyes = 4, [33, 263]
    assert right[nose, 0] - right[eyes, 0].mean() > upright[nose, 0] - upright[eyes, 0].mean()
    assert head_pose(up).pitch - base.pitch == pytest.approx(20, abs=1.5) or up[nose, 1] > upright[nose, 1]
    assert (head_pose(up).pitch > base.pitch) == (
        up[nose, 1] - up[eyes, 1].mean() < upright[nose, 1] - upright[eyes, 1].mean()
    )
    assert head_pose(turn(upright, 33, 2)).roll == pytest.approx(33, abs=0.1)


def test_68_points_are_in_their_places(face):
    points = to_68(face.points)
    assert points.shape == (68, 2)
    right_eye, left_eye, mouth, jaw = points[36:42], points[42:48], points[48:68], points[:17]
    assert right_eye[:, 0].max() < left_eye[:, 0].min()
    assert mouth[:, 1].min() > points[27:36, 1].max() - 0.1 * eye_distance(face.points)
    assert jaw[8, 1] == points[:, 1].max()
    assert (np.diff(jaw[:, 0]) > -2).all()
    assert (points[61:64, 1] <= points[[67, 66, 65], 1] + 0.5).all()
    assert (points[17:27, 1] < right_eye[:, 1].min()).all()


def test_open_eyes_are_open_and_closed_ones_closed(face):
    right, left = eye_opening(face.points)
    assert 0.15 < right < 0.5
    assert 0.15 < left < 0.5
    shut = face.points.copy()
    shut[[160, 159, 158]] = shut[[144, 145, 153]]
    assert eye_opening(shut) == pytest.approx((0.0, left), abs=1e-3)
    assert eye_opening(turn(face.points, 35, 1)) == pytest.approx((right, left), abs=0.01)


def test_gaze_follows_the_irises(face):
    x, y = gaze(face.points)
    assert abs(x) < 0.4
    assert abs(y) < 0.4
    width = np.linalg.norm(face.points[33, :2] - face.points[133, :2])
    moved = face.points.copy()
    moved[468:, 0] += 0.1 * width
    assert gaze(moved)[0] == pytest.approx(x + 0.2, abs=0.05)
    assert gaze(turn(face.points, 90, 2)) == pytest.approx((x, y), abs=1e-3)
    assert gaze(turn(face.points, 180, 2)) == pytest.approx((x, y), abs=1e-3)


def test_tracking_returns_to_the_face_from_near_it(photo, landmarker, face):
    near = FaceMeshPoints(face.points + np.float32(6.0), 1.0)
    again = landmarker.track(photo, near)
    assert np.abs(again.points - face.points).mean() < 0.02 * eye_distance(face.points)
    lost = landmarker.track(np.full_like(photo, 128), face)
    assert lost.score < 0.5


def test_averaged_crops_are_steadier(photo, detector, landmarker):
    rng = np.random.default_rng(0)
    spread = {}
    images = []
    for _ in range(8):
        noisy = np.roll(photo, tuple(rng.integers(-1, 2, 2)), (0, 1)).astype(np.float32) + rng.normal(0, 3, photo.shape)
        images.append(np.clip(noisy, 0, 255).astype(np.uint8))
    for shifts in (1, 5):
        openings = []
        for image in images:
            points = landmarker.landmarks(image, detector.detect(image)[0], shifts=shifts).points
            openings.append(np.linalg.norm(points[13, :2] - points[14, :2]) / eye_distance(points))
        spread[shifts] = np.std(openings)
    assert spread[5] < spread[1]


def test_shifts_are_balanced_and_at_least_one():
    assert shift_pattern(1) == [(0.0, 0.0)]
    assert len(shift_pattern(5)) == 5
    np.testing.assert_allclose(np.mean(shift_pattern(5), axis=0), 0, atol=1e-9)
    with pytest.raises(ValueError, match="at least 1"):
        shift_pattern(0)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"face_mesh\.onnx"):
        FaceMeshLandmarker(tmp_path)
