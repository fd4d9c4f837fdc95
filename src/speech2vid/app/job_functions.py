"""Job functions, executed in the workers: the library's own functions under a server's limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from speech2vid.app.previews import FacesFound, gallery_of, preview_of
from speech2vid.app.workers import Job, Progress
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import FaceError, MediaError, OutputError
from speech2vid.faces import SyncNetworks, face_models, faces_from_left, measure_sync
from speech2vid.faces.choose_face import LOOK
from speech2vid.faces.sync import CONFIDENT, OFFSETS, SYNC
from speech2vid.inference.active_speaker import require_people
from speech2vid.inference.head.samplers import MotionNetwork
from speech2vid.inference.identity import make_identity
from speech2vid.inference.redub import RedubResult
from speech2vid.inference.redub import redub as make_redub
from speech2vid.inference.talk import TalkResult
from speech2vid.inference.talk import talk as make_talk
from speech2vid.inference.talkers.base import Identity, Talker, load_talker
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.use_notes import landmarker_notes
from speech2vid.inference.video_tracks import VideoTracks
from speech2vid.media import RawVideoReader, is_photo, load_photo, probe, shift_audio
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import weight_set

MAX_RATE_HZ = 120  # of a video's own frames
LOOKING, MAKING = "Looking at the video", "Making the video"
KNOWN = "The time in which the video was looked at beforehand is not counted."
CACHED = ("redub", "people")  # verbs with the option ``kept``: a folder for what was found in a video


class TooLong(MediaError):
    """An audio or video file is longer than the server accepts."""


@dataclass(frozen=True)
class JobOutput:
    """A generated video: its file, its length, the speed in frames per second, and notes for whoever requested it."""

    file: Path
    frames: int
    seconds: float
    fps: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SyncFound:
    """The audio offset of a video.

    Attributes:
        offset_frames: frames of 1/25 s; positive where the audio is late.
        confidence: 0–2.
        sure: whether the confidence is high enough to correct the video.
        curve: (offset in frames, similarity) for every offset that was tried.
        agree: share of one-second windows with the same offset, within a frame.
        fixed: the corrected video; None if there is nothing to correct, or the offset is not sure.
        report: offset_frames (of the video), offset_s, confidence, sure and agree, as ``speech2vid sync --json``.
    """

    offset_frames: int
    confidence: float
    sure: bool
    curve: tuple[tuple[int, float], ...]
    agree: float
    fixed: Path | None
    report: dict[str, Any]


@cache
def talker(weights: str | Path | None, device: str) -> Talker:
    """Return the talker, loaded once in each process."""
    return load_talker(weights, device=device)


@cache
def motion_network(weights: str | Path | None, device: str) -> MotionNetwork:
    """Return the network of head motion, loaded once in each process."""
    return MotionNetwork(weight_set(weights), graph_loader(device))


@cache
def sync_networks(weights: str | Path | None, device: str) -> SyncNetworks:
    """Return the sync network, loaded once in each process."""
    return SyncNetworks(weights, device=device)


@dataclass(frozen=True)
class JobFunctions:
    """The verbs of a server: each is a method ``(folder, progress, **inputs, **options) → result``.

    Attributes:
        weights, device: as :func:`speech2vid.talk`.
        max_seconds: longest audio or video.
    """

    weights: str | Path | None = None
    device: str = "auto"
    max_seconds: float = 300

    def load(self) -> None:
        """Load the talker ahead of the first job."""
        talker(self.weights, self.device)

    def __call__(self, job: Job, folder: Path, progress: Progress) -> Any:
        """Execute a job; its outputs go into ``folder``."""
        return getattr(self, job.verb)(folder, progress, **job.inputs, **job.options)

    def talk(
        self,
        folder: Path,
        progress: Progress,
        *,
        face: Sequence[Path],
        audio: Path,
        weights: str | None = None,
        **options: Any,
    ) -> JobOutput:
        """Animate a face. ``options`` are those of :func:`speech2vid.talk`; ``weights``: a shipped set."""
        self._check_length(audio)
        guarded = self._within(progress, audio)
        chosen = weights or self.weights
        loaded = talker(chosen, self.device)
        landmarker_notes(chosen, loaded.hashes, face_models(options.get("landmarks")))
        result = make_talk(face, audio, folder / "talk.mp4", talker=loaded, progress=guarded, **options)
        return _output(result, audio)

    def redub(
        self,
        folder: Path,
        progress: Progress,
        *,
        video: Path,
        audio: Path,
        kept: Path | None = None,
        weights: str | None = None,
        **options: Any,
    ) -> JobOutput:
        """Re-dub a video. ``options`` are those of :func:`speech2vid.redub`; ``weights`` as in ``talk``, ``kept`` as
        in ``people``.
        """
        self._check_length(audio)
        kept = kept or folder / "kept"
        start = time.perf_counter()
        _, looked = self._tracks(video, kept, progress, options.get("landmarks"))
        look_s = time.perf_counter() - start
        guarded = self._within(progress, video, MAX_RATE_HZ, MAKING)
        options |= {"weights": weights or self.weights, "device": self.device, "cache": kept, "progress": guarded}
        generated = make_redub(video, audio, folder / "redub.mp4", **options)
        result = _output(generated, video, audio)
        fps = generated.frames / (look_s + generated.frames / generated.fps_end_to_end)
        return replace(result, fps=fps, notes=result.notes if looked else (*result.notes, KNOWN))

    def people(
        self, folder: Path, progress: Progress, *, video: Path, kept: Path | None = None, landmarks: str = "paper"
    ) -> FacesFound:
        """Find everybody in a video, numbered as by ``redub``: its first pass, kept in the folder ``kept``."""
        tracks, _ = self._tracks(video, kept or folder / "kept", progress, landmarks)
        require_people(tracks, video)
        best = [min(stills, key=lambda still: still.cost) for stills in tracks.stills]
        return gallery_of([still.image() for still in best], folder / "faces.jpg")

    def faces(self, folder: Path, progress: Progress, *, face: Path, landmarks: str = "paper") -> FacesFound:
        """Find the faces of a photo, from the left."""
        image = load_photo(face)
        if not (faces := faces_from_left(image, face_models(landmarks))):
            raise FaceError(f"no frontal face was found in {face}", LOOK)
        return preview_of(image, faces, folder / "faces.jpg")

    def identity(
        self, folder: Path, progress: Progress, *, face: Path, landmarks: str = "paper", **options: Any
    ) -> Identity:
        """Prepare a photo for live streaming. ``options`` are those of :func:`speech2vid.make_identity`."""
        if not is_photo(face):
            load_photo(face)  # raises the reason
            raise MediaError(f"{face} is not an image that can be read", "give a JPEG, PNG or WebP file")
        loaded, models = talker(self.weights, self.device), face_models(landmarks)
        landmarker_notes(self.weights, loaded.hashes, models)
        return make_identity([face], loaded, models=models, **options)

    def sync(
        self, folder: Path, progress: Progress, *, video: Path, fix: bool = False, landmarks: str = "paper"
    ) -> SyncFound:
        """Measure the audio offset of a video, and correct it where the measurement is sure; ``fix``: or raise."""
        total = round(self._check_length(video) * FRAME_RATE_HZ)
        guarded = self._within(progress, video)
        models = face_models(landmarks)
        landmarker_notes(self.weights, [SYNC], models)
        networks = sync_networks(self.weights, self.device)
        measure = measure_sync(video, networks, lambda done, _: guarded(done, max(done, total)), models)
        sure = measure.confidence >= CONFIDENT
        offset_frames = round(measure.offset_s * FRAME_RATE_HZ)
        fixed = None
        if fix and not sure:
            raise FaceError(f"the audio offset of {video} is not sure", "the speaker's face must be visible")
        if sure and (offset_frames or fix):
            fixed = _shifted(video, folder, Fraction(-round(1000 * measure.offset_s), 1000))
        curve = tuple((int(offset), float(value)) for offset, value in zip(OFFSETS, measure.curve, strict=True))
        agree = float((np.abs(measure.window_offsets - measure.offset_s * FRAME_RATE_HZ) <= 1).mean())
        report = {
            "offset_frames": measure.offset_frames,
            "offset_s": round(measure.offset_s, 3),
            "confidence": round(measure.confidence, 4),
            "sure": sure,
            "agree": round(agree, 3),
        }
        return SyncFound(offset_frames, measure.confidence, sure, curve, agree, fixed, report)

    def _tracks(self, video: Path, kept: Path, progress: Progress, landmarks: str | None) -> tuple[VideoTracks, int]:
        """The result of the first pass of re-dubbing, and the number of frames read for it: 0 if it was kept."""
        expected = round(self._check_length(video) * float(RawVideoReader(video).format.rate_hz))
        guarded = self._within(progress, video, MAX_RATE_HZ, LOOKING)
        looked = 0

        def report(done: int) -> None:
            nonlocal looked
            looked = done
            guarded(done, max(done, expected))

        return known_tracks(video, progress=report, folder=kept, models=face_models(landmarks)), looked

    def _check_length(self, path: Path) -> float:
        """Return the duration in the file's header, in seconds; raise ``TooLong`` where it exceeds the limit."""
        seconds = probe(path).duration_s
        if seconds > self.max_seconds:
            raise self._too_long(path, f"{seconds:.0f} s")
        return seconds

    def _within(
        self, progress: Progress, path: Path, rate_hz: float = FRAME_RATE_HZ, doing: str = ""
    ) -> Callable[[int, int | None], None]:
        """The same progress with a name, and a limit for a file that is longer than its header says."""
        most = self.max_seconds * rate_hz + 2

        def checked(done: int, total: int | None) -> None:
            if done > most:
                raise self._too_long(path, f"more than {self.max_seconds:g} s")
            progress(done, total, doing)

        return checked

    def _too_long(self, path: Path, length: str) -> TooLong:
        hint = "cut it, or use the command line, which takes any length"
        return TooLong(f"{path} is too long: {length}, and this server takes up to {self.max_seconds:g} s", hint)


def _output(result: TalkResult | RedubResult, *given: Path) -> JobOutput:
    """The result, its notes with file names instead of paths."""
    notes = result.notes
    for path in given:
        notes = tuple(note.replace(str(path), path.name) for note in notes)
    return JobOutput(result.outfile, result.frames, result.seconds, result.fps_end_to_end, notes)


def _shifted(video: Path, folder: Path, shift_s: Fraction) -> Path:
    try:
        return shift_audio(video, folder / "in-step.mp4", shift_s)
    except OutputError:
        return shift_audio(video, folder / "in-step.mkv", shift_s)  # it holds codecs that mp4 does not
