"""Cuts are found to the frame; flashes, fades and movement are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.faces.shots import split_shots
from speech2vid.media import load_photo
from speech2vid.types import Image


@pytest.fixture(scope="module")
def portrait(photo: Path) -> Image:
    return np.asarray(cv2.resize(load_photo(photo)[:300, 60:360], (160, 120), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def other(photo: Path) -> Image:
    return np.asarray(cv2.resize(load_photo(photo)[280:, 200:], (160, 120), interpolation=cv2.INTER_AREA), np.uint8)


def moving(image: Image, frames: int) -> list[Image]:
    """The picture pans and has noise."""
    noise = np.random.default_rng(0)
    shifted = [np.roll(image, index, axis=1) for index in range(frames)]
    return [np.clip(each + noise.normal(0, 3, each.shape), 0, 255).astype(np.uint8) for each in shifted]


def cuts(images: list[Image]) -> list[int]:
    frames = list(split_shots(images))
    assert [frame.index for frame in frames] == list(range(len(images)))
    assert all(frame.image is image for frame, image in zip(frames, images, strict=True))
    return [frame.index for frame in frames if frame.number == 0]


def test_cuts_are_found_to_the_frame(portrait: Image, other: Image) -> None:
    assert cuts(moving(portrait, 20) + moving(other, 5) + moving(portrait, 9)) == [0, 20, 25]


def test_a_plain_slide_is_a_shot_and_plain(portrait: Image) -> None:
    images = moving(portrait, 10) + [np.full_like(portrait, 90)] * 10
    assert cuts(images) == [0, 10]
    assert [frame.plain for frame in split_shots(images)] == [False] * 10 + [True] * 10


@pytest.mark.parametrize("lasting", [1, 2, 3])
def test_a_flash_is_no_cut_and_is_marked(portrait: Image, lasting: int) -> None:
    images = moving(portrait, 20)
    images[8 : 8 + lasting] = [np.full_like(portrait, 250)] * lasting
    assert cuts(images) == [0]
    assert [frame.index for frame in split_shots(images) if frame.flash] == list(range(8, 8 + lasting))


def test_a_fade_to_half_light_is_no_cut(portrait: Image) -> None:
    light = np.r_[np.ones(8), np.linspace(1, 0.4, 4), np.full(6, 0.4), np.linspace(0.4, 1, 4), np.ones(5)]
    images = [(image * each).astype(np.uint8) for image, each in zip(moving(portrait, len(light)), light, strict=True)]
    assert cuts(images) == [0]


def test_nothing_is_no_shot() -> None:
    assert not list(split_shots([]))
