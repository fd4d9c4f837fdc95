"""Affine and similarity transforms of the plane, and points under them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.types import Affine, Points


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> Affine:
    """Least-squares rotation, uniform scale and shift of ``source`` onto ``target`` (Umeyama); never a reflection.

    Args:
        source: (N, 2) points.
        target: (N, 2) points.

    Returns:
        (2, 3) float64.

    Raises:
        ValueError: the source points coincide.
    """
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    s, t = source - mean_s, target - mean_t
    spread = float((s * s).sum())
    if spread <= 1e-12:
        raise ValueError("points coincide: no similarity transform")
    # In the plane the optimal rotation and scale are one complex number: a + ib
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.hstack([linear, (mean_t - linear @ mean_s)[:, None]])


def invert(transform: Affine) -> Affine:
    """The inverse of an affine transform, (2, 3) float64."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(transform, np.float64)), np.float64)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The transform that applies ``inner``, then ``outer``."""
    full = np.vstack([inner, [0.0, 0.0, 1.0]])
    return np.asarray(np.asarray(outer, np.float64) @ full, np.float64)


def transform_points(transform: Affine, points: NDArray[np.floating]) -> Points:
    """Apply an affine transform to (..., 2) points."""
    return (np.asarray(points, np.float64) @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


def remapped(image: NDArray[Any], places: NDArray[Any], interpolation: int = cv2.INTER_LINEAR) -> NDArray[Any]:
    """Sample an image, (H, W[, C]), at places (h, w, 2) float32, x and y in its pixels; outside, its border counts."""
    nothing: Any = None  # OpenCV's type hints do not know that x and y may be one array
    return np.asarray(cv2.remap(image, places, nothing, interpolation, borderMode=cv2.BORDER_REPLICATE))


def smoothstep(values: NDArray[Any]) -> NDArray[Any]:
    """Return 0 up to 0, 1 from 1 on, and in between 3 x² − 2 x³, in the type of the values."""
    x = np.clip(values, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
