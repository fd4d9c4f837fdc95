"""Face mesh with attention: 478 points with depth, lips and eyes refined, irises; pose, gaze and a check of the shape.

The network is MediaPipe's (Apache-2.0), as an ONNX graph that returns all 478 points of a 192 px crop. Points carry
MediaPipe's numbers. "Right" and "left" are the subject's. Depth is in pixels as well, smaller towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.errors import WeightsError
from speech2vid.faces.blaze import Detection, sample_crop
from speech2vid.files import NUMPY_READ, package_weights
from speech2vid.runtime.onnx import open_session
from speech2vid.types import FaceBox, Floats, Image

Doubles = NDArray[np.float64]

MESH_FILE, SHAPE_FILE = "face_mesh.onnx", "face_mesh_shape.npz"
CROP_PX = 192
BORDER = cv2.BORDER_REPLICATE  # outside the image
ROI_SCALE = 1.5  # side of the crop, in sizes of the detection's box or of the mesh's own extent
MESH_POINTS, ALL_POINTS = 468, 478
SURE_SCORE = 0.9  # below it the other way up is tried, too
RETRY_DEG = 12.0  # the crop is cut once more when the face was tilted in it by more than this
HALF_PX = 0.5  # the network counts from pixel edges: mirrored crops show its points half a pixel to the right of ours
SHIFT = 0.02  # of the crop's side: how far averaged crops are from the middle one
TOTAL_LIMIT = 0.85  # largest distance of a face from the mean face, in cm on a face of canonical size
SHAPE_LIMIT = 0.26  # and of what the model of shapes does not explain

# The 68 points of iBUG's scheme (published correspondence, each held against dlib's 68 points on 343 faces)
IBUG_68 = (
    *(127, 234, 93, 132, 172, 136, 150, 176, 152, 400, 379, 365, 397, 361, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
# Outer and inner corner, three points of the upper lid and the points below them, iris centre
RIGHT_EYE_POINTS = (33, 133, (160, 159, 158), (144, 145, 153), 468)
LEFT_EYE_POINTS = (263, 362, (387, 386, 385), (373, 374, 380), 473)
OUTER_CORNERS = (33, 263)


@dataclass(frozen=True)
class FaceMeshPoints:
    """Landmarks of a face.

    Args:
        points: (478, 3) float32: x, y and depth in source pixels; pixel centres are whole numbers.
        score: probability that the crop shows a face, 0–1. It does not see that a face is upside down: use
            ``is_plausible_face`` as well.
    """

    points: Floats
    score: float


@dataclass(frozen=True)
class HeadPose:
    """Rotation of a head in degrees; all 0 when it faces the camera upright.

    Args:
        yaw: positive when the face is turned to the right-hand side of the image.
        pitch: positive when it looks up.
        roll: positive when it is tilted clockwise as seen, −180–180; a rotation of the image changes only this one.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class _Shape:
    """The canonical face and the model of shapes, in cm: x to the right of the image, y up, z to the camera."""

    canonical: Doubles  # (468, 3)
    weights: Doubles  # (468,), 0 for points that move with the expression
    mean: Doubles  # (468, 3), over many people
    basis: Doubles  # (K, 1404), orthonormal rows: how faces and expressions differ from it


@cache
def _shape() -> _Shape:
    path = package_weights() / SHAPE_FILE
    try:
        with NUMPY_READ, np.load(path) as file:
            arrays = {name: file[name].astype(np.float64) for name in ("canonical", "mean", "basis")}
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path.name} cannot be read: {error}", "install the package again") from error
    canonical = arrays["canonical"]
    return _Shape(canonical[:, :3], canonical[:, 3], arrays["mean"], arrays["basis"])


