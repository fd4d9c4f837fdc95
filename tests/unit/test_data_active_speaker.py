"""Who speaks, and by how much the audio is late, from how well faces fit a recording."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.data.active_speaker import FileOffset, SeenTrack, assess, assess_by_size, file_offset
from speech2vid.data.identities import connected
from speech2vid.data.records import Reason
from speech2vid.faces.cluster import cluster_faces
from speech2vid.faces.sync import IN_STEP_FRAMES, OFFSETS
from speech2vid.types import Floats


class Meter:
    name = "drawn"
    sure, margin, least = 0.5, 0.1, 0.1

    def __call__(self, faces: object, landmarks: object, audio: object, lead_frames: int) -> Floats:
        raise NotImplementedError


def seen(
    start: int, frames: int, fit: float, at: int = 0, face_px: float = 100.0, spoken: int | None = None
) -> SeenTrack:
    """A track that fits by ``fit`` at offset ``at`` and by noise elsewhere; unknown at its beginning."""
    fits = np.random.default_rng(start + frames).normal(0, 0.3, (frames, len(OFFSETS))).astype(np.float32)
    fits -= fits.mean(axis=0)
    fits[:, at == OFFSETS] += fit
    fits[:3, 20:] = np.nan
    return SeenTrack(start, face_px, fits, frames if spoken is None else spoken)


@pytest.mark.parametrize("at", [-15, -4, 0, 9])
def test_offset_is_that_of_the_speakers(at: int) -> None:
    tracks = [seen(0, 100, 0.6, at), seen(200, 100, 0.5, at), seen(200, 100, 0.3, 3)]
    offset = file_offset(tracks, Meter())
    assert offset.sure
    assert offset.offset_s * 25 + IN_STEP_FRAMES == pytest.approx(at, abs=0.2)
    assert offset.confidence == pytest.approx(0.55, abs=0.05)
    assert [verdict.reason for verdict in assess(tracks, offset, Meter())] == [None, None, Reason.LISTENER]


def test_noise_and_a_moment_are_not_sure() -> None:
    assert not file_offset([seen(0, 200, 0.0)], Meter()).sure
    assert not file_offset([seen(0, 50, 0.9, 2)], Meter()).sure
    assert file_offset([], Meter()) == FileOffset()


def test_two_that_fit_alike_are_both_left_out() -> None:
    tracks = [seen(0, 100, 0.50), seen(20, 90, 0.48)]
    assert {each.reason for each in assess(tracks, FileOffset(0, 0.5, True), Meter())} == {Reason.LOW_CONFIDENCE}


def test_faces_seen_one_after_another_are_no_rivals() -> None:
    tracks = [seen(0, 100, 0.6), seen(90, 100, 0.3)]
    assert [each.reason for each in assess(tracks, FileOffset(0, 0.5, True), Meter())] == [None, None]


def test_a_voice_off_screen_is_told_only_where_enough_was_said() -> None:
    sure = FileOffset(0, 0.5, True)
    assert assess([seen(0, 150, 0.0)], sure, Meter())[0].reason is Reason.OFF_SCREEN
    assert assess([seen(0, 150, 0.0)], FileOffset(9, 0.1, False), Meter())[0].reason is Reason.OFF_SCREEN
    assert assess([seen(0, 100, 0.0)], sure, Meter())[0].reason is None
    assert assess([seen(0, 300, 0.0, spoken=60)], sure, Meter())[0].reason is None  # mostly silence


def test_unmeasured_the_largest_speaks() -> None:
    tracks = [seen(0, 50, 0, face_px=90), seen(0, 50, 0, face_px=120), seen(50, 50, 0, face_px=60)]
    assert [each.reason for each in assess_by_size(tracks)] == [Reason.LISTENER, None, None]


def test_faces_are_grouped_by_distance() -> None:
    a, b = np.zeros(128), np.full(128, 0.9 / np.sqrt(128))
    near = 0.3 / np.sqrt(128)
    assert cluster_faces([a, b, a + near, b - near, a - near]) == [0, 1, 0, 1, 0]
    assert cluster_faces([]) == []


def test_files_that_share_a_person_are_one_company() -> None:
    found = connected({"a": ["x"], "b": ["y", "x"], "c": ["z"], "d": ["y"], "e": ["z", "w"]})
    assert found == {"a": "a", "b": "a", "d": "a", "c": "c", "e": "c"}
