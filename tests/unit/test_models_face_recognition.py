"""dlib's face-recognition network in PyTorch: held against dlib itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech2vid.errors import WeightsError
from speech2vid.faces import PAPER, align, embed, face_chip
from speech2vid.faces.dlib_models import LANDMARKS_FILE, RECOGNITION_FILE, model_path
from speech2vid.media import load_photo
from speech2vid.models.dlib_file import read_layers
from speech2vid.models.face_recognition import EMBEDDING_SIZE, TAPS, FaceRecognition, at_its_size
from speech2vid.training.task import pixels

RECOGNITION = model_path(RECOGNITION_FILE)


@pytest.fixture(scope="module")
def network() -> FaceRecognition:
    return FaceRecognition.from_dlib(RECOGNITION)


def test_equals_dlib(network: FaceRecognition, photo: Path) -> None:
    image = load_photo(photo)
    chip = face_chip(image, PAPER.find(image)[0].landmarks)
    noise = np.random.default_rng(0).integers(0, 256, chip.shape, np.uint8)
    chips = np.stack([chip, chip[:, ::-1], noise, np.zeros_like(chip)])
    ours = network(pixels(torch.from_numpy(chips))).embedding.numpy()
    np.testing.assert_allclose(ours, embed(chips), atol=1e-5)
    assert np.linalg.norm(ours[0] - ours[1]) < 0.4 < np.linalg.norm(ours[0] - ours[2])


def test_an_aligned_face_is_recognised_at_the_networks_size_only(network: FaceRecognition, photo: Path) -> None:
    image = load_photo(photo)
    landmarks = PAPER.find(image)[0].landmarks
    wanted = torch.from_numpy(embed([face_chip(image, landmarks)]))
    aligned = pixels(torch.from_numpy(align(image, landmarks).image))[None]
    assert (network(at_its_size(aligned)).embedding - wanted).norm() < 0.4
    assert (network(aligned).embedding - wanted).norm() > 1.0


@pytest.mark.parametrize(("size", "sides"), [(150, (72, 35, 17, 8, 4)), (112, (53, 26, 13, 6, 3))])
def test_taps(network: FaceRecognition, size: int, sides: tuple[int, ...]) -> None:
    faces = torch.rand(2, 3, size, size)
    seen = network(faces)
    assert len(seen.taps) == len(TAPS)
    for maps, channels, side in zip(seen.taps, (32, 32, 64, 128, 256), sides, strict=True):
        assert maps.shape == (2, channels, side, side)
        assert maps.min() == 0.0, "after ReLU"
    assert seen.embedding.shape == (2, EMBEDDING_SIZE)
    for ours, theirs in zip(network.taps(faces), seen.taps, strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_reach_the_face_and_leave_the_weights(network: FaceRecognition) -> None:
    faces = torch.rand(1, 3, 112, 112, requires_grad=True)
    network.train()
    network(faces).embedding.square().sum().backward()
    assert isinstance(faces.grad, Tensor)
    assert faces.grad.abs().sum() > 0
    assert not any(each.requires_grad for each in network.parameters())


def test_another_or_a_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.dat cannot be read"):
        read_layers(tmp_path / "none.dat")
    blob = RECOGNITION.read_bytes()
    for name, content in {
        "cut": blob[:-100],
        "longer": blob + b"\x01\x05",
        "changed": blob[:400_000] + b"\xff" * 100_000 + blob[400_000:],
        "empty": b"",
    }.items():
        path = tmp_path / f"{name}.dat"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"{name}.dat is not dlib's face-recognition network"):
            FaceRecognition.from_dlib(path)
    with pytest.raises(WeightsError, match=LANDMARKS_FILE):
        FaceRecognition.from_dlib(model_path(LANDMARKS_FILE))
