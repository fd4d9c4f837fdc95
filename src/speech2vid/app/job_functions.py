"""What the page's processes do: the library's own functions, with the page's limits and file names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from speech2vid.app.previews import FacesFound, gallery_of, preview_of
from speech2vid.app.workers import Progress
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import FaceError, MediaError, OutputError
from speech2vid.faces import SyncNetworks, faces_from_left, measure_sync
from speech2vid.faces.choose_face import LOOK
from speech2vid.faces.sync import CONFIDENT, OFFSETS
from speech2vid.inference import TalkerNetworks
from speech2vid.inference.active_speaker import require_people
from speech2vid.inference.redub import RedubResult
from speech2vid.inference.redub import redub as make_redub
from speech2vid.inference.talk import TalkResult
from speech2vid.inference.talk import talk as make_talk
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.video_tracks import VideoTracks
from speech2vid.media import RawVideoReader, is_photo, load_photo, probe, shift_audio

MAX_RATE_HZ = 120  # of a video's own frames
LOOKING, MAKING = "Looking at the video", "Making the video"
KNOWN = "The time in which the video was looked at beforehand is not counted."


@dataclass(frozen=True)
class JobOutput:
    """A video that was made: its file, what it holds, how fast it was made, and what its maker should know."""

    file: Path
    frames: int
    seconds: float
    fps: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SyncFound:
    """How late the audio of a video is.

    Attributes:
        offset_frames: of 1/25 s; positive where the audio is late.
        confidence: 0–2.
        sure: whether the confidence is high enough to repair the video.
        curve: (offset in frames, similarity) for every offset tried.
        agree: share of one-second windows that say the same, within a frame.
        fixed: the repaired video; None if there is nothing to repair, or no certainty.
    """

    offset_frames: int
    confidence: float
    sure: bool
    curve: tuple[tuple[int, float], ...]
    agree: float
    fixed: Path | None


@cache
def networks() -> TalkerNetworks:
    """Loaded once a process, which serves one job after the other."""
    return TalkerNetworks()


def get_ready() -> None:
    """Nothing more: what takes time is the import of this module."""


def talk(
    folder: Path, progress: Progress, *, photos: list[Path], audio: Path, max_seconds: float, **options: Any
) -> JobOutput:
    """A photo and a voice → video. ``options`` are those of ``speech2vid.talk``."""
    for photo in photos:
        require_photo(photo)
    check_length(audio, max_seconds)
    outfile = folder / "talk.mp4"
    guarded = _within(progress, audio, max_seconds)
    return _job_output(make_talk(photos, audio, outfile, networks=networks(), progress=guarded, **options), audio)


def redub(
    folder: Path, progress: Progress, *, video: Path, audio: Path, kept: Path, max_seconds: float, **options: Any
) -> JobOutput:
    """A video and another voice → video. ``options`` are those of ``speech2vid.redub``; ``kept`` as in ``look``."""
    check_length(audio, max_seconds)
    start = time.perf_counter()
    _, looked = _looked_at(video, kept, progress, max_seconds)
    look_s = time.perf_counter() - start
    guarded = _within(progress, video, max_seconds, MAX_RATE_HZ, MAKING)
    generated = make_redub(video, audio, folder / "redub.mp4", cache=kept, progress=guarded, **options)
    result = _job_output(generated, video, audio)
    fps = generated.frames / (look_s + generated.frames / generated.fps_end_to_end)
    return replace(result, fps=fps, notes=result.notes if looked else (*result.notes, KNOWN))


def _looked_at(video: Path, kept: Path, progress: Progress, max_seconds: float) -> tuple[VideoTracks, int]:
    """What the first pass of re-dubbing finds, and how many pictures had to be looked at for it: 0 if it was known."""
    expected = round(check_length(video, max_seconds) * float(RawVideoReader(video).format.rate_hz))
    guarded = _within(progress, video, max_seconds, MAX_RATE_HZ, LOOKING)
    looked = 0

    def tell(done: int) -> None:
        nonlocal looked
        looked = done
        guarded(done, max(done, expected))

    return known_tracks(video, progress=tell, folder=kept), looked


def find_faces(folder: Path, progress: Progress, *, photo: Path) -> FacesFound:
    """The faces of a photo, from the left."""
    image = load_photo(photo)
    if not (faces := faces_from_left(image)):
        raise FaceError(f"no frontal face was found in {photo}", LOOK)
    return preview_of(image, faces, folder / "faces.jpg")


def look(folder: Path, progress: Progress, *, video: Path, kept: Path, max_seconds: float) -> FacesFound:
    """Everybody in a video, as ``redub`` numbers them: its own first pass, kept for it in the folder ``kept``."""
    tracks, _ = _looked_at(video, kept, progress, max_seconds)
    require_people(tracks, video)
    best = [min(stills, key=lambda still: still.cost) for stills in tracks.stills]
    return gallery_of([still.image() for still in best], folder / "faces.jpg")


def sync(folder: Path, progress: Progress, *, video: Path, max_seconds: float) -> SyncFound:
    """Measure by how much the audio is late, and repair it where that is sure."""
    seconds = check_length(video, max_seconds)
    guarded = _within(progress, video, max_seconds)
    total = round(seconds * FRAME_RATE_HZ)
    measure = measure_sync(video, SyncNetworks(), lambda done, _: guarded(done, max(done, total)))
    sure = measure.confidence >= CONFIDENT
    fixed = None
    offset_frames = round(measure.offset_s * FRAME_RATE_HZ)
    if sure and offset_frames:
        fixed = _shifted(video, folder, Fraction(-round(1000 * measure.offset_s), 1000))
    curve = tuple((int(offset), float(value)) for offset, value in zip(OFFSETS, measure.curve, strict=True))
    agree = float((np.abs(measure.window_offsets - measure.offset_s * FRAME_RATE_HZ) <= 1).mean())
    return SyncFound(offset_frames, measure.confidence, sure, curve, agree, fixed)


def _job_output(result: TalkResult | RedubResult, *given: Path) -> JobOutput:
    """The result, and its notes with the names that the user knows."""
    notes = result.notes
    for path in given:
        notes = tuple(note.replace(str(path), path.name) for note in notes)
    return JobOutput(result.outfile, result.frames, result.seconds, result.fps_end_to_end, notes)


def require_photo(path: Path) -> None:
    """Raise a ``MediaError`` unless the file holds a picture."""
    if not is_photo(path):
        load_photo(path)  # says why
        raise MediaError(f"{path} is not an image that can be read", "give a JPEG, PNG or WebP file")


def check_length(path: Path, max_seconds: float) -> float:
    """Seconds of a file, as its header says.

    Raises:
        MediaError: longer than allowed.
    """
    seconds = probe(path).duration_s
    if seconds > max_seconds:
        raise _too_long(path, f"{seconds:.0f} s", max_seconds)
    return seconds


def _too_long(path: Path, length: str, max_seconds: float) -> MediaError:
    hint = "cut it, or use the command line, which takes any length"
    return MediaError(f"{path} is too long: {length}, and this page takes up to {max_seconds:g} s", hint)


def _within(
    progress: Progress, path: Path, max_seconds: float, rate_hz: float = FRAME_RATE_HZ, doing: str = ""
) -> Callable[[int, int | None], None]:
    """The same progress with a name, and an end for a file that is longer than its header says."""
    most = max_seconds * rate_hz + 2

    def checked(done: int, total: int | None) -> None:
        if done > most:
            raise _too_long(path, f"more than {max_seconds:g} s", max_seconds)
        progress(done, total, doing)

    return checked


def _shifted(video: Path, folder: Path, shift_s: Fraction) -> Path:
    try:
        return shift_audio(video, folder / "in-step.mp4", shift_s)
    except OutputError:
        return shift_audio(video, folder / "in-step.mkv", shift_s)  # it holds codecs that mp4 does not
