"""Frames in shots → every face followed through its shot (Sect. 4).

The detector looks at every 12th frame, with HOG at a tenth of the cost of looking at all of them; between, landmarks
say where the face of the next frame is, and KLT says whether they still sit on the same face: where they do not, the
detector looks at once. A face that it misses is followed on for a while, and what was followed counts if the detector
finds the face again. A face whose landmarks do not have the shape of a face is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, REGISTRATION_POINTS
from speech2vid.faces.align import align, canonical_points
from speech2vid.faces.face_models import PAPER, FaceModels
from speech2vid.faces.shots import ShotFrame
from speech2vid.faces.upright import is_tilted
from speech2vid.geometry import similarity
from speech2vid.types import Affine, AlignedFace, FaceBox, Image, Points

DETECT_EVERY = 12
SAME_FACE_OVERLAP = 0.3  # intersection over union of a detection with where the face was expected
SMOOTHING_FRAMES = 1.0  # standard deviation
REACH = 4  # frames on either side that smoothing looks at


@dataclass(frozen=True)
class TrackedFace:
    """A frame of a track: its number, the whole image, landmarks in it (68, 2), and the aligned face."""

    index: int
    image: Image
    landmarks: Points
    aligned: AlignedFace


def follow(frames: Iterable[Image], start: FaceBox, models: FaceModels = PAPER) -> Iterator[tuple[Image, Points]]:
    """Follow one face from the first frame on, until it is lost or the frames end.

    Args:
        frames: (H, W, 3) uint8 RGB, 25 a second.
        start: where the face is in the first frame.
        models: detector and landmarker.

    Yields:
        the frame and its landmarks (68, 2) in its pixels.
    """
    box = start
    for index, image in enumerate(frames):
        if index and index % DETECT_EVERY == 0:
            found = max(models.detector.detect(image), key=lambda each: overlap(each, box), default=None)
            if found is None or overlap(found, box) < SAME_FACE_OVERLAP:
                return
            box = found
        landmarks = models.landmarker.landmarks(image, box, steady=True)
        if landmarks is None:
            return
        yield image, landmarks
        box = models.landmarker.box_of(landmarks)


def aligned_track(frames: Iterable[Image], start: FaceBox, models: FaceModels = PAPER) -> Iterator[TrackedFace]:
    """Follow one face and align it. Arguments as :func:`follow`."""
    aligner = Aligner()
    for image, landmarks in follow(frames, start, models):
        yield from aligner.push(image, landmarks)
    yield from aligner.flush()


class Aligner:
    """Aligns a followed face frame by frame, ``REACH`` frames late: smoothing looks that far ahead.

    The transforms of a track are those of :func:`smooth_transforms`.
    """

    def __init__(self) -> None:
        self._images: deque[Image] = deque()  # not yet aligned
        self._points: deque[Points] = deque(maxlen=2 * REACH + 1)
        self._done = 0

    def push(self, image: Image, landmarks: Points) -> Iterator[TrackedFace]:
        """Take a frame and its landmarks (68, 2); give the frame that is due, if any."""
        self._images.append(image)
        self._points.append(landmarks)
        if len(self._images) > REACH:
            yield self._align()

    def flush(self) -> Iterator[TrackedFace]:
        """Give the last frames."""
        while self._images:
            yield self._align()

    def _align(self) -> TrackedFace:
        points = np.stack(self._points)
        at = len(points) - len(self._images)
        image, landmarks = self._images.popleft(), points[at]
        self._done += 1
        transform = _smoothed(points, at)
        return TrackedFace(self._done - 1, image, landmarks, align(image, landmarks, transform=transform))


def smooth_transforms(landmarks: Points) -> list[Affine]:
    """Transforms source pixels → 112 px of a whole track, smoothed in time without delay: (T, 68, 2) → T × (2, 3)."""
    return [_smoothed(landmarks[max(0, i - REACH) : i + REACH + 1], min(i, REACH)) for i in range(len(landmarks))]


def _smoothed(landmarks: Points, at: int) -> Affine:
    """Transform of frame ``at`` of (n, 68, 2); weights beyond the ends of the track are left out."""
    distance = np.arange(len(landmarks)) - at
    weights: NDArray[np.float64] = np.exp(-0.5 * (distance / SMOOTHING_FRAMES) ** 2) * (abs(distance) <= REACH)
    points = np.tensordot(weights / weights.sum(), landmarks[:, REGISTRATION_POINTS].astype(np.float64), axes=1)
    return similarity(points, canonical_points(FACE_PX)[REGISTRATION_POINTS])


def overlap(a: FaceBox, b: FaceBox) -> float:
    """Intersection over union of two boxes, 0–1."""
    both = FaceBox(max(a.left, b.left), max(a.top, b.top), min(a.right, b.right), min(a.bottom, b.bottom))
    shared = both.area if both.right > both.left and both.bottom > both.top else 0.0
    return shared / max(1e-9, a.area + b.area - shared)


MAX_TRACK_FRAMES = 1500  # a minute; longer tracks are cut there, which bounds memory
SEARCH_EVERY = 3  # frames, at the start of a shot without a face
SEARCH_FRAMES = 24  # so long; then every 12th
MAX_MISSES = 4  # looks in a row that the detector may miss a face: two seconds
MAX_FACES = 6  # at once, the largest; further ones are counted and left out
KLT_PX = 640  # longest side of the image that KLT sees
KLT_BACK_PX = 1.5  # a point that does not come back this near when followed back is lost
KLT_SHARE = 0.4  # of the landmarks must be followed
KLT_APART = 0.12  # of the face's width: median distance between where KLT and the landmarks see the points

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Followed(Generic[Kept]):
    """A face that was followed through (a part of) a shot.

    Attributes:
        shot: number of the shot.
        start: its first frame, on the video's count.
        kept: what was kept of each of its frames.
        detection: mean score of the detector.
    """

    shot: int
    start: int
    kept: list[Kept]
    detection: float


@dataclass
class _Follower(Generic[Kept]):
    """A face being followed."""

    shot: int
    start: int
    box: FaceBox
    landmarks: Points | None = None
    kept: list[Kept] = field(default_factory=list)
    aligner: Aligner = field(default_factory=Aligner)
    followed: int = 0  # frames
    certain: int = 0  # frames up to the last look at which the detector saw it
    misses: int = 0
    scores: list[float] = field(default_factory=list)

    def seen(self, box: FaceBox) -> None:
        self.box, self.certain, self.misses = box, self.followed + 1, 0
        self.scores.append(box.score)


class FaceTracker(Generic[Kept]):
    """Follows all faces in the frames of a video; holds a few frames and what is kept of the faces under way.

    Args:
        keep: returns what is kept of a face in one frame. The image that comes with it is not kept.
        models: detector and landmarker.
        detect_every: frames between two looks of the detector.
        max_frames: longer tracks are cut.

    Attributes:
        tilted: how many faces were found and not followed because they lie on their side or upside down.
        shots: first frame of every shot so far.
        empty_shots: how many shots had no face.
        crowded_shots: how many had more faces than are followed.
    """

    def __init__(
        self,
        keep: Callable[[TrackedFace], Kept],
        models: FaceModels = PAPER,
        *,
        detect_every: int = DETECT_EVERY,
        max_frames: int = MAX_TRACK_FRAMES,
    ) -> None:
        self.shots: list[int] = []
        self.empty_shots = self.crowded_shots = self.tilted = 0
        self._keep, self._models = keep, models
        self._detect_every, self._max_frames = detect_every, max_frames
        self._live: list[_Follower[Kept]] = []
        self._grey: NDArray[np.uint8] | None = None
        self._found_one = True  # a face in this shot
        self._crowd = False

    def find(self, frames: Iterable[ShotFrame]) -> Iterator[Followed[Kept]]:
        """Every face followed, when it ends."""
        for frame in frames:
            if frame.number == 0:
                yield from self._end_all()
                self._begin_shot(frame)
            for follower in self._step(frame):
                yield from self._tracks(follower, lost=True)
        yield from self._end_all()
        self._count_shot()

    def _begin_shot(self, frame: ShotFrame) -> None:
        if self.shots:
            self._count_shot()
        self.shots.append(frame.index)
        self._grey, self._found_one, self._crowd = None, False, False

    def _count_shot(self) -> None:
        self.empty_shots += not self._found_one
        self.crowded_shots += self._crowd

    def _step(self, frame: ShotFrame) -> list[_Follower[Kept]]:
        """Follow every face into this frame. Returns those that are lost."""
        before, self._grey = self._grey, _grey(frame.image)
        look = self._is_look(frame) and not frame.flash
        points: dict[int, Points] = {}
        doubtful: list[_Follower[Kept]] = []
        if not look and not frame.flash and before is not None:
            for follower in self._live:
                placed = self._models.landmarker.landmarks(frame.image, follower.box, steady=True)
                if placed is None or not _same_points(before, self._grey, follower.landmarks, placed, frame.image):
                    doubtful.append(follower)
                else:
                    points[id(follower)] = placed
        lost: list[_Follower[Kept]] = []
        if look or doubtful:
            boxes = [] if frame.plain else self._models.detector.detect(frame.image)
            for follower in self._match(boxes):
                follower.misses += look
                if follower in doubtful or follower.misses > MAX_MISSES:
                    lost.append(follower)
            self._live = [each for each in self._live if each not in lost]
            self._start(boxes, frame)
            points.clear()
        for follower in list(self._live):
            if not self._follow(follower, frame, points.get(id(follower))):
                self._live.remove(follower)
                lost.append(follower)
        full = [each for each in self._live if each.followed == self._max_frames]
        for follower in full:  # goes on as another track
            successor: _Follower[Kept] = _Follower(follower.shot, frame.index + 1, follower.box)
            self._live[self._live.index(follower)] = successor
        return lost + full

    def _is_look(self, frame: ShotFrame) -> bool:
        if frame.number % self._detect_every == 0:
            return True
        return not self._live and frame.number < SEARCH_FRAMES and frame.number % SEARCH_EVERY == 0

    def _match(self, boxes: list[FaceBox]) -> list[_Follower[Kept]]:
        """Give each face the box that overlaps it most and take it off the list. Returns faces without one."""
        pairs = [
            (overlap(box, follower.box), i, j) for i, box in enumerate(boxes) for j, follower in enumerate(self._live)
        ]
        taken: dict[int, int] = {}  # follower → box
        for shared, i, j in sorted(pairs, reverse=True):
            if shared >= SAME_FACE_OVERLAP and j not in taken and i not in taken.values():
                taken[j] = i
                self._live[j].seen(boxes[i])
        unseen = [follower for j, follower in enumerate(self._live) if j not in taken]
        boxes[:] = [box for i, box in enumerate(boxes) if i not in taken.values()]
        return unseen

    def _start(self, boxes: Sequence[FaceBox], frame: ShotFrame) -> None:
        for box in boxes:
            if any(overlap(box, each.box) >= SAME_FACE_OVERLAP for each in self._live):
                continue
            if len(self._live) == MAX_FACES:
                self._crowd = True
                break
            if is_tilted(frame.image, box, self._models):
                self.tilted += 1
                continue
            follower: _Follower[Kept] = _Follower(frame.shot, frame.index, box)
            follower.seen(box)
            self._live.append(follower)
            self._found_one = True

    def _follow(self, follower: _Follower[Kept], frame: ShotFrame, points: Points | None) -> bool:
        """Take a face into this frame; return False where the landmarks are no longer those of a face."""
        if points is not None:
            follower.landmarks = points
        elif not frame.flash or follower.landmarks is None:
            follower.landmarks = self._models.landmarker.landmarks(frame.image, follower.box, steady=True)
        if follower.landmarks is None:
            return False
        follower.box = self._models.landmarker.box_of(follower.landmarks)
        follower.followed += 1
        follower.kept.extend(self._keep(each) for each in follower.aligner.push(frame.image, follower.landmarks))
        return True

    def _end_all(self) -> Iterator[Followed[Kept]]:
        live, self._live = self._live, []
        for follower in live:
            yield from self._tracks(follower, lost=follower.misses > 0)

    def _tracks(self, follower: _Follower[Kept], *, lost: bool) -> Iterator[Followed[Kept]]:
        follower.kept.extend(self._keep(each) for each in follower.aligner.flush())
        if follower.followed == self._max_frames:
            lost = False
        kept = follower.kept[: follower.certain] if lost else follower.kept
        if kept:
            detection = float(np.mean(follower.scores)) if follower.scores else 0.0
            yield Followed(follower.shot, follower.start, kept, detection)


def _grey(image: Image) -> NDArray[np.uint8]:
    scale = min(1.0, KLT_PX / max(image.shape[:2]))
    if scale < 1.0:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _same_points(
    before: NDArray[np.uint8], now: NDArray[np.uint8], old: Points | None, new: Points, image: Image
) -> bool:
    """Whether optical flow (KLT) carries the old landmarks to the new ones. Points in source pixels."""
    if old is None:
        return True
    scale = min(1.0, KLT_PX / max(image.shape[:2]))
    start = np.ascontiguousarray(old * scale, np.float32)[:, None]
    moved, there = _flow(before, now, start)
    back, again = _flow(now, before, moved)
    followed = there & again & (np.linalg.norm(back - start, axis=2).ravel() < KLT_BACK_PX)
    if followed.mean() < KLT_SHARE:
        return False
    apart = np.linalg.norm(moved[:, 0] - new * scale, axis=1)[followed]
    return float(np.median(apart)) < KLT_APART * float(np.ptp(new[:, 0]) * scale)


def _flow(
    before: NDArray[np.uint8], now: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where (N, 1, 2) points have moved to, and which of them were found."""
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, now, points, np.empty_like(points), winSize=(15, 15), maxLevel=2)
    return np.asarray(moved, np.float32), np.asarray(there).ravel().astype(bool)
