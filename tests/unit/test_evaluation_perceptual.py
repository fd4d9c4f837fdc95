"""Content distance: the paper's loss without its picture term, 0 for equal faces, larger for more different ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from speech2vid.evaluation.perceptual import FaceJudge
from speech2vid.faces import align, detect_faces, embed, face_chip
from speech2vid.media import load_photo
from speech2vid.models.face_recognition import at_its_size


@pytest.fixture(scope="module")
def judge() -> FaceJudge:
    found = FaceJudge.where_possible()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def frames(photo: Path) -> np.ndarray:
    """(6, 112, 112, 3): a face that gets brighter; the content distance looks at the first and the last."""
    picture = load_photo(photo)
    face = align(picture, detect_faces(picture)[0].landmarks).image
    return np.stack([cv2.convertScaleAbs(face, alpha=1, beta=2 * number) for number in range(6)])


def test_equal_faces_have_none_and_blur_is_seen(judge: FaceJudge, frames: np.ndarray) -> None:
    assert judge.content_distance(frames, frames) == 0.0
    little, much = (np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in frames]) for sigma in (1.0, 4.0))
    assert 0 < judge.content_distance(little, frames) < judge.content_distance(much, frames)
    between = little.copy()
    between[1:5] = 0  # frames that are not looked at
    assert judge.content_distance(between, frames) == judge.content_distance(little, frames)


def test_it_is_the_mean_difference_of_each_layer_summed(judge: FaceJudge, frames: np.ndarray) -> None:
    other = frames[:, :, ::-1].copy()
    taps = []
    for each in (frames, other):
        chosen = each[[0, 5], 1:110, 1:110].transpose(0, 3, 1, 2).copy()
        taps.append(judge._network.taps(at_its_size(torch.from_numpy(chosen).float() / 255)))
    wanted = sum(float((a - b).abs().mean()) for a, b in zip(*taps, strict=True))
    assert judge.content_distance(other, frames) == pytest.approx(wanted, rel=1e-5)


def test_a_still_repeated_is_as_its_copies(judge: FaceJudge, frames: np.ndarray) -> None:
    still = np.broadcast_to(frames[3], frames.shape)
    assert judge.content_distance(still, frames) == pytest.approx(
        judge.content_distance(still.copy(), frames), rel=1e-5
    )
    other = frames[::-1].copy()  # another truth: what was seen before does not count
    assert judge.content_distance(frames, other) == pytest.approx(judge.content_distance(other, frames), rel=1e-5)


def test_embeddings_are_dlibs(judge: FaceJudge, photo: Path) -> None:
    picture = load_photo(photo)
    chip = face_chip(picture, detect_faces(picture)[0].landmarks)
    chips = [chip, np.ascontiguousarray(chip[:, ::-1])]
    np.testing.assert_allclose(judge.embed(chips), embed(chips), atol=1e-4)