class FaceMeshLandmarker:
    """Place the 478 points of a face.

    Args:
        weights: folder with the ONNX file; that of the package by default.
        threads: ONNX Runtime threads.

    Raises:
        WeightsError: the file is missing or damaged.
    """

    def __init__(self, weights: Path | None = None, *, threads: int = 1) -> None:
        self._session = open_session((weights or package_weights()) / MESH_FILE, threads)

    def landmarks(self, image: Image, detection: Detection | FaceBox, *, shifts: int = 1) -> FaceMeshPoints:
        """Place the points of a detected face.

        The first crop is cut by the detection, upright by its eyes, the second by the points of the first. When the
        result has a low score or no face's shape, the other way up is tried and the better one returned.

        Args:
            image: (H, W, 3) uint8 RGB.
            detection: the face, in source pixels.
            shifts: average over this number of slightly shifted crops: as many times the cost of the last step, less
                jitter.

        Returns:
            The points in source pixels; their score says whether there is a face.
        """
        box = detection.face_box if isinstance(detection, Detection) else detection
        found = self._from_box(image, box, 0.0, shifts)
        if found.score < SURE_SCORE or shape_residual(found.points) > SHAPE_LIMIT:
            other = self._from_box(image, box, 180.0, shifts)
            if other.score >= 0.5 and (
                found.score < 0.5 or shape_residual(other.points) < shape_residual(found.points)
            ):
                return other
        return found

    def track(self, image: Image, previous: FaceMeshPoints, *, shifts: int = 1) -> FaceMeshPoints:
        """Place the points of a face whose points in the frame before are known: no detector is needed.

        Args:
            image: (H, W, 3) uint8 RGB.
            previous: the points in the frame before, or a good guess.
            shifts: as in ``landmarks``.

        Returns:
            The points in source pixels. A score below 0.5 says that the face is lost.
        """
        return self._settle(image, *_roi(previous.points), shifts)

    def _from_box(self, image: Image, box: FaceBox, turn_deg: float, shifts: int) -> FaceMeshPoints:
        centre = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
        side = ROI_SCALE * max(box.right - box.left, box.bottom - box.top)
        first = self._run(image, centre, side, box.roll_deg + turn_deg, 1)
        return self._settle(image, *_roi(first.points), shifts)

    def _settle(
        self, image: Image, centre: tuple[float, float], side: float, roll_deg: float, shifts: int
    ) -> FaceMeshPoints:
        """Cut the crop, and once more when the face was tilted in it."""
        found = self._run(image, centre, side, roll_deg, shifts)
        centre, side, roll = _roi(found.points)
        if abs((roll - roll_deg + 180) % 360 - 180) > RETRY_DEG:
            found = self._run(image, centre, side, roll, shifts)
        return found

    def _run(
        self, image: Image, centre: tuple[float, float], side: float, roll_deg: float, shifts: int
    ) -> FaceMeshPoints:
        """Run the network on one crop, or on several shifted ones, and average."""
        side = max(side, 1.0)
        crops = [
            sample_crop(image, (centre[0] + dx * side, centre[1] + dy * side), side, roll_deg, CROP_PX, border=BORDER)
            for dx, dy in shift_pattern(shifts)
        ]
        batch = np.stack([crop for crop, _ in crops]).astype(np.float32) / np.float32(255.0)
        points, scores = self._session.run(["points", "score"], {"image": batch})
        placed = np.empty(points.shape, np.float64)
        for target, source, (_, matrix) in zip(placed, points, crops, strict=True):
            target[:, :2] = (source[:, :2] - HALF_PX) @ matrix[:, :2].T + matrix[:, 2]
            target[:, 2] = source[:, 2] * (side / CROP_PX)
        return FaceMeshPoints(placed.mean(axis=0).astype(np.float32), float(scores.mean()))


def shift_pattern(count: int) -> list[tuple[float, float]]:
    """Return where averaged crops lie.

    Args:
        count: number of crops, 1 or more.

    Returns:
        dx, dy of each from the middle, in sides of the crop: the middle alone, or a ring round it.

    Raises:
        ValueError: the count is below 1.
    """
    if count < 1:
        raise ValueError(f"shifts must be at least 1, not {count}")
    if count == 1:
        return [(0.0, 0.0)]
    angles = 2 * np.pi * (np.arange(count) + 0.25) / count
    return [(float(SHIFT * np.cos(angle)), float(SHIFT * np.sin(angle))) for angle in angles]


def _roi(points: Floats) -> tuple[tuple[float, float], float, float]:
    """Return the centre, side and roll of the next crop: the upright extent of the points, enlarged."""
    right, left = points[OUTER_CORNERS[0], :2], points[OUTER_CORNERS[1], :2]
    angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])  # upright to image
    upright = points[:, :2] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = turn @ ((low + high) / 2)
    return (float(centre[0]), float(centre[1])), ROI_SCALE * float((high - low).max()), float(np.degrees(angle))


def to_68(points: Floats) -> Floats:
    """Return the 68 points of iBUG's scheme (dlib's).

    Args:
        points: (478, 2 or 3) float32, pixels.

    Returns:
        (68, 2) float32, pixels. The jaw follows the visible contour less than dlib's does on turned heads: the mesh's
        points stay on the face.
    """
    return np.asarray(points[list(IBUG_68), :2], np.float32)


def fit_rigid(points: Doubles, target: Doubles, weights: Doubles) -> tuple[Doubles, float, Doubles]:
    """Return the rotation, scale and centre that move ``target`` onto ``points``: weighted least squares."""
    weights = weights / weights.sum()
    centre, target_centre = weights @ points, weights @ target
    moved, still = points - centre, target - target_centre
    left, strengths, right = np.linalg.svd(moved.T @ (weights[:, None] * still))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = float((strengths * signs).sum() / (weights @ (still**2).sum(axis=1)))
    return (left * signs) @ right, scale, centre


