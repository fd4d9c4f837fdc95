"""Whose mouth is changed, and by which audio: the active speaker, a face by number, or a map of people to sounds."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speech2vid.errors import ConfigError, FaceError
from speech2vid.faces import PAPER, FaceModels, choose_face
from speech2vid.faces.cluster import SAME_PERSON, mean_embedding
from speech2vid.faces.embedding import embed, face_chip
from speech2vid.faces.sync import CONFIDENT, measure_tracks, speaks
from speech2vid.inference.video_tracks import SeenFace, SeenStill, VideoTracks
from speech2vid.media import Source, load_photo

TOGETHER = 0.5  # share of the shorter track during which two are seen at once
MARGIN = 0.05  # a face that fits the audio by so much better than another one is the one that speaks
LOOKS = 3  # stills of a person that are compared with a photo


@dataclass(frozen=True)
class Assignment:
    """A person of the video and the audio that moves their mouth; ``photo`` or ``face`` says who."""

    audio: Path
    face: int | None = None
    photo: Path | None = None


@dataclass(frozen=True)
class Assignments:
    """Which face speaks what.

    Attributes:
        audio_files: for each face of ``VideoTracks.faces`` the audio that moves it, or None.
        notes: what the user should know.
    """

    audio_files: list[Source | None]
    notes: list[str]


def read_speakers(path: Path) -> list[Assignment]:
    """A map of people to recordings::

        [[speaker]]
        face = 0                # number of the person, or
        photo = "anna.jpg"      # a photo of them, next to the map
        audio = "anna.wav"      # what they say, as long as the whole audio, silent while others speak

    Raises:
        ConfigError: it cannot be read or says something else.
    """
    hint = 'one [[speaker]] a person, with audio = "…" and either face = 0 or photo = "…"'
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint) from error
    entries = table.get("speaker")
    if not isinstance(entries, list) or not entries or set(table) != {"speaker"}:
        raise ConfigError(f"{path} is not a valid speaker file", hint)
    return [_role(entry, path, hint) for entry in entries]


def _role(entry: dict[str, Any], path: Path, hint: str) -> Assignment:
    audio, face, photo = entry.get("audio"), entry.get("face"), entry.get("photo")
    right = isinstance(audio, str) and (isinstance(face, int) != isinstance(photo, str))
    if not right or set(entry) - {"audio", "face", "photo"}:
        raise ConfigError(f"{path}: invalid speaker entry: {entry}", hint)
    return Assignment(path.parent / str(audio), face, None if photo is None else path.parent / photo)


def assign_faces(
    tracks: VideoTracks,
    audio: Source,
    video: Source,
    *,
    face_index: int | None = None,
    roles: Sequence[Assignment] = (),
    models: FaceModels = PAPER,
) -> Assignments:
    """Decide which faces are changed.

    Args:
        tracks: of the video.
        audio: what is heard.
        video: its name, for messages.
        face_index: this person and nobody else.
        roles: these people, each with their own audio.
        models: detector and landmarker for photos of people.

    Raises:
        FaceError: nobody to be seen, or not the one who is meant.
    """
    require_people(tracks, video)
    people = len(tracks.stills)
    if roles:
        audio_of = {_person(role, tracks, video, models): role.audio for role in roles}
        return Assignments([audio_of.get(face.person) for face in tracks.faces], [])
    if face_index is not None:
        _check_person(face_index, people, video)
        return Assignments([audio if face.person == face_index else None for face in tracks.faces], [])
    speaking, notes = active_speakers(tracks.faces)
    return Assignments([audio if speaks_ else None for speaks_ in speaking], notes)


def require_people(tracks: VideoTracks, video: Source) -> None:
    """Raise a ``FaceError`` where nobody was found."""
    if not tracks.faces and tracks.tilted:
        raise FaceError(
            f"the faces in {video} lie on their side or upside down", "turn the video upright, or use --landmarks mesh"
        )
    if not tracks.faces:
        raise FaceError(
            f"no face was found in {video}", "the speaker's face must be frontal and at least 80 pixels wide"
        )


def active_speakers(faces: Sequence[SeenFace]) -> tuple[list[bool], list[str]]:
    """Who speaks: of faces that are seen at the same time the one that fits the video's own audio, else the largest."""
    known = [(face.first_frame, face.fits) for face in faces if len(face.fits)]
    measure = measure_tracks(known) if known else None
    offset = measure.offset_frames if measure is not None and measure.confidence >= CONFIDENT else 0
    scores = [_score(face, offset) for face in faces]
    speaking, notes = [], []
    for face, score in zip(faces, scores, strict=True):
        rivals = [i for i, other in enumerate(faces) if other is not face and is_together(face, other)]
        if not rivals:
            speaking.append(True)
            continue
        best = max(scores[i] for i in rivals)
        if measure is not None and abs(score - best) >= MARGIN:
            speaking.append(score > best)
        else:
            speaking.append(all(size(face) > size(faces[i]) for i in rivals))
            notes.append(
                f"shot {face.shot}: it cannot be heard which of {len(rivals) + 1} faces speaks; the largest was taken "
                "(--face-index or --speakers says who)"
            )
    return speaking, list(dict.fromkeys(notes))


def _score(face: SeenFace, offset: int) -> float:
    if not np.isfinite(face.fits).any(axis=0).all():
        return 0.0
    return speaks(face.fits, offset)


def is_together(a: SeenFace, b: SeenFace) -> bool:
    """Whether both are seen for half the time of the shorter one."""
    return min(a.stop, b.stop) - max(a.start, b.start) >= TOGETHER * min(len(a), len(b))


def size(face: SeenFace) -> float:
    """Width of a face in pixels."""
    return float(np.median(np.ptp(face.landmarks[:, :, 0], axis=1)))


def _person(role: Assignment, tracks: VideoTracks, video: Source, models: FaceModels) -> int:
    if role.photo is None:
        assert role.face is not None
        _check_person(role.face, len(tracks.stills), video)
        return role.face
    image = load_photo(role.photo)
    face = choose_face(image, role.photo, models=models)
    wanted = embed([face_chip(image, face.landmarks)])[0]
    distances = [float(np.linalg.norm(wanted - _embedding(stills))) for stills in tracks.stills]
    if min(distances) > SAME_PERSON:
        raise FaceError(f"the person in {role.photo} does not appear in {video}", "use another photo, or face = NUMBER")
    return int(np.argmin(distances))


def _embedding(stills: Sequence[SeenStill]) -> Any:
    best = sorted(stills, key=lambda still: still.cost)[:LOOKS]
    return mean_embedding([still.image() for still in best], [still.landmarks for still in best])


def _check_person(number: int, people: int, video: Source) -> None:
    if not 0 <= number < people:
        raise FaceError(
            f"{video} has no person {number}; people found: {people}",
            f"people are numbered 0 to {people - 1} in order of appearance, from left to right",
        )
