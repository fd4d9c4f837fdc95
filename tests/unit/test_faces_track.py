"""One face followed through frames: streaming equals whole, shots end a track, jitter is smoothed without delay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.constants import REGISTRATION_POINTS
from speech2vid.faces import PAPER, TrackedFace, aligned_track, smooth_transforms
from speech2vid.faces.align import canonical_points, face_transform
from speech2vid.faces.track import REACH
from speech2vid.geometry import transform_points
from speech2vid.media import load_photo
from speech2vid.types import FaceBox, Image


@pytest.fixture(scope="module")
def portrait(photo: Path) -> Image:
    return load_photo(photo)[:300, 60:380]


@pytest.fixture(scope="module")
def box(portrait: Image) -> FaceBox:
    return PAPER.detector.detect(portrait)[0]


def drifting(portrait: Image, count: int) -> Iterator[Image]:
    """The face moves right by 1.5 px a frame."""
    for index in range(count):
        moved = cv2.warpAffine(
            portrait,
            np.array([[1, 0, 1.5 * index], [0, 1, 0.0]]),
            portrait.shape[1::-1],
            borderMode=cv2.BORDER_REPLICATE,
        )
        yield np.asarray(moved, np.uint8)


@pytest.fixture(scope="module")
def track(portrait: Image, box: FaceBox) -> list[TrackedFace]:
    return list(aligned_track(drifting(portrait, 26), box))


def test_every_frame_is_there_once_and_the_face_stands_still(track: list[TrackedFace]) -> None:
    assert [each.index for each in track] == list(range(26))
    nose = np.array([each.aligned.landmarks[REGISTRATION_POINTS].mean(axis=0) for each in track])
    off = np.abs(nose - canonical_points()[REGISTRATION_POINTS].mean(axis=0)).max(axis=1)
    assert off[REACH:-REACH].max() < 0.6
    assert off.max() < 1.5  # at the ends smoothing sees one side only
    first, last = (track[index].aligned.image.astype(float) for index in (REACH, 20))
    assert np.abs(first - last).mean() < 4
    assert track[20].landmarks[:, 0].mean() - track[0].landmarks[:, 0].mean() == pytest.approx(30, abs=1.5)


def test_streamed_transforms_are_those_of_the_whole_track(track: list[TrackedFace]) -> None:
    whole = smooth_transforms(np.stack([each.landmarks for each in track]))
    for each, transform in zip(track, whole, strict=True):
        np.testing.assert_allclose(each.aligned.transform, transform, atol=1e-12)
        np.testing.assert_allclose(each.aligned.landmarks, transform_points(transform, each.landmarks), atol=1e-4)


def test_only_a_few_frames_are_held(portrait: Image, box: FaceBox) -> None:
    taken = 0

    def counted() -> Iterator[Image]:
        nonlocal taken
        for image in drifting(portrait, 12):
            taken += 1
            yield image

    for each in aligned_track(counted(), box):
        assert taken <= each.index + REACH + 1


def test_another_place_ends_the_track(portrait: Image, box: FaceBox) -> None:
    elsewhere = np.roll(portrait, 150, axis=1)
    frames = [portrait] * 13 + [elsewhere] * 13
    assert 13 <= len(list(aligned_track(frames, box))) <= 24
    empty = np.full_like(portrait, 128)
    assert len(list(aligned_track([portrait] * 12 + [empty] * 12, box))) == 12


def test_smoothing_takes_jitter_and_leaves_motion() -> None:
    still = canonical_points() * 2
    steady = np.stack([still + np.array([3.0 * t, -t]) for t in range(30)])
    for t, transform in enumerate(smooth_transforms(steady)):
        if REACH <= t < 30 - REACH:
            np.testing.assert_allclose(transform, face_transform(steady[t]), atol=1e-4)
    jitter = np.random.default_rng(0).normal(0, 1, (200, 1, 2)).astype(np.float32)
    shifts = np.array([transform[:, 2] for transform in smooth_transforms(still + jitter)])
    raw = np.array([face_transform(points)[:, 2] for points in still + jitter])
    assert shifts.std() < 0.65 * raw.std()


def test_a_single_frame_is_a_track(portrait: Image, box: FaceBox) -> None:
    (only,) = aligned_track([portrait], box)
    np.testing.assert_allclose(only.aligned.transform, face_transform(only.landmarks), atol=1e-9)
