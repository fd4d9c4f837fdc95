"""What the page's processes do: the library's own functions, with the page's limits and file names."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from speech2vid.app.work import Progress
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import FaceError, MediaError, OutputError
from speech2vid.frontend import SyncNetworks, faces_from_left, measure_sync
from speech2vid.frontend.lip_sync import CONFIDENT, OFFSETS
from speech2vid.frontend.selection import LOOK
from speech2vid.inference import TalkerNetworks
from speech2vid.inference.redub import RedubResult
from speech2vid.inference.redub import redub as make_redub
from speech2vid.inference.talk import TalkResult
from speech2vid.inference.talk import talk as make_talk
from speech2vid.media import VideoReader, is_photo, load_photo, probe, shift_sound
from speech2vid.records import Face, Image

Box = tuple[float, float, float, float]  # left, top, right, bottom
PREVIEW_PX = 960
MAX_RATE_HZ = 120  # of a video's own frames
LOOK_EVERY_FRAMES, LOOK_FRAMES = 12, 500  # of a video, for its first face
INK, PAPER = (255, 255, 255), (194, 65, 12)


@dataclass(frozen=True)
class Made:
    """A video that was made: its file, what it holds, how fast it was made, and what its maker should know."""

    file: Path
    frames: int
    seconds: float
    fps: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FacesFound:
    """A preview picture with numbered boxes round the faces, which are counted from the left.

    Attributes:
        preview: JPEG file.
        boxes: of the faces, pixels of the preview.
    """

    preview: Path
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class SyncFound:
    """How late the sound of a video is.

    Attributes:
        offset_frames: of 1/25 s; positive where the sound is late.
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
    folder: Path, progress: Progress, *, photos: list[Path], sound: Path, max_seconds: float, **options: Any
) -> Made:
    """A photo and a voice → video. ``options`` are those of ``speech2vid.talk``."""
    for photo in photos:
        require_photo(photo)
    check_length(sound, max_seconds)
    outfile = folder / "talk.mp4"
    guarded = _within(progress, sound, max_seconds)
    return _made(make_talk(photos, sound, outfile, networks=networks(), progress=guarded, **options), sound)


def redub(folder: Path, progress: Progress, *, video: Path, sound: Path, max_seconds: float, **options: Any) -> Made:
    """A video and another voice → video. ``options`` are those of ``speech2vid.redub``; nothing is kept elsewhere."""
    check_length(sound, max_seconds)
    check_length(video, max_seconds)
    guarded = _within(progress, video, max_seconds, MAX_RATE_HZ)
    return _made(make_redub(video, sound, folder / "redub.mp4", cache=False, progress=guarded, **options), video, sound)


def find_faces(folder: Path, progress: Progress, *, picture: Path, video: bool) -> FacesFound:
    """The faces of a photo, or of the first frame of a video that shows one."""
    image, faces = _first_with_faces(picture) if video else _faces_of_photo(picture)
    factor = min(1.0, PREVIEW_PX / max(image.shape))
    small = PIL.Image.fromarray(image)
    if factor < 1:
        small = small.resize((round(small.width * factor), round(small.height * factor)), PIL.Image.Resampling.BOX)
    boxes = tuple(_scaled(face, factor) for face in faces)
    _draw(small, boxes)
    preview = folder / "faces.jpg"
    small.save(preview, quality=88)
    return FacesFound(preview, boxes)


def sync(folder: Path, progress: Progress, *, video: Path, max_seconds: float) -> SyncFound:
    """Measure by how much the sound is late, and repair it where that is sure."""
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


def _made(result: TalkResult | RedubResult, *given: Path) -> Made:
    """The result, and its notes with the names that the user knows."""
    notes = result.notes
    for path in given:
        notes = tuple(note.replace(str(path), path.name) for note in notes)
    return Made(result.outfile, result.frames, result.seconds, result.fps_end_to_end, notes)


def require_photo(path: Path) -> None:
    """Raise a ``MediaError`` unless the file holds a picture."""
    if not is_photo(path):
        load_photo(path)  # says why
        raise MediaError(f"{path} is not a picture that can be read", "give a JPEG, PNG or WebP file")


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


def _within(progress: Progress, path: Path, max_seconds: float, rate_hz: float = FRAME_RATE_HZ) -> Progress:
    """The same progress, and an end for a file that is longer than its header says."""
    most = max_seconds * rate_hz + 2

    def checked(done: int, total: int | None) -> None:
        if done > most:
            raise _too_long(path, f"more than {max_seconds:g} s", max_seconds)
        progress(done, total)

    return checked


def _faces_of_photo(path: Path) -> tuple[Image, list[Face]]:
    image = load_photo(path)
    if faces := faces_from_left(image):
        return image, faces
    raise FaceError(f"no frontal face was found in {path}", LOOK)


def _first_with_faces(path: Path) -> tuple[Image, list[Face]]:
    with VideoReader(path, FRAME_RATE_HZ) as reader:
        for index, frame in enumerate(reader):
            if index >= LOOK_FRAMES:
                break
            if index % LOOK_EVERY_FRAMES == 0 and (faces := faces_from_left(frame.image)):
                return frame.image, faces
    seconds = LOOK_FRAMES / FRAME_RATE_HZ
    raise FaceError(f"no frontal face was found in the first {seconds:.0f} s of {path}", "begin where a face is seen")


def _scaled(face: Face, factor: float) -> Box:
    box = face.box
    return (box.left * factor, box.top * factor, box.right * factor, box.bottom * factor)


def _draw(picture: PIL.Image.Image, boxes: tuple[Box, ...]) -> None:
    """Numbered boxes."""
    pen = PIL.ImageDraw.Draw(picture)
    width = max(2, round(max(picture.size) / 240))
    for number, box in enumerate(boxes, 1):
        font = PIL.ImageFont.load_default(size=max(12, min(40, 0.3 * (box[2] - box[0]))))
        pen.rectangle(box, outline=PAPER, width=width)
        *_, right, bottom = pen.textbbox((box[0] + 2 * width, box[1] + width), str(number), font=font)
        pen.rectangle((box[0], box[1], right + 2 * width, bottom + 2 * width), fill=PAPER)
        pen.text((box[0] + 2 * width, box[1] + width), str(number), font=font, fill=INK)


def _shifted(video: Path, folder: Path, shift_s: Fraction) -> Path:
    try:
        return shift_sound(video, folder / "in-step.mp4", shift_s)
    except OutputError:
        return shift_sound(video, folder / "in-step.mkv", shift_s)  # it holds codecs that mp4 does not
