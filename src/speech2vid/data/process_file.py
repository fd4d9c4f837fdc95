"""One source file through all stages: probe → face tracks → audio → samples, into a fragment of a store.

A fragment is ``SHA256.json``, the outcome, and if a track was kept ``SHA256.tar`` next to it. The outcome is written
last: where it is, the file is done, whatever happens to the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from speech2vid import __version__, media
from speech2vid.audio.vad import waveform_activity
from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, Landmarks
from speech2vid.data.active_speaker import (
    FileOffset,
    SeenTrack,
    SyncScorer,
    Verdict,
    assess,
    assess_by_size,
    file_offset,
)
from speech2vid.data.face_tracks import TrackFinder
from speech2vid.data.identities import embedding_of
from speech2vid.data.jpeg import decode_jpegs
from speech2vid.data.records import (
    DETECTOR,
    LANDMARKER,
    FaceTrack,
    FileOutcome,
    FileWork,
    Reason,
    TrackAudio,
    TrackRecord,
)
from speech2vid.data.rejected import Rejected
from speech2vid.data.report import FORMAT, outcome_as_json
from speech2vid.data.shards import Members, TarWriter, audio_of, faces_of, members_of, read_samples
from speech2vid.data.sync_scorer import Sync, scorer_for, scorer_name
from speech2vid.data.track_audio import FULL_SCALE, MIN_TRACK_FRAMES, AudioCutter, hear, join_audio
from speech2vid.errors import MediaError, OutputError
from speech2vid.faces import face_models, lip_opening, turn
from speech2vid.faces.shots import Look, ShotFrame, split_shots
from speech2vid.faces.sync import OFFSETS
from speech2vid.faces.track import MAX_FACES
from speech2vid.files import atomic_write
from speech2vid.media import MediaFile, VideoReader, read_keyframes
from speech2vid.runtime.voice_activity import voice_detector
from speech2vid.timing import StageTimer
from speech2vid.types import Floats, MediaInfo

MIN_RATE_HZ = Fraction(20)  # with fewer frames a second lips cannot be followed
MIN_FACE_PX = 48  # source pixels that become the 112 px face
BLANK_KEYFRAMES = 5  # a shorter video is decoded: its content may begin after a fade
MAX_TURN = 0.95  # 0 frontal, 1 the nose at the edge of the face, about 50° of yaw
SPOKEN = 0.5  # activity from which on a frame counts as speech
DETAILS = {
    Reason.NO_FACE: "a shot without a frontal face in any frame that was looked at",
    Reason.CROWD: f"more than {MAX_FACES} faces at once; only the largest were followed",
    Reason.LISTENER: "somebody else who is seen at the same time fits the audio better",
    Reason.LOW_CONFIDENCE: "several faces are seen, and it cannot be told who speaks",
    Reason.OFF_SCREEN: "the lips fit none of what is said: a voice off screen, or a dubbed one",
}
PROGRAMS = ("av", "dlib-bin", "opencv-python-headless")  # whose versions a record names


@dataclass(frozen=True)
class FileTask:
    """A file to prepare, the hash of its content, the folder for its fragment, and how it is prepared."""

    path: Path
    sha256: str
    folder: Path
    sync: Sync = "on"
    landmarks: Landmarks = "paper"


@dataclass
class _Tally:
    """What has become of a file so far."""

    seconds: float = 0.0
    tracks: int = 0
    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    detail: str = ""
    embeddings: list[list[float]] = field(default_factory=list)

    def drop(self, reason: Reason, detail: str, count: int = 1) -> None:
        self.dropped[reason.value] += count
        self.detail = self.detail or detail

    def counted(self, frames: Iterable[ShotFrame]) -> Iterator[ShotFrame]:
        """The same frames, counted."""
        for frame in frames:
            self.frames += 1
            yield frame

    def outcome(self) -> FileOutcome:
        dropped = dict(sorted(self.dropped.items()))
        return FileOutcome(self.seconds, self.tracks, dropped, self.detail, self.embeddings)


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
    clock, tally = StageTimer(), _Tally()
    with TarWriter(fragment_path(task.folder, task.sha256)) as fragment:
        try:
            _run_stages(task, clock, tally, fragment)
        except Rejected as dropped:
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
    atomic_write(outcome_path(folder, sha256), outcome_as_json(outcome), lasting=True)


def _run_stages(task: FileTask, clock: StageTimer, tally: _Tally, fragment: TarWriter) -> None:
    """Two passes: all tracks into a spool on the disk; then, when the whole file is known, those that are kept."""
    with media.open(task.path) as source:
        _run_stages_of(source, task, clock, tally, fragment)


def _run_stages_of(source: MediaFile, task: FileTask, clock: StageTimer, tally: _Tally, fragment: TarWriter) -> None:
    with clock.during("probe"):
        info = probe_source(source)
    tally.seconds = round(info.duration_s, 3)
    rate_hz = float(info.frame_rate_hz or FRAME_RATE_HZ)
    with clock.during("probe"):
        skip_blank(source)
    scorer = scorer_for(task.sync)
    spool_path = task.folder / f"{task.sha256}.spool"
    try:
        with TarWriter(spool_path, lasting=False) as spool:
            seen = list(_seen_tracks(source, task, scorer, clock, tally, spool))
            spool.keep()
        with clock.during("speaker"):
            offset = FileOffset() if scorer is None else file_offset(seen, scorer)
            verdicts = assess_by_size(seen) if scorer is None else assess(seen, offset, scorer)
        with clock.during("store"):
            for verdict, (_, members) in zip(verdicts, read_samples(spool_path), strict=True):
                _keep_or_drop(verdict, offset, rate_hz, members, task, tally, fragment)
    finally:
        spool_path.unlink(missing_ok=True)


def _seen_tracks(
    source: MediaFile,
    task: FileTask,
    scorer: SyncScorer | None,
    clock: StageTimer,
    tally: _Tally,
    spool: TarWriter,
) -> Iterator[SeenTrack]:
    """First pass: every track that can be used goes to the spool, with more audio around it than it will keep."""
    cutter = AudioCutter(source)
    finder = TrackFinder(clock, face_models(task.landmarks))
    with VideoReader(source, FRAME_RATE_HZ) as reader:
        images = (frame.image for frame in clock.each("decode", reader))
        for track in finder.find(tally.counted(clock.each("shots", split_shots(images)))):
            try:
                face_px = usable_size(track)
                with clock.during("audio"):
                    audio = hear(track, cutter)
            except Rejected as dropped:
                tally.drop(dropped.reason, dropped.detail)
                continue
            with clock.during("sync"):
                fits, spoken = _fits(track, audio, scorer)
            with clock.during("store"):
                key = f"{spool.tracks:05d}"
                spool.add(key, members_of(describe(key, task, track, audio), track, audio))
            yield SeenTrack(track.start, face_px, fits, spoken)
    for reason, count in finder.dropped.items():
        tally.drop(reason, DETAILS[reason], count)


def _fits(track: FaceTrack, audio: TrackAudio, scorer: SyncScorer | None) -> tuple[Floats, int]:
    """How well each frame fits the audio at each offset, (T, 31), and in how many frames speech is heard."""
    if scorer is None:
        return np.zeros((len(track), len(OFFSETS)), np.float32), 0
    faces = decode_jpegs(b"".join(track.jpegs), len(track))
    waveform = audio.samples.astype(np.float32) / np.float32(FULL_SCALE)
    activity = waveform_activity(waveform, voice_detector())[audio.lead_frames : audio.lead_frames + len(track)]
    return scorer(faces, track.landmarks, waveform, audio.lead_frames), int((activity > SPOKEN).sum())


def _keep_or_drop(
    verdict: Verdict,
    offset: FileOffset,
    rate_hz: float,
    members: Members,
    task: FileTask,
    tally: _Tally,
    fragment: TarWriter,
) -> None:
    """Second pass: a track that speaks gets the audio of its lips."""
    if verdict.reason is not None:
        tally.drop(verdict.reason, DETAILS[verdict.reason])
        return
    shift_s = offset.offset_s if offset.sure else 0.0
    try:
        track, audio = join_audio(faces_of(members), audio_of(members), shift_s)
    except Rejected as dropped:
        tally.drop(dropped.reason, dropped.detail)
        return
    record = replace(
        describe(f"{tally.tracks:03d}", task, track, audio),
        offset_frames=round(shift_s * rate_hz),
        offset_s=shift_s,
        confidence=verdict.confidence,
    )
    record = replace(record, embedding=embedding_of(track))
    tally.embeddings.append(record.embedding)
    record = replace(record, versions=record.versions | {"sync": scorer_name(task.sync)})
    fragment.add(record.key, members_of(record, track, audio))
    tally.tracks += 1


def usable_size(track: FaceTrack) -> float:
    """Side in source pixels of the square that becomes the face.

    Raises:
        Dropped: the track is too short, the face too small or turned too far.
    """
    if len(track) < MIN_TRACK_FRAMES:
        raise Rejected(
            Reason.TOO_SHORT, f"the face is visible for {len(track)} frames; at least {MIN_TRACK_FRAMES} are required"
        )
    face_px = face_size_px(track)
    if face_px < MIN_FACE_PX:
        raise Rejected(Reason.TOO_SMALL, f"the face is {face_px:.0f} px wide; at least {MIN_FACE_PX} px are required")
    turned = mean_turn(track)
    if turned > MAX_TURN:
        raise Rejected(Reason.PROFILE, f"the head is turned by {turned:.2f}; the maximum is {MAX_TURN}")
    return face_px


def face_size_px(track: FaceTrack) -> float:
    scale = np.hypot(track.transforms[:, 0, 0], track.transforms[:, 1, 0])
    return float(np.median(FACE_PX / scale))


def mean_turn(track: FaceTrack) -> float:
    return float(np.mean([turn(points) for points in track.landmarks]))


def probe_source(source: MediaFile) -> MediaInfo:
    """What a file holds.

    Raises:
        MediaError: it cannot be read.
        Dropped: without image or audio, or with too few frames a second.
    """
    info = source.info
    if not info.has_video:
        raise Rejected(Reason.NO_VIDEO_STREAM, "the file has no video stream")
    if not info.has_audio:
        raise Rejected(Reason.NO_AUDIO, "the file has no audio stream")
    if info.frame_rate_hz is not None and info.frame_rate_hz < MIN_RATE_HZ:
        rate_hz = float(info.frame_rate_hz)
        raise Rejected(Reason.LOW_FRAME_RATE, f"{rate_hz:.3g} frames per second; at least {MIN_RATE_HZ} are required")
    return info


def skip_blank(source: MediaFile) -> None:
    """Look at the key frames of a long video before all of it is decoded; stops at the first that shows something.

    Raises:
        Dropped: there are several, and each is of one colour.
    """
    looked_at = 0
    for image in read_keyframes(source):
        if not Look.of(image).plain:
            return
        looked_at += 1
    if looked_at >= BLANK_KEYFRAMES:
        raise Rejected(Reason.BLANK, f"each of the {looked_at} key frames is a single colour")


def describe(key: str, task: FileTask, track: FaceTrack, audio: TrackAudio) -> TrackRecord:
    """The facts of a track that follow from its source's content; name, speaker and split are filled in later."""
    return TrackRecord(
        key=key,
        source="",
        sha256=task.sha256,
        speaker="",
        split="",
        start_s=track.start / FRAME_RATE_HZ,
        frames=len(track.jpegs),
        audio_lead_frames=audio.lead_frames,
        face_px=round(face_size_px(track), 3),
        turn=round(mean_turn(track), 3),
        sharpness=round(track.sharpness, 3),
        opening_std=round(float(lip_opening(track.landmarks).std()), 3),
        versions=_versions(task.landmarks),
        shot=track.shot,
        detection=round(track.detection, 3),
    )


@cache
def _versions(landmarks: Landmarks) -> dict[str, str]:
    models = face_models(landmarks)
    found_by = {DETECTOR: models.detector_id, LANDMARKER: models.landmarker_id}
    programs = {name: metadata.version(name) for name in PROGRAMS}
    return {"format": FORMAT, "speech2vid": __version__, **found_by, **programs}
