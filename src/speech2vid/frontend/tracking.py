"""Frames → one face followed through them → aligned faces: the one path of training and of use (Sect. 4).

HOG looks at every 12th frame; between, the landmarks of a frame say where the face of the next one is. Landmarks are
averaged over shifted boxes; the transforms come from nose and eyes smoothed in time without delay (Gaussian,
one frame).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, REGISTRATION_POINTS
from speech2vid.face.detector import box_of_landmarks, detect_boxes, find_landmarks
from speech2vid.face.registration import align, canonical_points, similarity
from speech2vid.records import Affine, AlignedFace, FaceBox, Image, Points

DETECT_EVERY = 12
SAME_FACE_OVERLAP = 0.3  # intersection over union of a detection with where the face was expected
SMOOTHING_FRAMES = 1.0  # standard deviation
REACH = 4  # frames on either side that smoothing looks at


@dataclass(frozen=True)
class TrackedFace:
    """A frame of a track: its number, the whole picture, landmarks in it (68, 2), and the aligned face."""

    index: int
    image: Image
    landmarks: Points
    aligned: AlignedFace


def follow(frames: Iterable[Image], start: FaceBox) -> Iterator[tuple[Image, Points]]:
    """Follow one face from the first frame on, until it is lost or the frames end.

    Args:
        frames: (H, W, 3) uint8 RGB, 25 a second.
        start: where the face is in the first frame.

    Yields:
        the frame and its landmarks (68, 2) in its pixels.
    """
    box = start
    for index, image in enumerate(frames):
        if index and index % DETECT_EVERY == 0:
            found = max(detect_boxes(image), key=lambda each: overlap(each, box), default=None)
            if found is None or overlap(found, box) < SAME_FACE_OVERLAP:
                return
            box = found
        landmarks = find_landmarks(image, box, steady=True)
        yield image, landmarks
        box = box_of_landmarks(landmarks)


def aligned_track(frames: Iterable[Image], start: FaceBox) -> Iterator[TrackedFace]:
    """Follow one face and align it. Arguments as :func:`follow`."""
    aligner = Aligner()
    for image, landmarks in follow(frames, start):
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
