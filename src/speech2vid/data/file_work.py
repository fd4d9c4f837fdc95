"""One source file through all stages: probe → face tracks → sound → samples, into a fragment of a store.

A fragment is ``SHA256.json``, the outcome, and if a track was kept ``SHA256.tar`` beside it. The outcome is written
last: where it is, the file is done, whatever happens to the process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from speech2vid import __version__
from speech2vid.constants import FACE_PX, FRAME_RATE_HZ
from speech2vid.data.dropped import Dropped
from speech2vid.data.face_tracks import find_tracks
from speech2vid.data.records import FaceTrack, FileOutcome, FileWork, Reason, TrackRecord, TrackSound
from speech2vid.data.report import FORMAT, outcome_as_json, replace_file
from speech2vid.data.shards import TarWriter, members_of
from speech2vid.data.stage_clock import StageClock
from speech2vid.data.track_sound import SoundCutter, cut_sound
from speech2vid.errors import MediaError, OutputError
from speech2vid.frontend import lip_opening, turn
from speech2vid.media import probe
from speech2vid.records import MediaInfo

MIN_RATE_HZ = Fraction(20)  # with fewer pictures a second lips cannot be followed
PROGRAMS = ("av", "dlib-bin", "opencv-python-headless")  # whose versions a record names


@dataclass(frozen=True)
class FileTask:
    """A file to prepare, the hash of its content, and the folder for its fragment."""

    path: Path
    sha256: str
    folder: Path


@dataclass
class _Tally:
    """What has become of a file so far."""

    seconds: float = 0.0
    tracks: int = 0
    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    detail: str = ""

    def drop(self, reason: Reason, detail: str) -> None:
        self.dropped[reason.value] += 1
        self.detail = self.detail or detail

    def outcome(self) -> FileOutcome:
        return FileOutcome(self.seconds, self.tracks, dict(sorted(self.dropped.items())), self.detail)


def outcome_path(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}.json"


def fragment_path(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}.tar"


def prepare_file(task: FileTask) -> FileWork:
    """Prepare one file and write its fragment. Whatever is wrong with the file becomes its outcome.

    Raises:
        OutputError: the fragment cannot be written.
    """
    cv2.setNumThreads(1)  # one process a core
    clock, tally = StageClock(), _Tally()
    with TarWriter(fragment_path(task.folder, task.sha256)) as fragment:
        try:
            _run_stages(task, clock, tally, fragment)
        except Dropped as dropped:
            tally.drop(dropped.reason, dropped.detail)
        except MediaError as error:
            tally.drop(Reason.UNREADABLE, error.message)
        except MemoryError:
            tally.drop(Reason.CRASHED, "not enough memory")
        except OutputError:
            raise
        except Exception as error:
            tally.drop(Reason.FAILED, f"unexpected {type(error).__name__}: {error}")
        if tally.tracks:
            fragment.keep()
    tally.detail = tally.detail.replace(str(task.path), "the file")  # a store does not know where its sources were
    write_outcome(task.folder, task.sha256, tally.outcome())
    return FileWork(tally.outcome(), clock.seconds, tally.frames)


def write_outcome(folder: Path, sha256: str, outcome: FileOutcome) -> None:
    """Mark a file as done."""
    replace_file(outcome_path(folder, sha256), outcome_as_json(outcome))


def _run_stages(task: FileTask, clock: StageClock, tally: _Tally, fragment: TarWriter) -> None:
    with clock.during("probe"):
        info = probe_source(task.path)
    tally.seconds = round(info.duration_s, 3)
    cutter = SoundCutter(task.path)
    for faces in find_tracks(task.path, clock):
        tally.frames += len(faces.pictures)
        try:
            with clock.during("sound"):
                track, sound = cut_sound(faces, cutter)
        except Dropped as dropped:
            tally.drop(dropped.reason, dropped.detail)
            continue
        with clock.during("store"):
            record = describe(f"{tally.tracks:03d}", task.sha256, track, sound)
            fragment.add(record.key, members_of(record, track, sound))
        tally.tracks += 1
    if not tally.frames:
        raise Dropped(Reason.NO_FACE, "no frontal face in any frame that was looked at")


def probe_source(path: Path) -> MediaInfo:
    """What a file holds.

    Raises:
        MediaError: it cannot be read.
        Dropped: without picture or sound, or with too few pictures a second.
    """
    info = probe(path)
    if not info.has_video:
        raise Dropped(Reason.NO_PICTURE, "the file has no video stream")
    if not info.has_audio:
        raise Dropped(Reason.NO_SOUND, "the file has no sound stream")
    if info.frame_rate_hz is not None and info.frame_rate_hz < MIN_RATE_HZ:
        rate_hz = float(info.frame_rate_hz)
        raise Dropped(Reason.LOW_FRAME_RATE, f"{rate_hz:.3g} pictures a second; {MIN_RATE_HZ} are needed")
    return info


def describe(key: str, sha256: str, track: FaceTrack, sound: TrackSound) -> TrackRecord:
    """The facts of a track that follow from its source's content; name, speaker and split are filled in later."""
    scale = np.hypot(track.transforms[:, 0, 0], track.transforms[:, 1, 0])
    return TrackRecord(
        key=key,
        source="",
        sha256=sha256,
        speaker="",
        split="",
        start_s=track.start / FRAME_RATE_HZ,
        frames=len(track.pictures),
        sound_lead_frames=sound.lead_frames,
        face_px=round(float(np.median(FACE_PX / scale)), 3),
        turn=round(float(np.mean([turn(points) for points in track.landmarks])), 3),
        sharpness=round(track.sharpness, 3),
        opening_std=round(float(lip_opening(track.landmarks).std()), 3),
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    return {"format": FORMAT, "speech2vid": __version__, **{name: metadata.version(name) for name in PROGRAMS}}
