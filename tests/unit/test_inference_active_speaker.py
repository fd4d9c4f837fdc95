"""Who speaks what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech2vid.errors import ConfigError, FaceError
from speech2vid.faces.sync import OFFSETS
from speech2vid.inference.active_speaker import Assignment, active_speakers, assign_faces, read_speakers
from speech2vid.inference.video_tracks import SeenFace, VideoTracks

AUDIO, VIDEO = Path("audio.wav"), Path("video.mp4")


def face(
    start: int, person: int, fit: float, *, frames: int = 75, size: float = 100, shot: int = 0, at: int = 0
) -> SeenFace:
    """Somebody whose lips fit the audio by so much at offset ``at``."""
    frames = 75
    landmarks = np.tile(np.linspace(0, size, 68, dtype=np.float32)[:, None], (frames, 1, 2))
    fits = np.zeros((frames, len(OFFSETS)), np.float32)
    fits[:, at == OFFSETS] = fit
    return SeenFace(start, shot, person, landmarks, start, fits)


def tracks(*faces: SeenFace) -> VideoTracks:
    people = max((each.person for each in faces), default=-1) + 1
    return VideoTracks(np.arange(300), np.ones(300, np.int64), [0], list(faces), [[] for _ in range(people)])


def test_of_two_who_are_seen_together_the_one_who_fits_speaks() -> None:
    speaking, notes = active_speakers([face(0, 0, 0.02), face(0, 1, 0.3), face(100, 0, 0.2, shot=1)])
    assert speaking == [False, True, True]
    assert not notes


def test_the_fit_counts_at_the_offset_of_the_file() -> None:
    others = [face(100, 2, 0.4, at=4, shot=1), face(200, 2, 0.4, at=4, shot=2)]
    speaking, _ = active_speakers([face(0, 0, 0.25, at=-9), face(0, 1, 0.25, at=4), *others])
    assert speaking == [False, True, True, True]


def test_where_the_audio_does_not_tell_the_largest_speaks_and_it_is_said() -> None:
    speaking, notes = active_speakers([face(0, 0, 0.1, size=80), face(0, 1, 0.12, size=120)])
    assert speaking == [False, True]
    assert "cannot be heard" in notes[0]
    mute = [
        SeenFace(0, 0, i, face(0, i, 0, size=size).landmarks, 0, np.empty((0, 31), np.float32))
        for i, size in ((0, 90), (1, 80))
    ]
    assert active_speakers(mute)[0] == [True, False]


def test_a_person_by_number_speaks_everywhere_and_nobody_else() -> None:
    seen = tracks(face(0, 0, 0), face(0, 1, 0.3), face(100, 1, 0.3), face(100, 0, 0.3))
    cast = assign_faces(seen, AUDIO, VIDEO, face_index=0)
    assert cast.audio_files == [AUDIO, None, None, AUDIO]
    with pytest.raises(FaceError, match="no person 2; people found: 2"):
        assign_faces(seen, AUDIO, VIDEO, face_index=2)


def test_people_with_audio_of_their_own() -> None:
    seen = tracks(face(0, 0, 0), face(0, 1, 0), face(100, 2, 0))
    roles = [Assignment(Path("a.wav"), face=0), Assignment(Path("c.wav"), face=2)]
    assert assign_faces(seen, AUDIO, VIDEO, roles=roles).audio_files == [Path("a.wav"), None, Path("c.wav")]


def test_nobody_to_be_seen() -> None:
    with pytest.raises(FaceError, match=r"no face was found in video\.mp4"):
        assign_faces(tracks(), AUDIO, VIDEO)


def test_a_map_of_people_to_audio(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('[[speaker]]\nface = 1\naudio = "a.wav"\n[[speaker]]\nphoto = "b.jpg"\naudio = "b.wav"\n')
    assert read_speakers(path) == [
        Assignment(tmp_path / "a.wav", face=1),
        Assignment(tmp_path / "b.wav", photo=tmp_path / "b.jpg"),
    ]
    path.write_text('[[speaker]]\nface = 1\nphoto = "b.jpg"\naudio = "a.wav"\n')
    with pytest.raises(ConfigError, match="invalid speaker entry"):
        read_speakers(path)