def canonical_face_mesh() -> tuple[Doubles, Doubles]:
    """Return the canonical face, (468, 3) cm: x to the right, y up, z to the camera; and weights (468,) of a rigid fit.

    Points that move with the expression have weight 0.
    """
    shape = _shape()
    return shape.canonical, shape.weights


def _in_space(points: Floats) -> Doubles:
    """Return the mesh with y up and z to the camera."""
    return points[:MESH_POINTS].astype(np.float64) * (1.0, -1.0, -1.0)


def head_pose(points: Floats) -> HeadPose:
    """Return the rotation of the head, from the rigid points of the mesh fitted to the canonical face.

    Args:
        points: (468 or more, 3) float32, pixels.

    Returns:
        Yaw, pitch and roll in degrees.
    """
    shape = _shape()
    rotation, _, _ = fit_rigid(_in_space(points), shape.canonical, shape.weights)
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = -np.arctan2(rotation[1, 0], rotation[0, 0])
    return HeadPose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))


def shape_residual(points: Floats) -> float:
    """Return how far points are from the shape of any face.

    The points are moved, turned and scaled onto the mean face, the ways in which faces and expressions differ are
    taken out, and what remains is measured.

    Args:
        points: (468 or more, 3) float32, pixels.

    Returns:
        RMS of what remains, in cm on a face of canonical size; infinite for points that are not finite or coincide.
    """
    return _residuals(points)[1]


def _residuals(points: Floats) -> tuple[float, float]:
    """Return the RMS distance from the mean face, and what remains of it outside the model of shapes."""
    shape = _shape()
    placed = _in_space(points)
    if not np.isfinite(placed).all() or float(np.ptp(placed[:, :2], axis=0).min()) < 1e-3:
        return float("inf"), float("inf")
    rotation, scale, centre = fit_rigid(placed, shape.mean, np.ones(MESH_POINTS))
    if scale <= 0:
        return float("inf"), float("inf")
    rest = ((placed - centre) @ rotation / scale - (shape.mean - shape.mean.mean(axis=0))).ravel()
    total = float(np.sqrt((rest**2).sum() / MESH_POINTS))
    rest -= shape.basis.T @ (shape.basis @ rest)
    return total, float(np.sqrt((rest**2).sum() / MESH_POINTS))


def is_plausible_face(points: Floats, *, roll_deg: float | None = None) -> bool:
    """Say whether points have the shape of a face.

    A mesh that was placed upside down or sideways on a face keeps a high score, but its shape is wrong.

    Args:
        points: (468 or more, 3) float32, pixels.
        roll_deg: the tilt that a detector saw; points that are tilted otherwise by more than 60° are refused.

    Returns:
        False for scrambled, mirrored, misplaced or degenerate points.
    """
    total, rest = _residuals(points)
    if total > TOTAL_LIMIT or rest > SHAPE_LIMIT:
        return False
    return roll_deg is None or abs((head_pose(points).roll - roll_deg + 180) % 360 - 180) <= 60.0


def eye_opening(points: Floats) -> tuple[float, float]:
    """Return how far the eyes are open.

    Args:
        points: (478, 3) float32, pixels.

    Returns:
        Right and left: distance of the lids over width of the eye, measured with depth so that a turned head does not
        change it. About 0.25–0.4 open, below 0.12 closed.
    """
    openings = []
    for outer, inner, upper, lower, _ in (RIGHT_EYE_POINTS, LEFT_EYE_POINTS):
        lids = np.linalg.norm(points[list(upper)] - points[list(lower)], axis=1).mean()
        openings.append(float(lids / max(1e-6, float(np.linalg.norm(points[outer] - points[inner])))))
    return openings[0], openings[1]


def gaze(points: Floats) -> tuple[float, float]:
    """Return where the eyes look, relative to the head.

    Args:
        points: (478, 3) float32, pixels.

    Returns:
        x and y, mean of both eyes: position of the iris between the corners of its eye, in half widths of the eye,
        along and across the line of its corners. 0 in the middle; x grows to the right-hand side of an upright image,
        y downwards; ±0.5 is far to the side.
    """
    sides = []
    for outer, inner, _, _, iris in (RIGHT_EYE_POINTS, LEFT_EYE_POINTS):
        left, right = sorted((points[outer, :2], points[inner, :2]), key=lambda point: _along(points, point))
        axis = (right - left).astype(np.float64) / 2
        offset = points[iris, :2] - (left + right) / 2
        length = max(1e-6, float(axis @ axis))
        sides.append((float(offset @ axis) / length, float(axis[0] * offset[1] - axis[1] * offset[0]) / length))
    return (sides[0][0] + sides[1][0]) / 2, (sides[0][1] + sides[1][1]) / 2


def _along(points: Floats, point: Floats) -> float:
    """Return the position of a point along the line from the right to the left eye."""
    return float(point @ (points[OUTER_CORNERS[1], :2] - points[OUTER_CORNERS[0], :2]))
