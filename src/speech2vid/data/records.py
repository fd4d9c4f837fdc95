"""What passes between the stages of preparation, and what a store holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX, FRAME_RATE_HZ, PAPER_LANDMARKS, SAMPLES_PER_FRAME
from speech2vid.types import Frames, Points, Waveform

DETECTOR, LANDMARKER = "detector", "landmarker"  # in the versions of a record


class Reason(StrEnum):
    """Why a file or a track was left out."""

    MISSING = "missing"  # no such file
    UNREADABLE = "unreadable"  # not a media file, or damaged beyond use
    NO_VIDEO_STREAM = "no_video"  # no video stream
    NO_AUDIO = "no_audio"  # no audio stream, or none while the face is seen
    LOW_FRAME_RATE = "low_frame_rate"  # too few frames a second to see speech
    BLANK = "blank"  # one colour throughout
    NO_FACE = "no_face"  # a shot without a frontal face: a slide, a landscape, somebody from behind
    CROWD = "crowd"  # more faces at once than are followed
    TOO_SHORT = "too_short"  # the face is seen, with audio, for too short a time
    TOO_SMALL = "too_small"  # the face has too few pixels
    PROFILE = "profile"  # the head is turned too far
    SILENT = "silent"  # digital silence throughout
    LISTENER = "listener"  # somebody else who is seen at the time fits the audio better
    LOW_CONFIDENCE = "low_confidence"  # several faces are visible, and the active speaker is uncertain
    OFF_SCREEN = "off_screen"  # nobody who is seen fits the audio
    DUPLICATE = "duplicate"  # the same bytes as a file before it
    CRASHED = "crashed"  # the process died on it (a defect in a decoder, or no memory left)
    FAILED = "failed"  # an unexpected error: a defect of the program


@dataclass(frozen=True)
class Source:
    """A file to prepare.

    Attributes:
        name: what the store calls it: its path below the folder or manifest that named it, with ``/``.
        path: where it is now. Never stored: a store can move.
        speaker: who speaks, or "" to have it told by face.
        split: the part of the data it belongs to, or None where it depends on who is seen.
    """

    name: str
    path: Path
    speaker: str
    split: str | None = None


@dataclass(frozen=True)
class FaceTrack:
    """A face followed through a stretch of a video, before its audio is known.

    Attributes:
        start: number of its first frame on the source's 25 Hz grid.
        jpegs: one JPEG of the aligned 112 px face a frame.
        landmarks: (T, 68, 2) float32 in the 112 px frame.
        source_landmarks: (T, 68, 2) float32 in the source's pixels.
        transforms: (T, 2, 3) float64, source pixels → 112 px frame.
        sharpness: mean over the frames of ``frontend.sharpness``.
        contexts: one JPEG a frame of the same face at 224 px, with more around it (``registration.context_from_face``);
            or none.
        shot: number of the shot it is in.
        detection: mean score of the detector.
    """

    start: int
    jpegs: list[bytes]
    landmarks: Points
    source_landmarks: Points
    transforms: NDArray[np.float64]
    sharpness: float
    contexts: list[bytes] = field(default_factory=list)
    shot: int = 0
    detection: float = 0.0

    def __len__(self) -> int:
        return len(self.jpegs)

    def between(self, first: int, last: int) -> FaceTrack:
        """The track's frames from number ``first`` to before ``last``."""
        part = slice(first, last)
        return replace(
            self,
            start=self.start + first,
            jpegs=self.jpegs[part],
            landmarks=self.landmarks[part],
            source_landmarks=self.source_landmarks[part],
            transforms=self.transforms[part],
            contexts=self.contexts[part],
        )


@dataclass(frozen=True)
class TrackAudio:
    """The audio of a track, with some of what was heard just before and after it, so that windows at its ends are true.

    Attributes:
        samples: (N,) int16, 16 kHz mono; N is a multiple of 640.
        lead_frames: video frames' worth of audio before the first frame of the track.
    """

    samples: NDArray[np.int16]
    lead_frames: int


