"""Whom the page shows of a video: everybody, with the numbers that re-dubbing gives them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the extra `app` is not installed")

import cv2
import PIL.Image

from speech2vid.app.job_functions import KNOWN, JobFunctions
from speech2vid.errors import FaceError, MediaError
from speech2vid.inference.track_cache import known_tracks
from speech2vid.media import RawVideoReader, VideoWriter, load_photo

FUNCTIONS = JobFunctions(max_seconds=60)


@pytest.fixture(scope="module")
def late_guest(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face at the right; in the next shot another one at its left."""
    portrait = load_photo(photo)[:300, 60:360]
    host = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    guest = cv2.resize(portrait, (130, 200), interpolation=cv2.INTER_AREA)  # narrow: a stranger, if one is strict
    path = tmp_path_factory.mktemp("people") / "guest.mp4"
    with VideoWriter(path, 400, 200, Fraction(25), crf=4, preset="ultrafast") as writer:
        for number in range(36):
            frame = np.full((200, 400, 3), (30, 60, 90) if number < 16 else (90, 40, 30), np.uint8)
            frame[:, 200 + number // 8 : 400] = host[:, : 200 - number // 8]
            if number >= 16:
                frame[:, 20:150] = guest
            writer.write(frame)
    return path


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces of one photo, drawn narrower, count as two people."""
    monkeypatch.setattr("speech2vid.faces.cluster.SAME_PERSON", 0.25)


class Told:
    """What a task tells of its progress."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int | None, str]] = []

    def __call__(self, done: int, total: int | None, doing: str = "") -> None:
        self.said.append((done, total, doing))


def test_who_appears_later_is_shown_and_has_the_number_of_the_run(
    late_guest: Path, short_speech: Path, tmp_path: Path
) -> None:
    kept, told = tmp_path / "kept", Told()
    found = FUNCTIONS.people(tmp_path, told, video=late_guest, kept=kept)
    assert len(found.boxes) == 2
    assert told.said[-1] == (36, 36, "Looking at the video")
    with PIL.Image.open(found.preview) as photo:
        tiles = [np.asarray(photo.crop(tuple(map(round, box))).convert("L").resize((40, 40))) for box in found.boxes]
    assert np.abs(tiles[0].astype(int) - tiles[1]).mean() > 5
    tracks = known_tracks(late_guest, folder=kept, progress=lambda done: pytest.fail("it is known"))
    places = [np.median(face.landmarks[:, :, 0]) for face in sorted(tracks.faces, key=lambda face: face.person)]
    assert places[0] > 200 > places[-1], "the guest appears later, and so is the second, though at the left"

    told = Told()
    generated = FUNCTIONS.redub(tmp_path, told, video=late_guest, audio=short_speech, kept=kept, face_index=1, crf=4)
    assert {doing for _, _, doing in told.said} == {"Making the video"}, "nothing is looked at twice"
    assert KNOWN in generated.notes
    pairs = zip(RawVideoReader(late_guest), RawVideoReader(generated.file), strict=False)
    changed = [abs(a.planes[0].astype(int) - b.planes[0]) for a, b in pairs]
    guest = max(change[100:160, 40:130].mean() for change in changed[18:])
    host = max(change[100:160, 250:350].mean() for change in changed)
    assert guest > 0.5, "the guest speaks"
    assert host < 0.3 * guest, "the host does not: what differs is the codec's"


def test_a_run_looks_for_itself_where_nobody_has(late_guest: Path, short_speech: Path, tmp_path: Path) -> None:
    told = Told()
    generated = FUNCTIONS.redub(tmp_path, told, video=late_guest, audio=short_speech, face_index=1)
    doing = list(dict.fromkeys(doing for _, _, doing in told.said))
    assert doing == ["Looking at the video", "Making the video"]
    assert KNOWN not in generated.notes


def test_nobody_and_too_long_are_said_at_once(late_guest: Path, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "grey.mp4", 160, 120) as writer:
        for level in range(60, 66):
            writer.write(np.full((120, 160, 3), level, np.uint8))
    with pytest.raises(FaceError, match="no face was found in"):
        FUNCTIONS.people(tmp_path, Told(), video=tmp_path / "grey.mp4")
    with pytest.raises(MediaError, match="is too long"):
        JobFunctions(max_seconds=1).people(tmp_path, Told(), video=late_guest)
