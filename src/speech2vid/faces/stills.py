"""Photos and videos → stills: images with one aligned face each, the talker's identity (Sect. 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, IDENTITY_PERCENTILES
from speech2vid.errors import FaceError
from speech2vid.faces.align import align
from speech2vid.faces.choose_face import LOOK, choose_face
from speech2vid.faces.face_models import PAPER, FaceModels
from speech2vid.faces.face_quality import lip_opening, sharpness, turn
from speech2vid.faces.track import DETECT_EVERY, TrackedFace, aligned_track
from speech2vid.faces.upright import require_upright
from speech2vid.geometry import invert, transform_points
from speech2vid.media import AnyFile, AnyPhoto, MediaFile, VideoReader, load_photo, source_of
from speech2vid.types import Affine, AlignedFace, Image

VIDEO_SECONDS = 20  # of the face are looked at
CANDIDATES = 24  # frames kept at once
MARGIN = 0.15  # of the aligned face's side, kept round a candidate
TURN_COST, BLUR_COST = 8.0, 4.0  # in pixels of lip opening


@dataclass(frozen=True)
class Still:
    """An image of the person.

    Attributes:
        image: (H, W, 3) uint8 RGB: the photo, or the part of a video frame round the face.
        aligned: the face; its transform maps pixels of ``image``.
        opening: lip opening, px of the aligned face.
        cost: how unfit the still is apart from its lips: turned, blurred.
    """

    image: Image
    aligned: AlignedFace
    opening: float
    cost: float

    @property
    def transform(self) -> Affine:
        return self.aligned.transform


def still_of_photo(
    source: AnyPhoto, *, face_index: int | None = None, max_size_px: int | None = None, models: FaceModels = PAPER
) -> Still:
    """Read a photo and align its face.

    Args:
        source: the photo, as :func:`speech2vid.media.load_photo` takes it.
        face_index: as :func:`speech2vid.faces.choose_face.choose_face`.
        max_size_px: a photo whose longer side is longer is made smaller first (area average).
        models: detector and landmarker.

    Raises:
        MediaError, FaceError.
    """
    path = source_of(source, "face")
    image = _at_most(load_photo(path), max_size_px)
    face = choose_face(image, path, face_index, models)
    return _still(image, align(image, face.landmarks))


def stills_of_video(
    source: AnyFile | MediaFile,
    *,
    face_index: int | None = None,
    max_size_px: int | None = None,
    models: FaceModels = PAPER,
) -> tuple[Still, list[Still]]:
    """Choose stills from a video in one pass, in bounded memory.

    Arguments as :func:`still_of_photo`. The longest stretch in which one face can be followed counts, up to 20 s of it;
    ``face_index`` counts in the first frame that shows a face.

    Returns:
        the whole frame that serves best as the image to animate (closed mouth, frontal, sharp), and five stills at
        the 10/30/50/70/90th percentile of lip opening, ascending. The first of them is that frame.

    Raises:
        MediaError, FaceError.
    """
    best: _Candidates | None = None
    with VideoReader(source, FRAME_RATE_HZ) as reader:
        path = reader.file.path
        frames = (_at_most(frame.image, max_size_px) for frame in reader)
        while best is None or best.seen < VIDEO_SECONDS * FRAME_RATE_HZ:
            first = _first_with_face(frames, models)
            if first is None:
                break
            try:
                face = choose_face(first, path, face_index, models)
                require_upright(face, path, models)
            except FaceError:
                if best is None:
                    raise
                continue  # after a cut: somebody else's shot
            candidates = _Candidates()
            followed = aligned_track(chain([first], frames), face.box, models)
            for tracked in islice(followed, VIDEO_SECONDS * FRAME_RATE_HZ):
                candidates.add(tracked)
            if best is None or candidates.seen > best.seen:
                best = candidates
    if best is None:
        raise FaceError(f"no frontal face was found in {reader.file.path}", LOOK)
    return best.choose()


def _at_most(image: Image, max_size_px: int | None) -> Image:
    """The image, made smaller (area average) if its longer side is longer."""
    factor = (max_size_px or max(image.shape)) / max(image.shape)
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _first_with_face(frames: Iterator[Image], models: FaceModels) -> Image | None:
    for index, image in enumerate(frames):
        if index % DETECT_EVERY == 0 and models.find(image):
            return image
    return None


class _Candidates:
    """Keeps a few frames of a track that are spread over the lip openings seen, each the best of its neighbourhood."""

    def __init__(self) -> None:
        self.seen = 0
        self._openings: list[float] = []
        self._kept: list[Still] = []
        self._canvas: Still | None = None

    def add(self, tracked: TrackedFace) -> None:
        self.seen += 1
        still = _still(tracked.image, tracked.aligned)
        self._openings.append(still.opening)
        if self._canvas is None or still.opening + still.cost < self._canvas.opening + self._canvas.cost:
            self._canvas = Still(still.image.copy(), still.aligned, still.opening, still.cost)
        self._kept.append(_cropped(still))
        if len(self._kept) > CANDIDATES:
            self._kept.sort(key=lambda each: each.opening)
            gaps = np.diff([each.opening for each in self._kept])
            i = int(np.argmin(gaps))
            worse = i if self._kept[i].cost > self._kept[i + 1].cost else i + 1
            self._kept.pop(worse)

    def choose(self) -> tuple[Still, list[Still]]:
        assert self._canvas is not None
        wanted = np.percentile(self._openings, IDENTITY_PERCENTILES)
        chosen = [min(self._kept, key=lambda s: abs(s.opening - opening) + 0.25 * s.cost) for opening in wanted[1:]]
        return self._canvas, [self._canvas, *sorted(chosen, key=lambda s: s.opening)]


def _still(image: Image, aligned: AlignedFace) -> Still:
    cost = TURN_COST * turn(aligned.landmarks) + BLUR_COST * max(0.0, 1.0 - sharpness(aligned.image))
    return Still(image, aligned, float(lip_opening(aligned.landmarks)), cost)


def _cropped(still: Still) -> Still:
    """The still cut down to its aligned face and a margin: whole video frames would fill the memory."""
    reach = MARGIN * FACE_PX
    corners = np.array([[x, y] for x in (-reach, FACE_PX + reach) for y in (-reach, FACE_PX + reach)])
    points = transform_points(invert(still.transform), corners)
    height, width = still.image.shape[:2]
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.maximum(np.ceil(points.max(axis=0)).astype(int), (left + 1, top + 1))
    image = still.image[top:bottom, left:right].copy()
    return Still(image, moved(still.aligned, left, top), still.opening, still.cost)


def moved(aligned: AlignedFace, left: float, top: float) -> AlignedFace:
    """The same face when (left, top) of its source image becomes the origin."""
    shift: NDArray[np.float64] = aligned.transform[:, :2] @ np.array([left, top], np.float64)
    transform = np.column_stack([aligned.transform[:, :2], aligned.transform[:, 2] + shift])
    return AlignedFace(aligned.image, aligned.landmarks, transform)
