"""A photo's head as a 3D proxy: depth from the face mesh, continued over hair, ears and neck, and how it may move.

Motion is small, so it is linear: each component of a head pose has one field of displacements over the photo, computed
once on a coarse grid. A frame is their weighted sum. All fields are multiplied by a weight that is 1 on the head, falls
off smoothly over neck and surroundings, and is 0 from half a face away on and along the border of the photo, so the
background stays where it is and no pixel from outside the photo is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.faces.face_models import mesh_landmarker
from speech2vid.faces.head_pose import PIVOT_CM, HeadFit, fit_head, fit_head_to_68
from speech2vid.geometry import smoothstep
from speech2vid.types import Floats, Image, Points

Doubles = NDArray[np.float64]

SHIFTS = 5  # crops whose meshes are averaged
FARTHEST_CM = 4.0  # a mesh farther than this from the landmarks is of another face
CELLS_PER_CM = 2.5  # of the grid of displacements
SKULL_CM, SKULL_RADII_CM = (0.0, 1.0, -2.5), (7.9, 11.5, 9.8)  # ellipsoid of a head with hair
OUTLINE_RADII_CM = (8.4, 11.9)  # of the same in the image, within which everything moves as the head does
REACH_CM = 7.0  # from the outline to where nothing moves: less than half a face of 17 cm
BORDER_CM = 5.0  # along the photo's border, motion fades over this far
MESH_SIGMA_CM = 0.9  # smoothing of the mesh's depth
SIDE_SIGMA_CM, FRONT_CM = 1.8, (3.0, 6.0)  # smoothing of the depth next to the front of the face, and where it begins
BROW_CM = (2.6, 1.3)  # extent of what a brow moves
FULL_TURN_DEG, LARGEST_TURN_DEG = 15.0, 45.0  # amplitude falls between them
FULL_BORDER_CM = 3.0  # between face and border of the photo for full amplitude
CHEEKS, CHIN, FOREHEAD = (234, 454), 152, 10
BROWS = ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), (300, 293, 334, 296, 336, 276, 283, 282, 295, 285))


@dataclass(frozen=True)
class HeadShape:
    """The head in a photo.

    Attributes:
        points: (478, 3) float64, face mesh, px of the photo, depth smaller towards the camera; (468, 3) without irises.
        fit: of the canonical head.
    """

    points: Doubles
    fit: HeadFit


def head_shape(image: Image, landmarks: Points) -> HeadShape:
    """Return the head in a photo.

    The face mesh is placed on it; where it finds nothing, the canonical face is fitted to the landmarks.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (68, 2) px.
    """
    fit, canonical = fit_head_to_68(landmarks)
    landmarker = mesh_landmarker()
    mesh = landmarker.mesh(image, landmarker.box_of(landmarks), SHIFTS)
    if mesh is None or np.linalg.norm((mesh[:468] - canonical)[:, :2].mean(axis=0)) > FARTHEST_CM * fit.px_per_cm:
        return HeadShape(canonical, fit)
    return HeadShape(mesh.astype(np.float64), fit_head(mesh))


@dataclass(frozen=True)
class HeadFields:
    """How the pixels of a part of a photo move with the head.

    Attributes:
        basis: (7, h, w, 2) float32 at the middles of h × w cells of the part: displacement in px for a unit of yaw,
            pitch and roll (radians), x and y (cm), scale (its logarithm), and brows (cm, upwards).
        amplitude: 0–1, how much motion this photo bears.
    """

    basis: Floats
    amplitude: float


def moving_box(size: tuple[int, int], shape: HeadShape) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the part of a photo that moves: left and top, right and bottom, px, half-open.

    Args:
        size: height and width of the photo.
        shape: of :func:`head_shape`.
    """
    middle, up = _upright(shape.fit)
    axes = np.stack([np.array([-up[1], up[0]]), up]) * np.array(OUTLINE_RADII_CM)[:, None]
    reach = (np.linalg.norm(axes, axis=0) + REACH_CM) * shape.fit.px_per_cm
    low = np.clip(np.floor(middle - reach), 0, (size[1] - 1, size[0] - 1)).astype(int)
    high = np.clip(np.ceil(middle + reach), low + 1, (size[1], size[0])).astype(int)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def head_fields(
    size: tuple[int, int], shape: HeadShape, corner: tuple[int, int], extent: tuple[int, int]
) -> HeadFields:
    """Return the displacement fields of a part of a photo.

    Args:
        size: height and width of the photo.
        shape: of :func:`head_shape`.
        corner: left and top of the part.
        extent: its width and height.
    """
    fit = shape.fit
    cm = fit.px_per_cm
    cell = max(1.0, cm / CELLS_PER_CM)
    axes = []
    for first, length in zip(corner, extent, strict=True):
        count = max(2, int(np.ceil(length / cell)))
        axes.append(first + (np.arange(count) + 0.5) * length / count - 0.5)
    grid = np.stack(np.meshgrid(*axes), axis=-1)
    pivot = fit.to_image(np.array([PIVOT_CM]))[0]
    across, down = grid[..., 0] - pivot[0], grid[..., 1] - pivot[1]
    forward = pivot[2] - _depth(grid, shape)
    zero, one = np.zeros_like(across), np.full_like(across, cm)
    fields = [
        (forward, zero),  # yaw: to the right of the image
        (zero, -forward),  # pitch: up
        (-down, across),  # roll: clockwise
        (one, zero),
        (zero, one),
        (across, down),
        (zero, -cm * _brows(grid, shape)),
    ]
    basis = np.stack([np.stack(field, axis=-1) for field in fields]) * _weight(grid, size, fit)[..., None]
    return HeadFields(basis.astype(np.float32), _amplitude(size, shape))


