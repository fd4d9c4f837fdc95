"""Faces at any tilt with HOG and dlib: upright ones as before, others by BlazeFace's tilt, in videos refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid import ConfigError, FaceError, make_identity
from speech2vid.faces import PAPER, choose_face
from speech2vid.faces.upright import is_tilted
from speech2vid.geometry import transform_points
from speech2vid.inference.active_speaker import require_people
from speech2vid.inference.talkers.base import Generated, Identity, Talker
from speech2vid.inference.track_cache import load, save
from speech2vid.inference.video_tracks import find_tracks
from speech2vid.media import VideoWriter, load_photo
from speech2vid.types import Affine, Floats, Image

EYES = (36, 45)  # outer corners
TILTS = (180, 40, -40, 90, -90, 135, 60, 30)


class NoTalker(Talker):
    """Takes identities as the base class prepares them, and generates nothing."""

    def generate(self, identity: Identity, drive: Floats) -> Generated:
        raise NotImplementedError


@pytest.fixture(scope="module")
def portrait(photo: Path) -> Image:
    return load_photo(photo)


def turned(image: Image, degrees: float) -> tuple[Image, Affine]:
    """Turn an image clockwise, nothing cut off; return it and where its pixels went."""
    height, width = image.shape[:2]
    cosine, sine = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    size = round(cosine * width + sine * height), round(cosine * height + sine * width)
    moved = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    moved[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    return np.asarray(cv2.warpAffine(image, moved, size, borderValue=(90, 90, 90)), np.uint8), moved


@pytest.mark.parametrize("degrees", TILTS)
def test_landmarks_turn_with_the_photo(degrees: int, portrait: Image) -> None:
    expected = choose_face(portrait, "photo").landmarks
    image, moved = turned(portrait, degrees)
    found = choose_face(image, "photo").landmarks
    eye_distance = np.linalg.norm(expected[EYES[1]] - expected[EYES[0]])
    errors = np.linalg.norm(found - transform_points(moved, expected), axis=1) / eye_distance
    assert errors.mean() < 0.05
    assert errors[48:68].mean() < 0.06, "the mouth"


def test_upright_photo_keeps_the_landmarks_of_hog_and_dlib(portrait: Image) -> None:
    (expected,) = PAPER.find(portrait)
    found = choose_face(portrait, "photo")
    assert (found.landmarks == expected.landmarks).all()
    assert found.box == expected.box


def test_two_people_one_of_them_upside_down_are_both_found(portrait: Image) -> None:
    from speech2vid.faces import faces_from_left

    both = np.concatenate([portrait, portrait[::-1, ::-1]], axis=1)
    left, right = faces_from_left(both)
    assert left.box.roll_deg == 0
    assert abs(right.box.roll_deg) > 160
    assert right.landmarks[8, 1] < right.landmarks[27, 1], "its chin is above its nose"


def test_image_without_a_face_has_none_at_any_tilt() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(FaceError, match="no frontal face"):
        choose_face(noise, "noise")


@pytest.mark.parametrize(("degrees", "noted"), [(180, True), (90, True), (0, False), (20, False)])
def test_identity_says_that_the_face_lies(degrees: int, noted: bool, portrait: Image) -> None:
    identity = make_identity(turned(portrait, degrees)[0], NoTalker())
    assert ("tilted by" in " ".join(identity.notes)) == noted
    points = identity.stills[0].aligned.landmarks
    assert points[:27, 1].min() < points[36:48, 1].mean() < points[30, 1] < points[48:68, 1].mean() < points[8, 1]


@pytest.fixture(scope="module")
def portrait_video(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """Write 0.6 s of a face that lies at an angle."""
    face = cv2.resize(load_photo(photo)[:300, 60:360], (240, 240), interpolation=cv2.INTER_AREA)
    folder = tmp_path_factory.mktemp("tilted")

    def write(degrees: float) -> Path:
        image, _ = turned(np.asarray(face, np.uint8), degrees)
        path = folder / f"{degrees}.mp4"
        with VideoWriter(path, image.shape[1], image.shape[0], preset="ultrafast", crf=8) as writer:
            for _ in range(15):
                writer.write(image)
        return path

    return write


@pytest.mark.parametrize("degrees", [180, 40, -40, 90])
def test_video_of_a_lying_face_is_refused(degrees: int, portrait_video: Callable[[float], Path]) -> None:
    path = portrait_video(degrees)
    with pytest.raises(FaceError, match=r"tilted by|no frontal face|shape of a face") as caught:
        make_identity(path, NoTalker())
    assert "upright" in caught.value.hint
    tracks = find_tracks(path)
    assert not tracks.faces
    with pytest.raises(FaceError, match=r"on their side or upside down|no face was found"):
        require_people(tracks, path)


def test_tilted_faces_of_a_video_are_counted_and_remembered(
    portrait: Image, portrait_video: Callable[[float], Path], tmp_path: Path
) -> None:
    image, _ = turned(portrait, 40)
    (hog,) = PAPER.find(image)
    assert is_tilted(image, hog.box, PAPER)
    assert not is_tilted(portrait, PAPER.find(portrait)[0].box, PAPER)
    tracks = find_tracks(portrait_video(40))
    save(tracks, tmp_path / "a.npz")
    kept = load(tmp_path / "a.npz")
    assert kept is not None
    assert kept.tilted == tracks.tilted
    assert not find_tracks(portrait_video(0)).tilted


def test_index_and_size_count_tilted_faces_too(portrait: Image) -> None:
    both = np.concatenate([portrait, portrait[::-1, ::-1]], axis=1)
    with pytest.raises(FaceError, match="2 faces of about the same size"):
        choose_face(both, "both")
    assert abs(choose_face(both, "both", 1).box.roll_deg) > 160
    with pytest.raises(ConfigError):
        make_identity(both, NoTalker(), face_index=-1)
