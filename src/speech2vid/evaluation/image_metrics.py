"""How close two images are, as the field counts it: MSE, PSNR, SSIM, over the paper's 109 px target (Sect. 5)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import TARGET_OFFSET_PX, TARGET_PX
from speech2vid.types import Floats, Frames

LEVELS = 255.0
ROUNDING_MSE = (
    1 / 12
)  # of grey levels rounded to whole numbers: no error below it can be seen, and so PSNR ends at 58.9
SSIM_SIGMA_PX, SSIM_WINDOW_PX = 1.5, 11  # Wang et al. 2004
SSIM_STEADY = ((0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2)
_TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)


def mse(generated: Frames, target: Frames) -> float:
    """Mean squared error, grey levels 0–255: (T, 112, 112, 3) uint8 RGB twice."""
    return float(_squared_errors(generated, target).mean())


def psnr(generated: Frames, target: Frames) -> float:
    """Peak signal-to-noise ratio, dB: mean over frames of 10 log₁₀(255² / MSE), at most 58.9 for equal frames."""
    errors = np.maximum(_squared_errors(generated, target), ROUNDING_MSE)
    return float(np.mean(10 * np.log10(LEVELS**2 / errors)))


def ssim(generated: Frames, target: Frames) -> float:
    """Structural similarity of luminance, mean over frames: Gaussian window of 11 px, σ 1.5 (Wang et al. 2004)."""
    return float(np.mean([_ssim(_grey(a), _grey(b)) for a, b in zip(generated, target, strict=True)]))


def _squared_errors(generated: Frames, target: Frames) -> NDArray[np.float64]:
    """(T,) of each frame."""
    return np.array(
        [
            np.mean((a[_TARGET, _TARGET].astype(np.float32) - b[_TARGET, _TARGET]) ** 2, dtype=np.float64)
            for a, b in zip(generated, target, strict=True)
        ]
    )


def _grey(frame: NDArray[np.uint8]) -> Floats:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame[_TARGET, _TARGET]), cv2.COLOR_RGB2GRAY), np.float32)


def _ssim(a: Floats, b: Floats) -> float:
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a = _blurred(a * a) - mean_a * mean_a
    var_b = _blurred(b * b) - mean_b * mean_b
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = SSIM_STEADY
    over = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    under = (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    inside = slice(SSIM_WINDOW_PX // 2, -(SSIM_WINDOW_PX // 2))  # where the window lies in the image
    return float((over / under)[inside, inside].mean(dtype=np.float64))


def _blurred(image: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (SSIM_WINDOW_PX, SSIM_WINDOW_PX), SSIM_SIGMA_PX), np.float32)
