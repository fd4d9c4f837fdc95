"""One picture: what is changed of it, and above all what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.constants import FACE_PX, IDENTITY_STILLS, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH
from speech2vid.faces import PAPER
from speech2vid.geometry import invert, transform_points
from speech2vid.inference.redub_frame import Change, FrameRedubber, plan_changes
from speech2vid.inference.redubbers.base import Person
from speech2vid.inference.redubbers.poisson import PoissonBlender
from speech2vid.inference.redubbers.warp import (
    PaintedRedubber,
    clamp_blue,
    near_mouths,
    open_still,
    restrict_to_mouth,
)
from speech2vid.inference.talkers.base import WarpFields, load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.inference.video_tracks import SeenFace, SeenStill, VideoTracks
from speech2vid.media import RawFrame, RawVideoReader, VideoWriter, load_photo

MOUTH = np.stack([50 + 12 * np.cos(np.arange(20)), 85 + 5 * np.sin(np.arange(20))], axis=-1).astype(np.float32)


def test_other_moments_show_near_the_lips_alone() -> None:
    near = near_mouths(MOUTH, MOUTH + np.float32([0, 4]))
    assert near.shape == (REGION_HEIGHT, REGION_WIDTH)
    assert near[85 - REGION_TOP, 50 - REGION_LEFT] == 1
    assert near[:8].max() == near[:, :8].max() == near[:, -8:].max() == 0
    masks = np.random.default_rng(0).dirichlet(np.ones(IDENTITY_STILLS + 1), (2, REGION_HEIGHT, REGION_WIDTH))
    fields = WarpFields(np.zeros(0), np.moveaxis(masks, -1, 1).astype(np.float32), np.zeros(0))
    changed = restrict_to_mouth(fields, [True, True, False, False, False], near).masks
    np.testing.assert_allclose(changed.sum(axis=1), 1, atol=1e-5)
    assert changed[:, 2:, :8].max() == 0
    lips = np.s_[:, :, 85 - REGION_TOP, 50 - REGION_LEFT]
    np.testing.assert_allclose(changed[lips], fields.masks[lips], atol=1e-6)


def test_nothing_purple_is_painted_into_a_face_in_white_light() -> None:
    purple, pink = np.float32([0.5, 0.1, 0.4]), np.float32([0.8, 0.5, 0.5])
    fields = WarpFields(np.zeros(0), np.zeros(0), np.stack([purple, pink])[:, :, None, None])
    skin = np.full((FACE_PX, FACE_PX, 3), (200, 150, 140), np.uint8)
    generated = clamp_blue(fields, skin).residual[..., 0, 0]
    assert generated[0] == pytest.approx([0.5, 0.1, 0.1 - 10 / 255 + 0.08], abs=1e-5)
    assert generated[1] == pytest.approx(pink)
    blue_light = np.full((FACE_PX, FACE_PX, 3), (60, 80, 160), np.uint8)
    assert clamp_blue(fields, blue_light).residual[0, :, 0, 0] == pytest.approx(purple)


@pytest.fixture(scope="module")
def frame(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> RawFrame:
    path = tmp_path_factory.mktemp("repaint") / "one.mp4"
    with VideoWriter(path, 360, 300, crf=4) as writer:
        writer.write(load_photo(photo)[:300, 30:390])
    return next(iter(RawVideoReader(path)))


@pytest.fixture(scope="module")
def redubber(drawn_weights: Path) -> PaintedRedubber:
    talker = load_talker(drawn_weights, threads=1)
    assert isinstance(talker, WarpNetworks)
    return PaintedRedubber(talker, PoissonBlender())


@pytest.fixture(scope="module")
def change(frame: RawFrame, redubber: PaintedRedubber) -> Change:
    """The face of the picture, about to open its mouth."""
    image = frame.shown()
    landmarks = PAPER.find(image)[0].landmarks
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
    face = SeenFace(0, 0, 0, landmarks[None], 0, np.empty((0, 31), np.float32))
    still = SeenStill(jpeg.ravel(), landmarks, 0.0, 0.0)
    tracks = VideoTracks(np.zeros(1, np.int64), np.full(1, 512), [0], [face], [[still]])
    motions = np.zeros((3, 20, 2), np.float32)
    motions[:, [6, 7, 8, 9, 10, 11, 17, 18, 19], 1] = 6
    return plan_changes(tracks, frame.format, [motions], redubber)[0]


def test_outside_the_region_the_stored_samples_stay(frame: RawFrame, change: Change, redubber: PaintedRedubber) -> None:
    generated = FrameRedubber([change], redubber)(frame.copy(), 0.06)
    corners = np.array([[x, y] for x in (REGION_LEFT, REGION_LEFT + REGION_WIDTH) for y in (REGION_TOP, FACE_PX)])
    place = transform_points(invert(change.plan.transforms[0]), corners)
    low, high = place.min(axis=0) - 4, place.max(axis=0) + 4
    for old, new, step in zip(frame.planes, generated.planes, (1, 2, 2), strict=True):
        rows, columns = np.nonzero(old != new)
        assert len(rows) > 100 / step
        assert columns.min() * step >= low[0]
        assert columns.max() * step <= high[0]
        assert rows.min() * step >= low[1]
        assert rows.max() * step <= high[1]


def test_a_frame_without_a_face_that_speaks_is_not_touched(
    frame: RawFrame, change: Change, redubber: PaintedRedubber
) -> None:
    planes = list(frame.planes)
    assert FrameRedubber([], redubber)(frame, 0.06).planes == planes
    change.plan.weight[0], weight = 0, change.plan.weight[0]
    assert FrameRedubber([change], redubber)(frame, 0.06).planes == planes
    change.plan.weight[0] = weight


def test_the_open_mouth_beside_is_one_of_the_same_pose(change: Change) -> None:
    still, _ = change.prepared
    turned = replace(still.aligned, landmarks=still.aligned.landmarks + np.float32(8))
    candidates = [replace(still, opening=o) for o in (0.0, 1.0, 6.0)]
    candidates.append(replace(still, opening=6.2, aligned=turned))
    assert open_still(Person(tuple(candidates), ()), change.plan) is candidates[2]
