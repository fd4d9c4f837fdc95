"""First pass of re-dubbing: which faces are seen in a video, where, who they are, and how well they fit its audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, SAMPLE_EVERY_FRAMES
from speech2vid.faces import PAPER, FaceModels, SyncNetworks, TrackedFace, lip_opening, sharpness, turn
from speech2vid.faces.align import align
from speech2vid.faces.cluster import FaceClusters, mean_embedding
from speech2vid.faces.mouth_crops import mouth_crop
from speech2vid.faces.shots import split_shots
from speech2vid.faces.sync import OFFSETS, similarities
from speech2vid.faces.track import DETECT_EVERY, FaceTracker, Followed
from speech2vid.geometry import invert, transform_points
from speech2vid.inference.prefetch import ahead
from speech2vid.media import AnyFile, MediaFile, RawVideoReader, read_audio
from speech2vid.media.video_reader import LOOK
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image, Points

TRACK_PX = 1280  # longest side of the frame in which faces are followed
FRAMES_AHEAD = 6
STILL_MARGIN = 0.2  # of the aligned face's side, kept round a still
STILLS_A_PERSON = 40
EMBEDDED = 3  # stills of a track whose faces are compared
JPEG_QUALITY = 96


@dataclass(frozen=True)
class SeenStill:
    """A moment of a face, to take a mouth from.

    Attributes:
        frame: JPEG of the face and a margin.
        landmarks: (68, 2) px of that frame.
        opening: of the lips, px of the aligned face.
        cost: how unfit it is: blurred, turned.
    """

    jpeg: NDArray[np.uint8]
    landmarks: Points
    opening: float
    cost: float

    def image(self) -> Image:
        """(h, w, 3) uint8 RGB."""
        return np.asarray(cv2.imdecode(self.jpeg, cv2.IMREAD_COLOR_RGB), np.uint8)


@dataclass(frozen=True)
class SeenFace:
    """A face followed through a shot.

    Attributes:
        start: index of its first frame.
        shot: number of the shot.
        person: who it is, from 0 in order of appearance, from left to right.
        landmarks: (T, 68, 2) float32, px of the frame at full size with square pixels.
        first_frame: on the grid of 25 Hz, of ``fits``.
        fits: (t, 31) similarity with the video's audio at offsets −15 … 15 frames; empty where there is none.
    """

    start: int
    shot: int
    person: int
    landmarks: Points
    first_frame: int
    fits: Floats

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def stop(self) -> int:
        return self.start + len(self)


@dataclass(frozen=True)
class VideoTracks:
    """All that the first pass knows of a video.

    Attributes:
        ticks: (N,) int64, when each frame is shown, in units of ``RawFormat.tick_s``.
        durations: (N,) int64, for how long.
        shots: index of the first frame of each shot.
        faces: in order of appearance.
        stills: of each person.
        tilted: how often a face was seen that lies on its side or upside down, and was not followed.
    """

    ticks: NDArray[np.int64]
    durations: NDArray[np.int64]
    shots: list[int]
    faces: list[SeenFace]
    stills: list[list[SeenStill]]
    tilted: int = 0


@dataclass(frozen=True)
class _Moment:
    """What is kept of a face in one frame, px of the frame that was looked at."""

    landmarks: Points
    aligned: Points
    mouth: NDArray[np.uint8]
    still: SeenStill | None


@dataclass
class _Times:
    ticks: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)


def find_tracks(
    video: AnyFile | MediaFile,
    sync: SyncNetworks | None = None,
    watch: Stopwatch | None = None,
    progress: Callable[[int], None] | None = None,
    models: FaceModels = PAPER,
) -> VideoTracks:
    """Follow every face of a video through its shots.

    Args:
        video: any file with video; an open one stays open.
        sync: those of the package by default; not used where the video has no audio.
        watch: measures the time of each stage.
        progress: called with the number of frames done.
        models: detector and landmarker.

    Raises:
        MediaError: it cannot be read.
    """
    watch = watch or Stopwatch()
    reader = RawVideoReader(video)
    audio: Floats | None = None
    if reader.file.has_audio:
        with watch("track"):
            sync = sync or SyncNetworks()
            audio = sync.audio(read_audio(reader.file))
    rate_hz = float(reader.format.rate_hz)
    every = max(1, round(SAMPLE_EVERY_FRAMES * rate_hz / FRAME_RATE_HZ))
    follower = FaceTracker(
        _keeper(every), models, detect_every=max(DETECT_EVERY, round(DETECT_EVERY * rate_hz / FRAME_RATE_HZ))
    )
    times = _Times()
    people = FaceClusters()
    faces: list[SeenFace] = []
    stills: dict[int, list[SeenStill]] = {}
    scale = 1.0, 1.0

    def images() -> Iterator[Image]:
        nonlocal scale
        with closing(ahead(watch.timed("decode", _looks(reader)), FRAMES_AHEAD)) as looks:
            for frame, image in looks:
                times.ticks.append(frame[0])
                times.durations.append(frame[1])
                scale = _full_width(reader) / image.shape[1], reader.format.height_px / image.shape[0]
                if progress is not None:
                    progress(len(times.ticks))
                yield image

    for followed in watch.timed("track", follower.find(split_shots(images()))):
        with watch("track"):
            face, moments = _face_of(followed, times, reader, scale, people, sync, audio)
            faces.append(face)
            stills[face.person] = thinned(stills.get(face.person, []) + moments)
    return _numbered(
        VideoTracks(
            np.array(times.ticks, np.int64),
            np.array(times.durations, np.int64),
            follower.shots,
            faces,
            [stills.get(person, []) for person in range(len(people.means))],
            follower.tilted,
        )
    )


def _looks(reader: RawVideoReader) -> Iterator[tuple[tuple[int, int], Image]]:
    for frame in reader:
        yield (frame.ticks, frame.duration), frame.shown(TRACK_PX)


def _full_width(reader: RawVideoReader) -> float:
    return float(reader.format.width_px * reader.format.pixel_aspect)


def _keeper(every: int) -> Callable[[TrackedFace], _Moment]:
    def keep(tracked: TrackedFace) -> _Moment:
        aligned = tracked.aligned
        still = _still(tracked) if tracked.index % every == 0 else None
        return _Moment(tracked.landmarks, aligned.landmarks, mouth_crop(aligned.image), still)

    return keep


def _still(tracked: TrackedFace) -> SeenStill:
    reach = STILL_MARGIN * FACE_PX
    corners = np.array([[x, y] for x in (-reach, FACE_PX + reach) for y in (-reach, FACE_PX + reach)])
    points = transform_points(invert(tracked.aligned.transform), corners)
    height, width = tracked.image.shape[:2]
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.maximum(np.ceil(points.max(axis=0)).astype(int), (left + 1, top + 1))
    crop = np.ascontiguousarray(tracked.image[top:bottom, left:right, ::-1])
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    landmarks = np.asarray(tracked.landmarks - (left, top), np.float32)
    blur = max(0.0, 1.0 - sharpness(tracked.aligned.image))
    cost = 8.0 * turn(tracked.aligned.landmarks) + 4.0 * blur
    return SeenStill(data.ravel(), landmarks, float(lip_opening(tracked.aligned.landmarks)), cost)


def _face_of(
    followed: Followed[_Moment],
    times: _Times,
    reader: RawVideoReader,
    scale: tuple[float, float],
    people: FaceClusters,
    sync: SyncNetworks | None,
    audio: Floats | None,
) -> tuple[SeenFace, list[SeenStill]]:
    moments = followed.kept
    small = np.stack([moment.landmarks for moment in moments])
    landmarks = np.asarray((small + 0.5) * scale - 0.5, np.float32)
    starts_s = np.array(times.ticks[followed.start : followed.start + len(moments)]) * float(reader.format.tick_s)
    first, picks = on_grid(starts_s)
    fits = np.empty((0, len(OFFSETS)), np.float32)
    if sync is not None and audio is not None and len(picks):
        mouths = np.stack([moments[i].mouth for i in picks])
        fits = similarities(sync.video(mouths, np.stack([moments[i].aligned for i in picks])), audio, first)
    stills = [moment.still for moment in moments if moment.still is not None]  # the first moment always has one
    best = sorted(stills, key=lambda still: still.cost)[:EMBEDDED]
    aligned = [align(still.image(), still.landmarks) for still in best]
    person = people.assign(mean_embedding([a.image for a in aligned], [a.landmarks for a in aligned]))
    return SeenFace(followed.start, followed.shot, person, landmarks, first, fits), stills


def on_grid(starts_s: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """Which frames of a stretch stand for the frames of the 25 Hz grid, as ``VideoReader`` takes them.

    Args:
        starts_s: (T,) when each frame is shown.

    Returns:
        number of the first frame, and the frame (index into the stretch) of each.
    """
    look = float(LOOK)
    first = int(np.ceil(starts_s[0] * FRAME_RATE_HZ - look - 1e-6))
    last = int(np.floor(starts_s[-1] * FRAME_RATE_HZ - look + 1e-6))
    looks_s = (np.arange(first, max(first, last) + 1) + look) / FRAME_RATE_HZ
    return first, np.asarray(np.searchsorted(starts_s, looks_s + 1e-6, side="right") - 1, np.int64)


def thinned(stills: list[SeenStill]) -> list[SeenStill]:
    """At most 40 stills spread over the lip openings seen: of two that are nearly alike, the worse one goes."""
    kept = sorted(stills, key=lambda still: still.opening)
    while len(kept) > STILLS_A_PERSON:
        i = int(np.argmin(np.diff([still.opening for still in kept])))
        kept.pop(i if kept[i].cost > kept[i + 1].cost else i + 1)
    return kept


def _numbered(tracks: VideoTracks) -> VideoTracks:
    """People numbered by appearance, those who appear at once from left to right."""
    faces = sorted(tracks.faces, key=lambda face: (face.start, float(face.landmarks[0, :, 0].mean())))
    order = list(dict.fromkeys(face.person for face in faces))
    return replace(
        tracks,
        faces=[replace(face, person=order.index(face.person)) for face in faces],
        stills=[tracks.stills[person] for person in order],
    )
