"""A video file → by how much its sound is late (Sect. 4): faces followed, each compared with the sound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import FaceError
from speech2vid.face.detector import detect_boxes
from speech2vid.frontend.lip_sync import (
    CONTEXT_FRAMES,
    MAX_OFFSET_FRAMES,
    Floats,
    SyncMeasure,
    SyncNetworks,
    measure_tracks,
    similarities,
)
from speech2vid.frontend.mouth_views import mouth_picture
from speech2vid.frontend.tracking import DETECT_EVERY, aligned_track
from speech2vid.media import VideoReader, read_audio
from speech2vid.records import FaceBox, Image, Points

SEARCH_EVERY = 5  # frames, where no face is followed
MAX_TRACK_FRAMES = 1500  # longer tracks are cut, which bounds memory
Progress = Callable[[int, int | None], None]


def measure_sync(
    video: str | Path, networks: SyncNetworks | None = None, progress: Progress | None = None
) -> SyncMeasure:
    """By how many frames the sound of a video is later than its picture, and how sure that is.

    The largest face is followed, again and again where it is lost; the stretches in which it speaks decide.

    Args:
        video: a file with picture and sound, of any frame rate, also a variable one.
        networks: those of the package by default.
        progress: called with the number of frames (25 a second) done, and None.

    Raises:
        MediaError: the file cannot be read, or lacks picture or sound.
        FaceError: no frontal face is seen for as long as a second with sound.
        WeightsError: the network is missing or damaged.
    """
    video = Path(video)
    networks = networks or SyncNetworks()
    sound = networks.sound(read_audio(video))
    tracks: list[tuple[int, Floats]] = []
    for first, pictures, landmarks in mouth_tracks(video, progress):
        tracks.append((first, similarities(networks.video(pictures, landmarks), sound, first)))
    measure = measure_tracks(tracks)
    if measure is None:
        seconds = CONTEXT_FRAMES / FRAME_RATE_HZ
        hint = f"it takes {seconds:.0f} s of one frontal face with sound, and {MAX_OFFSET_FRAMES} frames on either side"
        raise FaceError(f"no face in {video} is seen long enough to tell the offset of its sound", hint)
    return measure


def mouth_tracks(video: Path, progress: Progress | None = None) -> Iterator[tuple[int, NDArray[np.uint8], Points]]:
    """Every stretch of a video in which its largest face can be followed, a minute at most.

    Yields:
        number of the first frame on the 25 Hz grid, (T, 32, 48) mouth pictures, (T, 68, 2) landmarks, px of the 112 px
        face.
    """
    with VideoReader(video, FRAME_RATE_HZ) as reader:
        frames = _Frames((frame.image for frame in reader), progress)
        while (first := _next_face(frames)) is not None:
            start, image, box = first
            track = aligned_track(chain([image], frames), box)
            sure = _sure(((mouth_picture(face.aligned.image), face.aligned.landmarks) for face in track), frames)
            while part := list(islice(sure, MAX_TRACK_FRAMES)):
                yield start, np.stack([picture for picture, _ in part]), np.stack([points for _, points in part])
                start += len(part)


Face = tuple[NDArray[np.uint8], Points]


class _Frames:
    """The pictures of a video; knows how many were taken and whether there are none left."""

    def __init__(self, images: Iterator[Image], progress: Progress | None) -> None:
        self.taken = 0
        self.ended = False
        self._images, self._progress = images, progress

    def __iter__(self) -> Iterator[Image]:
        return self

    def __next__(self) -> Image:
        image = next(self._images, None)
        if image is None:
            self.ended = True
            raise StopIteration
        self.taken += 1
        if self._progress is not None:
            self._progress(self.taken, None)
        return image


def _next_face(frames: _Frames) -> tuple[int, Image, FaceBox] | None:
    """The next frame with a face: its number, the picture, and where its largest face is."""
    for searched, image in enumerate(frames):
        if searched % SEARCH_EVERY == 0 and (boxes := detect_boxes(image)):
            return frames.taken - 1, image, boxes[0]
    return None


def _sure(faces: Iterator[Face], frames: _Frames) -> Iterator[Face]:
    """Where a face was lost before the video ended, leave out the frames since it was last detected."""
    unsure: deque[Face] = deque()
    for face in faces:
        unsure.append(face)
        if len(unsure) > DETECT_EVERY:
            yield unsure.popleft()
    if frames.ended:
        yield from unsure