@dataclass(frozen=True)
class TrackRecord:
    """The facts of a track, its JSON in the store.

    Attributes:
        key: its name in the store.
        sha256: of the source file.
        start_s: presentation time of the first frame in the source.
        face_px: median side of the source square that became the 112 px face: how much detail there was.
        turn: mean sideways head turn, 0 (frontal) – 1.
        sharpness: mean over the frames of ``frontend.sharpness``.
        opening_std: standard deviation of the lip opening, px of the aligned face.
        versions: of the format and of the programs that made it.
        shot: number of the shot in the source.
        offset_s: by how much the audio was later than the video in the source; corrected here, to the sample.
        offset_frames: the same in the source's own frames, rounded.
        confidence: that this face speaks this audio, in the units of the meter named in ``versions``.
        detection: mean score of the face detector.
        embedding: (128,) of the face.
    """

    key: str
    source: str
    sha256: str
    speaker: str
    split: str
    start_s: float
    frames: int
    audio_lead_frames: int
    face_px: float
    turn: float
    sharpness: float
    opening_std: float
    versions: dict[str, str]
    shot: int = 0
    offset_frames: int = 0
    offset_s: float = 0.0
    confidence: float = 0.0
    detection: float = 0.0
    embedding: list[float] = field(default_factory=list)

    @property
    def landmarker(self) -> str:
        """Return name and version of the landmarker; records of earlier versions name none, and used dlib's."""
        return self.versions.get(LANDMARKER, PAPER_LANDMARKS)


@dataclass(frozen=True)
class Track:
    """One face track of a store.

    Attributes:
        record: its facts.
        frames: (T, 112, 112, 3) uint8 RGB.
        landmarks: (T, 68, 2) float32 in the 112 px frame.
        source_landmarks: (T, 68, 2) float32 in the source's pixels.
        transforms: (T, 2, 3) float64, source pixels → 112 px frame.
        audio: (N,) int16, 16 kHz mono, with ``record.audio_lead_frames`` frames of audio before the first frame and
            up to as many after the last. For true windows at the ends of the track, compute them from all of it and
            take T from number ``audio_lead_frames`` on.
        context: (T, 224, 224, 3) uint8 RGB, the same faces with more around them, if they were asked for; else empty.
    """

    record: TrackRecord
    frames: Frames
    landmarks: Points
    source_landmarks: Points
    transforms: NDArray[np.float64]
    audio: NDArray[np.int16]
    context: Frames = field(default_factory=lambda: np.empty((0, CONTEXT_FACE_PX, CONTEXT_FACE_PX, 3), np.uint8))

    def __len__(self) -> int:
        return self.record.frames

    @property
    def audio_with_context(self) -> Waveform:
        """All of ``audio``, (N,) float32 -1–1."""
        return self.audio.astype(np.float32) / np.float32(32767)

    @property
    def waveform(self) -> Waveform:
        """The audio of exactly these frames, (T × 640,) float32 -1–1."""
        start = self.record.audio_lead_frames * SAMPLES_PER_FRAME
        return self.audio_with_context[start : start + len(self) * SAMPLES_PER_FRAME]


@dataclass(frozen=True)
class FileOutcome:
    """What became of one source file.

    Attributes:
        seconds: duration, 0 where it could not be told.
        tracks: how many were kept.
        dropped: reason → count, of tracks; a file in which there is none to count counts as one.
        detail: what was wrong, in a sentence.
        embeddings: of the faces of the tracks kept. ``files.tsv`` leaves them to the records of the tracks.
    """

    seconds: float = 0.0
    tracks: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    embeddings: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class FileWork:
    """An outcome, and what it took: seconds of each stage, frames decoded."""

    outcome: FileOutcome
    stage_s: dict[str, float] = field(default_factory=dict)
    frames: int = 0


@dataclass(frozen=True)
class FileEntry:
    """A row of ``files.tsv``: a source, the hash of its content ("" where it cannot be read), and what became of it.

    ``speaker`` is "" where the faces tell who speaks; the tracks then have it.
    """

    source: str
    sha256: str
    speaker: str
    split: str
    outcome: FileOutcome


@dataclass(frozen=True)
class TrackEntry:
    """A row of ``manifest.tsv``: a track, and the tar file that holds it. Fields as in :class:`TrackRecord`."""

    key: str
    shard: str
    split: str
    speaker: str
    source: str
    start_s: float
    frames: int
    face_px: float
    turn: float
    sharpness: float
    opening_std: float
    shot: int = 0
    offset_frames: int = 0
    offset_s: float = 0.0
    confidence: float = 0.0
    detection: float = 0.0

    @property
    def seconds(self) -> float:
        return self.frames / FRAME_RATE_HZ


@dataclass(frozen=True)
class Shard:
    """A tar file of a store."""

    name: str
    size_bytes: int
    sha256: str
    tracks: int
