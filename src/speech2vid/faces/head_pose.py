"""Where a head is and how it is turned: the canonical head fitted to a face mesh or to 68 landmarks.

The canonical head is measured in cm: x to the right of the image, y up, z to the camera. Its pose turns about
``PIVOT_CM``, where the skull sits on the neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech2vid.faces.mesh import IBUG_68, HeadPose, canonical_face_mesh, fit_rigid
from speech2vid.types import Floats, Points

Doubles = NDArray[np.float64]

PIVOT_CM = (0.0, -4.0, -6.0)
RIGID_68 = (*range(27, 36), 36, 39, 42, 45)  # nose and corners of the eyes: they do not move with speech


@dataclass(frozen=True)
class HeadFit:
    """The canonical head in an image.

    Attributes:
        rotation: (3, 3) canonical cm → image axes with y up and z to the camera.
        px_per_cm: scale.
        pivot: (3,) px of the image, y down, depth smaller towards the camera: where ``PIVOT_CM`` lies.
    """

    rotation: Doubles
    px_per_cm: float
    pivot: Doubles

    @property
    def pose(self) -> HeadPose:
        """Return the angles."""
        yaw, pitch, roll = np.degrees(angles_of(self.rotation))
        return HeadPose(float(yaw), float(pitch), float(roll))

    def to_image(self, points_cm: NDArray[np.floating]) -> Doubles:
        """Return where points (N, 3) of the canonical head lie: (N, 3) px, depth smaller towards the camera."""
        moved = (np.asarray(points_cm, np.float64) - PIVOT_CM) @ self.rotation.T * self.px_per_cm
        return np.asarray(self.pivot + moved * (1.0, -1.0, -1.0), np.float64)


def angles_of(rotation: Doubles) -> Doubles:
    """Return yaw, pitch and roll in radians, signs as :class:`HeadPose`, of (..., 3, 3): (..., 3)."""
    yaw = np.arcsin(np.clip(-rotation[..., 2, 0], -1.0, 1.0))
    pitch = -np.arctan2(rotation[..., 2, 1], rotation[..., 2, 2])
    roll = -np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    return np.stack([yaw, pitch, roll], axis=-1)


def fit_head(mesh: Floats) -> HeadFit:
    """Fit the canonical head to a face mesh, (468 or more, 3) px."""
    canonical, weights = canonical_face_mesh()
    placed = mesh[:468].astype(np.float64) * (1.0, -1.0, -1.0)
    rotation, scale, centre = fit_rigid(placed, canonical, weights)
    pivot = centre + scale * rotation @ (PIVOT_CM - weights / weights.sum() @ canonical)
    return HeadFit(rotation, scale, pivot * (1.0, -1.0, -1.0))


def fit_head_to_68(landmarks: Points) -> tuple[HeadFit, Doubles]:
    """Fit the canonical head to 68 landmarks, (68, 2) px, in weak perspective.

    Returns:
        the fit, and the canonical face mesh moved there, (468, 3) px.
    """
    rotations, scales, pivots = fit_heads_to_68(landmarks[None])
    fit = HeadFit(rotations[0], float(scales[0]), pivots[0])
    return fit, fit.to_image(canonical_face_mesh()[0])


def fit_heads_to_68(landmarks: Points) -> tuple[Doubles, Doubles, Doubles]:
    """Fit the canonical head to the landmarks of many frames.

    Args:
        landmarks: (T, 68, 2) px.

    Returns:
        rotations (T, 3, 3), px per cm (T,), pivots (T, 3) px, as in :class:`HeadFit`; the depth of the pivots is 0.
    """
    known = canonical_face_mesh()[0][list(IBUG_68)][list(RIGID_68)]
    centre = known.mean(axis=0)
    seen = landmarks[:, RIGID_68].astype(np.float64) * (1.0, -1.0)
    middle = seen.mean(axis=1)
    linear = np.einsum("tnk,nj->tkj", seen - middle[:, None], np.linalg.pinv(known - centre).T)  # (T, 2, 3)
    left, strengths, right = np.linalg.svd(linear, full_matrices=False)
    rows = left @ right  # nearest two orthonormal rows
    rotations = np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], axis=1)
    scales = strengths.mean(axis=1)
    pivots = middle + scales[:, None] * np.einsum("tkj,j->tk", rows, PIVOT_CM - centre)
    return rotations, scales, np.column_stack([pivots * (1.0, -1.0), np.zeros(len(pivots))])
