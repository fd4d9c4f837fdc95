"""Same face near, other face far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech2vid.faces import PAPER, align, embed, embedding_distance, face_chip
from speech2vid.faces.embedding import CHIP_PX, EMBEDDING_SIZE
from speech2vid.media import load_photo
from speech2vid.types import AlignedFace, Image


@pytest.fixture(scope="module")
def portrait(photo: Path) -> tuple[Image, np.ndarray, AlignedFace]:
    image = load_photo(photo)
    landmarks = PAPER.find(image)[0].landmarks
    return image, landmarks, align(image, landmarks)


def test_photo_and_its_aligned_face_are_one_person_and_a_distorted_face_is_less_so(portrait) -> None:
    image, landmarks, aligned = portrait
    distorted = aligned.image[:, ::-1] // 2 + np.roll(aligned.image, 25, axis=0) // 2
    chips = [
        face_chip(image, landmarks),
        face_chip(aligned.image, aligned.landmarks),
        face_chip(np.ascontiguousarray(distorted), aligned.landmarks),
    ]
    photo, small, other = embed(chips)
    assert photo.shape == (EMBEDDING_SIZE,)
    near, far = embedding_distance(photo, small), embedding_distance(photo, other)
    assert near < 0.25
    assert far > near + 0.2
    assert embedding_distance(photo, photo) == 0.0


def test_chips_repeat_the_border_instead_of_showing_black(portrait) -> None:
    _, _, aligned = portrait
    bright = np.full_like(aligned.image, 200)
    chip = face_chip(bright, aligned.landmarks)
    assert chip.shape == (CHIP_PX, CHIP_PX, 3)
    assert (chip == 200).all()


def test_shapes_are_checked(portrait) -> None:
    image, landmarks, _ = portrait
    with pytest.raises(ValueError, match="landmarks"):
        face_chip(image, landmarks[:5])
    with pytest.raises(ValueError, match="chip"):
        embed([image])
    assert embed([]).shape == (0, EMBEDDING_SIZE)


def test_distances_are_euclidean_and_broadcast() -> None:
    a, b = np.zeros((3, 128), np.float32), np.ones(128, np.float32)
    np.testing.assert_allclose(embedding_distance(a, b), [np.sqrt(128)] * 3, rtol=1e-6)
