"""MSE, PSNR and SSIM against scikit-image, and each seen to fall where it should."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import metrics
from skimage.data import astronaut

from speech2vid.constants import FACE_PX
from speech2vid.evaluation import image_metrics

TARGET = slice(1, 110)


@pytest.fixture
def target() -> np.ndarray:
    """Two different crops of a photo, (2, 112, 112, 3)."""
    photo = astronaut()
    return np.stack([photo[40:152, 150:262], photo[60:172, 180:292]])


@pytest.fixture
def blurred(target: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 2.0) for frame in target])


def test_mse_is_that_of_the_papers_crop(target: np.ndarray, blurred: np.ndarray) -> None:
    wanted = metrics.mean_squared_error(
        blurred[:, TARGET, TARGET].astype(float), target[:, TARGET, TARGET].astype(float)
    )
    assert image_metrics.mse(blurred, target) == pytest.approx(wanted, rel=1e-5)
    border = target.copy()
    border[:, 0], border[:, 110:] = 0, 0
    assert image_metrics.mse(border, target) == 0.0


def test_psnr_is_scikit_images_mean_over_frames(target: np.ndarray, blurred: np.ndarray) -> None:
    wanted = [
        metrics.peak_signal_noise_ratio(a[TARGET, TARGET], b[TARGET, TARGET])
        for a, b in zip(target, blurred, strict=True)
    ]
    assert image_metrics.psnr(blurred, target) == pytest.approx(np.mean(wanted), rel=1e-6)


def test_psnr_of_equal_frames_ends_where_rounding_does(target: np.ndarray) -> None:
    assert image_metrics.psnr(target, target) == pytest.approx(58.92, abs=0.01)


def test_ssim_is_scikit_images_with_the_window_of_its_paper(target: np.ndarray, blurred: np.ndarray) -> None:
    noisy = (target + np.random.default_rng(0).normal(0, 25, target.shape)).clip(0, 255).astype(np.uint8)
    for other in (blurred, noisy):
        wanted = [
            metrics.structural_similarity(
                *(cv2.cvtColor(np.ascontiguousarray(each[TARGET, TARGET]), cv2.COLOR_RGB2GRAY) for each in pair),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
            )
            for pair in zip(target, other, strict=True)
        ]
        assert image_metrics.ssim(other, target) == pytest.approx(np.mean(wanted), abs=1e-4)


def test_ssim_is_1_for_itself_and_falls_with_blur(target: np.ndarray, blurred: np.ndarray) -> None:
    assert image_metrics.ssim(target, target) == pytest.approx(1.0, abs=1e-6)
    assert image_metrics.ssim(blurred, target) < 0.9
    more = np.stack([cv2.GaussianBlur(frame, (0, 0), 6.0) for frame in target])
    assert image_metrics.ssim(more, target) < image_metrics.ssim(blurred, target)


def test_a_still_repeated_without_copies_is_measured(target: np.ndarray) -> None:
    still = np.broadcast_to(target[0], (2, FACE_PX, FACE_PX, 3))
    assert image_metrics.mse(still, target) == pytest.approx(image_metrics.mse(target[:1], target[1:]) / 2)