def _depth(grid: Doubles, shape: HeadShape) -> Doubles:
    """Return the depth of the head at (h, w, 2) px: that of the mesh on the face, of an ellipsoid around it."""
    fit = shape.fit
    base = _skull_depth(grid, fit)
    points = shape.points[:468]
    cell = float(grid[0, 1, 0] - grid[0, 0, 0]), float(grid[1, 0, 1] - grid[0, 0, 1])
    at = (points[:, :2] - grid[0, 0]) / cell
    rest = (points[:, 2] - _skull_depth(points[None, :, :2], fit)[0]).astype(np.float64)
    inside = (at >= 0).all(axis=1) & (at <= np.array(grid.shape[1::-1]) - 1).all(axis=1)
    total, count = np.zeros(grid.shape[:2]), np.zeros(grid.shape[:2])
    column, row = np.rint(at[inside]).astype(int).T
    np.add.at(total, (row, column), rest[inside])
    np.add.at(count, (row, column), 1.0)
    sigma = MESH_SIGMA_CM * fit.px_per_cm / cell[0]
    total, count = (_blurred(each, sigma) for each in (total, count))
    sparse = 0.15 * float(np.median(count[row, column])) if len(row) else 1.0  # beyond the mesh, back to the ellipsoid
    fine = base + _blurred(total / (count + sparse), 0.5 * sigma)
    coarse = _blurred(fine, SIDE_SIGMA_CM / MESH_SIGMA_CM * sigma)
    middle = points[[*CHEEKS, CHIN, FOREHEAD], :2].mean(axis=0)
    away = np.linalg.norm(grid - middle, axis=-1) / fit.px_per_cm
    side = smoothstep((away - FRONT_CM[0]) / (FRONT_CM[1] - FRONT_CM[0]))  # sides fall off steeply and would fold over
    return np.asarray(fine + side * (coarse - fine), np.float64)


def _blurred(values: Doubles, sigma: float) -> Doubles:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float64)


def _skull_depth(grid: Doubles, fit: HeadFit) -> Doubles:
    """Return the depth of the front of the ellipsoid at (h, w, 2) px; beyond its outline, of its outline."""
    centre = fit.to_image(np.array([SKULL_CM]))[0]
    at = (grid - centre[:2]) / fit.px_per_cm * (1.0, -1.0)  # cm, y up
    form = fit.rotation @ np.diag(1 / np.square(SKULL_RADII_CM)) @ fit.rotation.T
    a = form[2, 2]
    b = at @ form[:2, 2]
    c = np.einsum("...i,ij,...j->...", at, form[:2, :2], at) - 1
    front = (-b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
    lowest = -4.0  # cm behind the ellipsoid's centre; far outside, -b/a grows without limit
    return np.asarray(centre[2] - np.clip(front, lowest, None) * fit.px_per_cm, np.float64)


def _weight(grid: Doubles, size: tuple[int, int], fit: HeadFit) -> Doubles:
    """Return how much of the head's motion pixels at (h, w, 2) px take part in, 0–1."""
    middle, up = _upright(fit)
    offset = (grid - middle) / fit.px_per_cm
    along, aside = offset @ up, offset @ np.array([up[1], -up[0]])
    radius = np.hypot(along, aside)
    share = np.hypot(aside / OUTLINE_RADII_CM[0], along / OUTLINE_RADII_CM[1])
    outside = radius * (1 - 1 / np.maximum(share, 1.0))  # cm beyond the outline, towards the middle
    height, width = size
    border = np.minimum(
        np.minimum(grid[..., 0], width - 1 - grid[..., 0]), np.minimum(grid[..., 1], height - 1 - grid[..., 1])
    )
    inside = smoothstep(border / (BORDER_CM * fit.px_per_cm))
    return np.asarray((1 - smoothstep(outside / REACH_CM)) * inside, np.float64)


def _upright(fit: HeadFit) -> tuple[Doubles, Doubles]:
    """Return the middle of the head, px, and its upward direction in the image, of length 1."""
    up = fit.rotation[:2, 1] * (1.0, -1.0)
    return fit.to_image(np.array([SKULL_CM]))[0, :2], up / max(1e-6, float(np.linalg.norm(up)))


def _brows(grid: Doubles, shape: HeadShape) -> Doubles:
    """Return how much of the brows' motion pixels take part in, 0–1: the brows and the skin around them."""
    reach = np.zeros(grid.shape[:2])
    for brow in BROWS:
        points = shape.points[list(brow), :2]
        middle = points.mean(axis=0)
        axis = points[4] - points[0]
        axis = axis / max(1e-6, float(np.linalg.norm(axis)))
        offset = (grid - middle) / shape.fit.px_per_cm
        along, across = offset @ axis, offset @ np.array([-axis[1], axis[0]])
        reach += np.exp(-0.5 * ((along / BROW_CM[0]) ** 2 + (across / BROW_CM[1]) ** 2))
    return np.asarray(np.minimum(reach, 1.0))


def _amplitude(size: tuple[int, int], shape: HeadShape) -> float:
    """Return how much motion a photo bears: less for a turned head, and for a face near the photo's border."""
    height, width = size
    turned = max(abs(shape.fit.pose.yaw), abs(shape.fit.pose.pitch))
    facing = 1 - smoothstep(np.array((turned - FULL_TURN_DEG) / (LARGEST_TURN_DEG - FULL_TURN_DEG)))
    points = shape.points[[*CHEEKS, CHIN, FOREHEAD], :2]
    gap = min(float(points.min()), float((np.array([width, height]) - 1 - points).min())) / shape.fit.px_per_cm
    return float(facing * smoothstep(np.array(gap / FULL_BORDER_CM)))
