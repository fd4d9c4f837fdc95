"""Frames in shots → every face followed through its shot, aligned at both sizes (Sect. 4).

HOG looks at every 12th frame, at a tenth of the cost of looking at all of them; between, landmarks say where the face
of the next frame is, and KLT says whether they still sit on the same face: where they do not, HOG looks at once. A face
that HOG misses is followed on for a while, and what was followed counts if HOG finds the face again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX
from speech2vid.data.pictures import CONTEXT_QUALITY, encode_picture
from speech2vid.data.records import FaceTrack, Reason
from speech2vid.data.shots import ShotFrame
from speech2vid.data.stage_clock import StageClock
from speech2vid.face.detector import box_of_landmarks, detect_boxes, find_landmarks
from speech2vid.face.registration import compose, context_from_face, warp
from speech2vid.frontend import Aligner, TrackedFace, sharpness
from speech2vid.frontend.tracking import DETECT_EVERY, SAME_FACE_OVERLAP, overlap
from speech2vid.records import FaceBox, Image, Points

MAX_TRACK_FRAMES = 1500  # a minute; longer tracks are cut there, which bounds memory
SEARCH_EVERY = 3  # frames, at the start of a shot without a face
SEARCH_FRAMES = 24  # so long; then every 12th
MAX_MISSES = 4  # looks in a row that HOG may miss a face: two seconds
MAX_FACES = 6  # at once, the largest; further ones are counted and left out
KLT_PX = 640  # longest side of the picture that KLT sees
KLT_BACK_PX = 1.5  # a point that does not come back this near when followed back is lost
KLT_SHARE = 0.4  # of the landmarks must be followed
KLT_APART = 0.12  # of the face's width: median distance between where KLT and the landmarks see the points


@dataclass(frozen=True)
class _Face:
    """A frame of a track without its source picture."""

    picture: bytes
    context: bytes
    landmarks: Points
    source_landmarks: Points
    transform: NDArray[np.float64]
    sharpness: float


@dataclass
class _Follower:
    """A face being followed."""

    shot: int
    start: int
    box: FaceBox
    landmarks: Points | None = None
    faces: list[_Face] = field(default_factory=list)
    aligner: Aligner = field(default_factory=Aligner)
    followed: int = 0  # frames
    certain: int = 0  # frames up to the last look at which HOG saw it
    misses: int = 0
    scores: list[float] = field(default_factory=list)

    def seen(self, box: FaceBox) -> None:
        self.box, self.certain, self.misses = box, self.followed + 1, 0
        self.scores.append(box.score)


class TrackFinder:
    """Finds the tracks of all faces in the frames of a video; holds a few frames and the tracks under way.

    Args:
        clock: is told what the stages take.

    Attributes:
        dropped: what was seen but not followed: shots without a face, faces of a crowd.
        shots: first frame of every shot so far.
    """

    def __init__(self, clock: StageClock) -> None:
        self.dropped: Counter[Reason] = Counter()
        self.shots: list[int] = []
        self._clock = clock
        self._live: list[_Follower] = []
        self._grey: NDArray[np.uint8] | None = None
        self._found_one = True  # a face in this shot
        self._crowd = False

    def find(self, frames: Iterable[ShotFrame]) -> Iterator[FaceTrack]:
        """Every track, when it ends."""
        for frame in frames:
            if frame.number == 0:
                yield from self._end_all()
                self._begin_shot(frame)
            with self._clock.during("faces"):
                ended = self._step(frame)
            for follower in ended:
                yield from self._tracks(follower, lost=True)
        yield from self._end_all()
        self._count_shot()

    def _begin_shot(self, frame: ShotFrame) -> None:
        if self.shots:
            self._count_shot()
        self.shots.append(frame.index)
        self._grey, self._found_one, self._crowd = None, False, False

    def _count_shot(self) -> None:
        if not self._found_one:
            self.dropped[Reason.NO_FACE] += 1
        if self._crowd:
            self.dropped[Reason.CROWD] += 1

    def _step(self, frame: ShotFrame) -> list[_Follower]:
        """Follow every face into this frame. Returns those that are lost."""
        before, self._grey = self._grey, _grey(frame.image)
        look = self._is_look(frame) and not frame.flash
        points: dict[int, Points] = {}
        doubtful: list[_Follower] = []
        if not look and not frame.flash and before is not None:
            for follower in self._live:
                points[id(follower)] = find_landmarks(frame.image, follower.box, steady=True)
                if not _same_points(before, self._grey, follower.landmarks, points[id(follower)], frame.image):
                    doubtful.append(follower)
        lost: list[_Follower] = []
        if look or doubtful:
            boxes = [] if frame.plain else detect_boxes(frame.image)
            for follower in self._match(boxes):
                follower.misses += look
                if follower in doubtful or follower.misses > MAX_MISSES:
                    lost.append(follower)
            self._live = [each for each in self._live if each not in lost]
            self._start(boxes, frame)
            points.clear()
        for follower in self._live:
            self._follow(follower, frame, points.get(id(follower)))
        full = [each for each in self._live if each.followed == MAX_TRACK_FRAMES]
        for follower in full:  # goes on as another track
            successor = _Follower(follower.shot, frame.index + 1, follower.box)
            self._live[self._live.index(follower)] = successor
        return lost + full

    def _is_look(self, frame: ShotFrame) -> bool:
        if frame.number % DETECT_EVERY == 0:
            return True
        return not self._live and frame.number < SEARCH_FRAMES and frame.number % SEARCH_EVERY == 0

    def _match(self, boxes: list[FaceBox]) -> list[_Follower]:
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
            follower = _Follower(frame.shot, frame.index, box)
            follower.seen(box)
            self._live.append(follower)
            self._found_one = True

    def _follow(self, follower: _Follower, frame: ShotFrame, points: Points | None) -> None:
        if points is not None:
            follower.landmarks = points
        elif not frame.flash or follower.landmarks is None:
            follower.landmarks = find_landmarks(frame.image, follower.box, steady=True)
        follower.box = box_of_landmarks(follower.landmarks)
        follower.followed += 1
        for tracked in follower.aligner.push(frame.image, follower.landmarks):
            self._keep(follower, tracked)

    def _keep(self, follower: _Follower, tracked: TrackedFace) -> None:
        aligned = tracked.aligned
        with self._clock.during("registration"):
            context = warp(tracked.image, compose(context_from_face(), aligned.transform), CONTEXT_FACE_PX)
            face = _Face(
                encode_picture(aligned.image),
                encode_picture(context, CONTEXT_QUALITY),
                aligned.landmarks,
                tracked.landmarks,
                aligned.transform,
                sharpness(aligned.image),
            )
        follower.faces.append(face)

    def _end_all(self) -> Iterator[FaceTrack]:
        live, self._live = self._live, []
        for follower in live:
            yield from self._tracks(follower, lost=follower.misses > 0)

    def _tracks(self, follower: _Follower, *, lost: bool) -> Iterator[FaceTrack]:
        for tracked in follower.aligner.flush():
            self._keep(follower, tracked)
        if follower.followed == MAX_TRACK_FRAMES:
            lost = False
        faces = follower.faces[: follower.certain] if lost else follower.faces
        if faces:
            yield FaceTrack(
                follower.start,
                [face.picture for face in faces],
                np.stack([face.landmarks for face in faces]),
                np.stack([face.source_landmarks for face in faces]),
                np.stack([face.transform for face in faces]),
                float(np.mean([face.sharpness for face in faces])),
                [face.context for face in faces],
                follower.shot,
                float(np.mean(follower.scores)) if follower.scores else 0.0,
            )


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
