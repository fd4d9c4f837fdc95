"""A photo's head in motion: what moves, what stays, and what a seed decides."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.audio.windows import frame_count
from speech2vid.constants import FACE_PX, SAMPLE_RATE_HZ
from speech2vid.faces import Still, still_of_photo
from speech2vid.faces.align import align, canonical_points
from speech2vid.faces.head_motion import COLUMNS, EYELIDS, HEAD, blinks, head_motion, motion_figures
from speech2vid.faces.head_pose import angles_of, fit_heads_to_68
from speech2vid.faces.mesh import IBUG_68, canonical_face_mesh
from speech2vid.geometry import invert, transform_points
from speech2vid.inference.head.motion import FAR, FARTHEST, HeadMotionStream, bounded
from speech2vid.inference.head.proxy import head_fields, head_shape, moving_box
from speech2vid.inference.head.renderer import HeadRenderer
from speech2vid.inference.head.samplers import ProceduralSampler
from speech2vid.inference.identity import _scene
from speech2vid.inference.talkers.base import Identity
from speech2vid.types import Floats, Image


def still_at(image: Image, face_px: float, x: float, y: float) -> Still:
    """Return a still whose face, a square of ``face_px`` px, has its corner at (x, y)."""
    transform = invert(np.array([[face_px / FACE_PX, 0, x], [0, face_px / FACE_PX, y]], np.float64))
    return Still(
        image, align(image, transform_points(invert(transform), canonical_points()), transform=transform), 0, 0
    )


def identity(still: Still) -> Identity:
    plain = Identity(still.image, still.transform, (still,) * 5)
    return Identity(plain.canvas, plain.canvas_transform, plain.stills, scene=_scene(still, plain))


def coordinates(height: int, width: int) -> Image:
    """Return an image whose red and green ramps say where a pixel is, to a fraction of a pixel."""
    rows, columns = np.indices((height, width))
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = columns * 255 // (width - 1), rows * 255 // (height - 1)
    return image


def frame_of(renderer: HeadRenderer, image: Image, motion: Floats) -> Image:
    frame = image.copy()
    part = renderer(motion, image[:1, :1], (0, 0))
    left, top = renderer.corner
    frame[top : top + part.shape[0], left : left + part.shape[1]] = part
    return frame


def far_poses() -> list[Floats]:
    """Return rows of motion as far from the photo as they get: in each column alone, and in all kinds of mixtures."""
    rng = np.random.default_rng(0)
    directions = np.concatenate([np.eye(7), -np.eye(7), rng.standard_normal((40, 7))])
    poses = [bounded(100 * FAR * direction) for direction in directions]
    return [np.array([*pose, 0, 0], np.float32) for pose in poses]


def displacement(renderer: HeadRenderer, motion: Floats) -> Floats:
    """Return how far each pixel of the moving part is sampled from its place, (h, w) px."""
    small = renderer._sources(motion[HEAD])
    large = cv2.resize(small, renderer.size, interpolation=cv2.INTER_LINEAR) / 2
    return np.asarray(np.linalg.norm(large, axis=2), np.float32)


@pytest.fixture(scope="module")
def grid_image() -> Image:
    image = np.full((600, 800, 3), 200, np.uint8)
    image[::40], image[:, ::40] = 20, 20
    return image


def test_background_beyond_half_a_face_stays_in_place(grid_image: Image) -> None:
    person = identity(still_at(grid_image, 160, 320, 180))
    renderer = HeadRenderer(person)
    assert person.scene is not None
    points = head_shape(grid_image, person.scene.landmarks).points[:, :2]
    face_height = float(np.ptp(points[:, 1]))
    low, high = points.min(axis=0), points.max(axis=0)
    low[1] -= 0.35 * face_height  # hair
    rows, columns = np.indices(grid_image.shape[:2])
    outside = np.hypot(
        np.maximum(0, np.maximum(low[0] - columns, columns - high[0])),
        np.maximum(0, np.maximum(low[1] - rows, rows - high[1])),
    )
    far = outside > face_height / 2
    assert 0.2 < far.mean() < 0.9
    moved = np.zeros(grid_image.shape[:2])
    left, top = renderer.corner
    for motion in far_poses():
        part = displacement(renderer, motion)
        assert max(edge.max() for edge in (part[0], part[-1], part[:, 0], part[:, -1])) < 0.2
        region = moved[top : top + part.shape[0], left : left + part.shape[1]]
        np.maximum(region, part, out=region)
        frame = frame_of(renderer, grid_image, motion)
        assert np.abs(frame.astype(int) - grid_image)[far].max() <= 40  # lines stay, within a third of a pixel
    assert moved[far].max() < 0.3
    assert moved.max() > 10  # the head itself moves


def test_a_head_at_rest_is_the_photo(grid_image: Image) -> None:
    renderer = HeadRenderer(identity(still_at(grid_image, 160, 320, 180)))
    frame = frame_of(renderer, grid_image, np.zeros(len(COLUMNS), np.float32))
    assert (
        np.abs(frame.astype(int) - grid_image).mean() < 2.5
    )  # a photo of twice the density, sampled between its pixels


@pytest.mark.parametrize(("x", "y"), [(0, 0), (240, 0), (-20, 120), (200, 200), (120, 140)])
def test_no_pixel_is_taken_from_outside_the_photo_and_none_folds_over(x: int, y: int) -> None:
    image = coordinates(360, 400)
    renderer = HeadRenderer(identity(still_at(image, 160, x, y)))
    for motion in far_poses():
        sources = renderer._grid + cv2.resize(renderer._sources(motion[HEAD]), renderer.size)
        assert sources[..., 0].min() >= -0.01
        assert sources[..., 0].max() <= 2 * 400 - 0.99
        assert sources[..., 1].min() >= -0.01
        assert sources[..., 1].max() <= 2 * 360 - 0.99
        assert np.diff(sources[..., 0], axis=1).min() > 0.3
        assert np.diff(sources[..., 1], axis=0).min() > 0.3


@pytest.mark.parametrize("roll_deg", [-60, 25, 90])
def test_a_tilted_head_moves_within_its_part_of_the_photo(grid_image: Image, roll_deg: float) -> None:
    turn = cv2.getRotationMatrix2D((FACE_PX / 2, FACE_PX / 2), roll_deg, 1.0)
    upright = still_at(grid_image, 120, 340, 240).transform
    transform = np.vstack([turn, [0, 0, 1]])[:2] @ np.vstack([upright, [0, 0, 1]])
    landmarks = transform_points(invert(transform), canonical_points())
    renderer = HeadRenderer(identity(Still(grid_image, align(grid_image, landmarks, transform=transform), 0, 0)))
    for motion in far_poses():
        part = displacement(renderer, motion)
        assert part.max() > 2
        assert max(edge.max() for edge in (part[0], part[-1], part[:, 0], part[:, -1])) < 0.2


def test_faces_near_the_border_and_turned_faces_move_less(grid_image: Image) -> None:
    def amplitude(still: Still) -> float:
        landmarks = transform_points(invert(still.transform), still.aligned.landmarks)
        shape = head_shape(grid_image, landmarks)
        (left, top), (right, bottom) = moving_box((600, 800), shape)
        return head_fields((600, 800), shape, (left, top), (right - left, bottom - top)).amplitude

    centred = still_at(grid_image, 160, 320, 180)
    assert amplitude(centred) == pytest.approx(1.0, abs=0.02)
    assert amplitude(still_at(grid_image, 160, -10, 180)) < 0.8


def test_closed_lids_cover_the_eyes_and_leave_the_rest_alone(photo: Path) -> None:
    person = identity(still_of_photo(photo))
    renderer = HeadRenderer(person)
    assert person.scene is not None
    closed = np.zeros(len(COLUMNS), np.float32)
    opened = frame_of(renderer, person.canvas, closed).astype(int)
    closed[EYELIDS] = 1
    shut = frame_of(renderer, person.canvas, closed).astype(int)
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = person.scene.landmarks[eye].mean(axis=0).round().astype(int)
        iris = np.s_[y - 1 : y + 2, x - 2 : x + 3]
        assert (shut[iris] - opened[iris]).mean() > 30  # skin is lighter than the iris
    left, top = person.scene.landmarks[17:27].min(axis=0) - 6  # brows
    right, bottom = person.scene.landmarks[28:31].max(axis=0)[0] + 60, person.scene.landmarks[33, 1]
    changed = np.abs(shut - opened).max(axis=2) > 0
    changed[int(top) : int(bottom), int(left) : int(right)] = False
    assert not changed.any()


@pytest.fixture(scope="module")
def recording(speech: Path) -> Floats:
    from speech2vid.media import read_audio

    heard = np.concatenate(list(read_audio(speech)))
    return np.concatenate([heard, np.zeros(5 * SAMPLE_RATE_HZ, np.float32), heard])


def rows_of(audio: Floats, seed: int, sizes: tuple[int, ...] = (16000,)) -> Floats:
    stream = HeadMotionStream(ProceduralSampler(seed))
    rows, at, turn = [], 0, 0
    while at < len(audio):
        size = sizes[turn % len(sizes)]
        rows.append(stream.push(audio[at : at + size]))
        at, turn = at + size, turn + 1
    return np.concatenate([*rows, stream.flush()])


def test_motion_is_the_same_however_the_audio_is_cut(recording: Floats) -> None:
    whole = rows_of(recording, 3)
    assert len(whole) == frame_count(len(recording))
    np.testing.assert_array_equal(rows_of(recording, 3, (701, 16, 9000, 3)), whole)


def test_a_seed_repeats_its_motion_and_another_differs(recording: Floats) -> None:
    first = rows_of(recording, 0)
    np.testing.assert_array_equal(rows_of(recording, 0), first)
    assert np.abs(rows_of(recording, 1) - first).mean() > 0.01


def test_motion_starts_at_the_pose_of_the_photo_and_stays_within_bounds(recording: Floats) -> None:
    for seed in range(3):
        rows = rows_of(recording, seed)
        np.testing.assert_array_equal(rows[0], 0)
        assert (np.linalg.norm(rows[:, HEAD] / FAR, axis=1) <= FARTHEST * 1.1).all()
        assert rows[:, EYELIDS].min() >= 0
        assert rows[:, EYELIDS].max() <= 1


def test_a_silent_head_lives() -> None:
    figures = motion_figures(rows_of(np.zeros(60 * SAMPLE_RATE_HZ, np.float32), 0))
    assert figures.blinks >= 4
    assert figures.range_deg > 0.5


def test_rows_are_known_within_the_latency(recording: Floats) -> None:
    stream = HeadMotionStream(ProceduralSampler(0))
    given = 0
    for at in range(0, 5 * SAMPLE_RATE_HZ, 160):
        given += len(stream.push(recording[at : at + 160]))
        due = math.floor(((at + 160) / SAMPLE_RATE_HZ - stream.latency_s) * 25 - 0.5) + 1
        assert given >= due


def test_turns_of_a_head_are_found_from_its_landmarks() -> None:
    mesh = canonical_face_mesh()[0][list(IBUG_68)]
    wanted = np.radians(np.array([[10, 0, 0], [0, 8, 0], [0, 0, -12], [5, -4, 3], [0, 0, 0]], np.float64))
    landmarks: list[Floats] = []
    for yaw, pitch, roll in wanted:
        about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        about_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        landmarks.append(((mesh @ (about_z @ about_y @ about_x).T) * 7)[:, :2] * (1, -1) + 200)
    rotations, scales, _ = fit_heads_to_68(np.array(landmarks, np.float32))
    np.testing.assert_allclose(scales, 7, rtol=1e-3)
    np.testing.assert_allclose(np.degrees(angles_of(rotations)), np.degrees(wanted), atol=0.3)


def test_blinks_are_counted_by_length_and_depth() -> None:
    closing = np.zeros(100, np.float32)
    closing[10:15] = [0.2, 0.7, 1.0, 0.8, 0.2]  # a blink
    closing[30:50] = 0.9  # closed eyes
    closing[60:64] = 0.4  # a squint
    assert blinks(closing) == [(11, 14)]


def test_a_clip_that_does_not_move_has_no_motion() -> None:
    landmarks = np.repeat(canonical_points()[None], 50, axis=0)
    figures = motion_figures(head_motion(landmarks))
    assert figures.blinks == 0
    assert figures.range_deg == pytest.approx(0, abs=1e-4)
