"""Photos or a video → an identity: slots, closed mouth, colours, crop, sizes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from speech2vid.constants import FACE_PX, MOUTH_POINTS, TARGET_PX
from speech2vid.errors import ConfigError, FaceError, MediaError
from speech2vid.faces import choose_face, lip_opening, still_of_photo, stills_of_video
from speech2vid.geometry import transform_points
from speech2vid.inference.identity import make_identity
from speech2vid.inference.talk import generate_frames
from speech2vid.inference.talkers.base import load_talker, spread
from speech2vid.inference.talkers.warp import WarpIdentity, WarpNetworks, estimate_neutral_mouth
from speech2vid.media import VideoWriter, load_photo
from speech2vid.types import Image


@pytest.fixture(scope="module")
def networks(drawn_weights: Path) -> WarpNetworks:
    return load_talker(drawn_weights, threads=1)


@pytest.fixture(scope="module")
def identity(photo: Path, networks: WarpNetworks) -> WarpIdentity:
    return make_identity([photo], networks)


def save(image: Image, path: Path) -> Path:
    PIL.Image.fromarray(image).save(path)
    return path


def opened(identity: WarpIdentity, networks: WarpNetworks, amounts: list[float]) -> list[Image]:
    """Pictures of the person with the lower lip this many aligned pixels lower."""
    down = np.zeros((len(amounts), 20, 2), np.float32)
    down[:, [5, 6, 7, 8, 9, 10, 11, 17, 18, 19], 1] = np.array(amounts)[:, None]
    return list(generate_frames(identity, networks, [down]))


def test_slots_are_filled_in_order() -> None:
    assert [spread(count) for count in (1, 2, 3, 5)] == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 0, 1, 1, 2],
        [0, 1, 2, 3, 4],
    ]


def test_rest_is_a_linear_function_of_the_landmarks_averaged_over_stills() -> None:
    random = np.random.default_rng(0)
    landmarks = random.random((3, 68, 2)).astype(np.float32) * FACE_PX
    weight = random.normal(size=(40, 137)).astype(np.float32)
    each = [weight @ np.append(points.ravel() / FACE_PX, 1) for points in landmarks]
    expected = np.mean(each, axis=0).reshape(20, 2)
    np.testing.assert_allclose(
        estimate_neutral_mouth(landmarks, weight, np.ones((20, 2), np.float32)), expected, rtol=1e-4
    )


def test_rest_of_five_stills_is_halfway_to_their_mean_mouth_less_that_of_speech() -> None:
    random = np.random.default_rng(0)
    landmarks = random.random((5, 68, 2)).astype(np.float32) * FACE_PX
    speech = random.random((20, 2)).astype(np.float32)
    neutral_mouth = estimate_neutral_mouth(landmarks, np.zeros((40, 137), np.float32), speech)
    np.testing.assert_allclose(neutral_mouth, (landmarks[:, 48:68].mean(axis=0) - speech) / 2, rtol=1e-4)


def test_one_photo(identity: WarpIdentity, photo: Path) -> None:
    assert np.array_equal(identity.canvas, load_photo(photo))
    assert len({id(still) for still in identity.stills}) == 1
    landmarks = identity.stills[0].aligned.landmarks
    np.testing.assert_allclose(identity.mouths, np.repeat(landmarks[None, MOUTH_POINTS], 5, axis=0))
    np.testing.assert_allclose(identity.neutral_mouth, landmarks[MOUTH_POINTS], atol=0.1)  # what the drawn weights say


def test_several_photos_are_ordered_by_opening_and_the_first_is_the_canvas(
    identity: WarpIdentity, networks: WarpNetworks, tmp_path: Path
) -> None:
    images = opened(identity, networks, [6.0, 0.0, 3.0])
    paths = [save(image, tmp_path / f"{i}.png") for i, image in enumerate(images)]
    several = make_identity(paths, networks)
    assert np.array_equal(several.canvas, images[0])
    openings = [still.opening for still in several.stills]
    assert openings == sorted(openings)
    assert openings[-1] > openings[0] + 2
    assert len({id(still) for still in several.stills}) == 3


def test_colours_of_other_stills_are_those_of_the_canvas(photo: Path, networks: WarpNetworks, tmp_path: Path) -> None:
    warm = (load_photo(photo) * np.array([0.95, 0.85, 0.75])).astype(np.uint8)
    both = make_identity([photo, save(warm, tmp_path / "warm.png")], networks)
    one, other = {id(still): still for still in both.stills}.values()
    before = still_of_photo(tmp_path / "warm.png").aligned.image
    mean = [image[60:100, 30:80].mean(axis=(0, 1)) for image in (one.aligned.image, other.aligned.image, before)]
    assert np.abs(mean[0] - mean[1]).max() < 3 < np.abs(mean[0] - mean[2]).max()
    assert np.abs(one.image.astype(int) - other.image).mean() < 4  # the whole pictures too


def test_crop_is_the_aligned_face_at_the_photos_density(
    identity: WarpIdentity, photo: Path, networks: WarpNetworks
) -> None:
    cropped = make_identity([photo], networks, crop=True)
    height, width = cropped.canvas.shape[:2]
    density = 1 / np.hypot(*identity.canvas_transform[:, 0])
    assert height == width == int(TARGET_PX * density) // 2 * 2
    small = cv2.resize(cropped.canvas, (TARGET_PX, TARGET_PX), interpolation=cv2.INTER_AREA).astype(int)
    target = identity.stills[0].aligned.image[1 : 1 + TARGET_PX, 1 : 1 + TARGET_PX]
    assert np.abs(small - target).mean() < 4
    corner = transform_points(cropped.canvas_transform, np.array([-0.5, -0.5]))
    np.testing.assert_allclose(corner, [0.5, 0.5], atol=1e-5)  # the outer corner of pixel (1, 1)


def test_large_photos_are_made_smaller(
    identity: WarpIdentity, photo: Path, networks: WarpNetworks, tmp_path: Path
) -> None:
    large = cv2.resize(load_photo(photo), (2000, 2000), interpolation=cv2.INTER_CUBIC)
    path = save(np.asarray(large, np.uint8), tmp_path / "large.png")
    reduced = make_identity([path], networks, max_size_px=640)
    assert reduced.canvas.shape == (640, 640, 3)
    np.testing.assert_allclose(reduced.mouths, identity.mouths, atol=1.5)
    cropped = make_identity([path], networks, crop=True, max_size_px=640)
    assert cropped.canvas.shape[0] > 0.9 * 109 / np.hypot(*identity.canvas_transform[:, 0]) * 2000 / 512 * 0.9


def test_a_video_gives_its_percentiles_and_its_most_closed_frame(
    identity: WarpIdentity, networks: WarpNetworks, tmp_path: Path
) -> None:
    path = tmp_path / "talking.mp4"
    amounts = [4 - 4 * np.cos(0.35 * index) for index in range(1, 51)]
    with VideoWriter(path, 512, 512, crf=10) as writer:
        writer.write(np.full((512, 512, 3), 128, np.uint8))  # a frame without a face first
        for image in opened(identity, networks, amounts):
            writer.write(image)
    canvas, stills = stills_of_video(path)
    assert canvas.image.shape == (512, 512, 3)
    assert stills[0] is canvas
    openings = np.array([still.opening for still in stills])
    assert (np.diff(openings) >= 0).all()
    at_percentiles = opened(identity, networks, [0.0, *np.percentile(amounts, (30, 50, 70, 90))])
    wanted = [still_of_photo(save(image, tmp_path / "one.png")).opening for image in at_percentiles]
    assert np.abs(openings - wanted).max() < 1.0
    assert openings[-1] > openings[0] + 3
    for still in stills[1:]:
        assert still.image.size < 512 * 512 * 3 / 4  # cut to the face
        again = choose_face(np.pad(still.image, ((60, 60), (60, 60), (0, 0)), mode="edge"), "still")
        assert float(lip_opening(again.landmarks)) * np.hypot(*still.transform[:, 0]) == pytest.approx(
            still.opening, abs=1.5
        )
    assert make_identity([path], networks).canvas.shape == (512, 512, 3)


def test_wrong_inputs(photo: Path, speech: Path, networks: WarpNetworks, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="6 faces were given"):
        make_identity([photo] * 6, networks)
    with pytest.raises(ConfigError, match="0 faces were given"):
        make_identity([], networks)
    with pytest.raises(MediaError, match="has no video stream"):
        make_identity([speech], networks)
    with pytest.raises(MediaError, match="not an image"):
        make_identity([photo, speech], networks)
    empty = tmp_path / "empty.mp4"
    with VideoWriter(empty, 160, 120) as writer:
        for _ in range(5):
            writer.write(np.full((120, 160, 3), 128, np.uint8))
    with pytest.raises(FaceError, match=r"no frontal face was found in .*empty\.mp4"):
        make_identity([empty], networks)
