"""A video file → by how much its sound is late (Sect. 4): faces followed, each compared with the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import FaceError
from speech2vid.frontend.following import FaceFollower
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
from speech2vid.frontend.shots import split_shots
from speech2vid.frontend.tracking import TrackedFace
from speech2vid.media import VideoReader, probe, read_audio
from speech2vid.records import Image, Points, VideoFrame

Progress = Callable[[int, int | None], None]


def measure_sync(
    video: str | Path, networks: SyncNetworks | None = None, progress: Progress | None = None
) -> SyncMeasure:
    """By how much the sound of a video is later than its picture, and how sure that is.

    All faces are followed, shot by shot; the stretches in which one clearly speaks decide.

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
    measure = measure_tracks(tracks, probe(video).frame_rate_hz or Fraction(FRAME_RATE_HZ))
    if measure is None:
        seconds = CONTEXT_FRAMES / FRAME_RATE_HZ
        hint = f"it takes {seconds:.0f} s of one frontal face with sound, and {MAX_OFFSET_FRAMES} frames on either side"
        raise FaceError(f"no face in {video} is seen long enough to tell the offset of its sound", hint)
    return measure


def mouth_tracks(video: Path, progress: Progress | None = None) -> Iterator[tuple[int, NDArray[np.uint8], Points]]:
    """Every face of a video, as long as it can be followed, a minute at most.

    Yields:
        number of the first frame on the 25 Hz grid, (T, 32, 48) mouth pictures, (T, 68, 2) landmarks, px of the 112 px
        face.
    """
    follower = FaceFollower(_mouth)
    with VideoReader(video, FRAME_RATE_HZ) as reader:
        for face in follower.find(split_shots(_counted(reader, progress))):
            pictures, landmarks = zip(*face.kept, strict=True)
            yield face.start, np.stack(pictures), np.stack(landmarks)


def _mouth(face: TrackedFace) -> tuple[NDArray[np.uint8], Points]:
    return mouth_picture(face.aligned.image), face.aligned.landmarks


def _counted(frames: Iterable[VideoFrame], progress: Progress | None) -> Iterator[Image]:
    for count, frame in enumerate(frames, start=1):
        if progress is not None:
            progress(count, None)
        yield frame.image
