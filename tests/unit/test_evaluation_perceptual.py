"""Content distance: the paper's loss without its picture term, 0 for equal faces, larger for more different ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from speech2vid.evaluation.perceptual import PerceptualMetric
from speech2vid.faces import PAPER, align, embed, face_chip
from speech2vid.media import load_photo
from speech2vid.models.face_recognition import at_its_size


@pytest.fixture(scope="module")
def perceptual() -> PerceptualMetric:
    found = PerceptualMetric.where_possible()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def frames(photo: Path) -> np.ndarray:
    """(6, 112, 112, 3): a face that gets brighter; the content distance looks at the first and the last."""
    image = load_photo(photo)
    face = align(image, PAPER.find(image)[0].landmarks).image
    return np.stack([cv2.convertScaleAbs(face, alpha=1, beta=2 * number) for number in range(6)])


def test_equal_faces_have_none_and_blur_is_seen(perceptual: PerceptualMetric, frames: np.ndarray) -> None:
    assert perceptual.content_distance(frames, frames) == 0.0
    little, much = (np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in frames]) for sigma in (1.0, 4.0))
    assert 0 < perceptual.content_distance(little, frames) < perceptual.content_distance(much, frames)
    between = little.copy()
    between[1:5] = 0  # frames that are not looked at
    assert perceptual.content_distance(between, frames) == perceptual.content_distance(little, frames)


def test_it_is_the_mean_difference_of_each_layer_summed(perceptual: PerceptualMetric, frames: np.ndarray) -> None:
    other = frames[:, :, ::-1].copy()
    taps = []
    for each in (frames, other):
        chosen = each[[0, 5], 1:110, 1:110].transpose(0, 3, 1, 2).copy()
        taps.append(perceptual._network.taps(at_its_size(torch.from_numpy(chosen).float() / 255)))
    wanted = sum(float((a - b).abs().mean()) for a, b in zip(*taps, strict=True))
    assert perceptual.content_distance(other, frames) == pytest.approx(wanted, rel=1e-5)


def test_a_still_repeated_is_as_its_copies(perceptual: PerceptualMetric, frames: np.ndarray) -> None:
    still = np.broadcast_to(frames[3], frames.shape)
    assert perceptual.content_distance(still, frames) == pytest.approx(
        perceptual.content_distance(still.copy(), frames), rel=1e-5
    )
    other = frames[::-1].copy()  # another truth: what was seen before does not count
    assert perceptual.content_distance(frames, other) == pytest.approx(
        perceptual.content_distance(other, frames), rel=1e-5
    )


def test_embeddings_are_dlibs(perceptual: PerceptualMetric, photo: Path) -> None:
    image = load_photo(photo)
    chip = face_chip(image, PAPER.find(image)[0].landmarks)
    chips = [chip, np.ascontiguousarray(chip[:, ::-1])]
    np.testing.assert_allclose(perceptual.embed(chips), embed(chips), atol=1e-4)
