"""Video → tracks of one face, aligned (Sect. 4): the largest face is followed, again and again where it is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.data.pictures import encode_picture
from speech2vid.data.records import FaceTrack
from speech2vid.data.stage_clock import StageClock
from speech2vid.face.detector import detect_boxes
from speech2vid.frontend import aligned_track, sharpness
from speech2vid.frontend.tracking import DETECT_EVERY
from speech2vid.media import VideoReader
from speech2vid.records import FaceBox, Image, Points, VideoFrame

MAX_TRACK_FRAMES = 1500  # a minute; longer tracks are cut there, which bounds memory
SEARCH_CLOSELY_FRAMES = 25  # so many frames are all searched for a face, from then on every 12th


@dataclass(frozen=True)
class _Face:
    """A frame of a track without its source picture."""

    picture: bytes
    landmarks: Points
    source_landmarks: Points
    transform: NDArray[np.float64]
    sharpness: float


def find_tracks(path: Path, clock: StageClock) -> Iterator[FaceTrack]:
    """Every stretch of a video in which its largest face can be followed, in order of time, up to a minute at once.

    Raises:
        MediaError: there is no picture that can be decoded.
    """
    with VideoReader(path, FRAME_RATE_HZ) as reader:
        frames = _Frames(clock.each("decode", reader))
        while (first := _next_face(frames, clock)) is not None:
            start, image, box = first
            faces = _certain(_faces(image, box, frames, clock), frames)
            while part := list(islice(faces, MAX_TRACK_FRAMES)):
                yield _joined(start, part)
                start += len(part)


class _Frames:
    """The pictures of a video; knows how many were taken and whether there are none left."""

    def __init__(self, frames: Iterable[VideoFrame]) -> None:
        self.taken = 0
        self.ended = False
        self._frames = iter(frames)

    def __iter__(self) -> Iterator[Image]:
        return self

    def __next__(self) -> Image:
        frame = next(self._frames, None)
        if frame is None:
            self.ended = True
            raise StopIteration
        self.taken += 1
        return frame.image


def _next_face(frames: _Frames, clock: StageClock) -> tuple[int, Image, FaceBox] | None:
    """The next frame with a face: its number, the picture, and where its largest face is."""
    for searched, image in enumerate(frames):
        if searched < SEARCH_CLOSELY_FRAMES or searched % DETECT_EVERY == 0:
            with clock.during("faces"):
                boxes = detect_boxes(image)
            if boxes:
                return frames.taken - 1, image, boxes[0]
    return None


def _faces(first: Image, box: FaceBox, frames: _Frames, clock: StageClock) -> Iterator[_Face]:
    for tracked in clock.each("faces", aligned_track(chain([first], frames), box)):
        with clock.during("encode"):
            aligned = tracked.aligned
            picture = encode_picture(aligned.image)
            blur = sharpness(aligned.image)
        yield _Face(picture, aligned.landmarks, tracked.landmarks, aligned.transform, blur)


def _certain(faces: Iterator[_Face], frames: _Frames) -> Iterator[_Face]:
    """Where a face was lost before the video ended, leave out the frames since it was last detected."""
    unsure: deque[_Face] = deque()
    for face in faces:
        unsure.append(face)
        if len(unsure) == DETECT_EVERY:
            yield unsure.popleft()
    if frames.ended:
        yield from unsure


def _joined(start: int, faces: Sequence[_Face]) -> FaceTrack:
    return FaceTrack(
        start,
        [face.picture for face in faces],
        np.stack([face.landmarks for face in faces]),
        np.stack([face.source_landmarks for face in faces]),
        np.stack([face.transform for face in faces]),
        float(np.mean([face.sharpness for face in faces])),
    )
