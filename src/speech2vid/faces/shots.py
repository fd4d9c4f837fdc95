"""Where a programme cuts from one camera to another (Sect. 4: difference of colour histograms).

PySceneDetect's histogram detector compares luma histograms of whole frames: two presenters in one studio are then
closer to each other (0.10) than its threshold (0.20) allows. Here a frame is four colour histograms, one a quarter of
the image: within a shot frames differ by at most 0.09, across cuts between people by at least 0.26 (measured on the
clips and joints named in the lab notes). Flashes and fades differ as much as cuts do, so two more questions are asked:
is the old image back within three frames, and is it the same image under another light?
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.types import Image

CUT = 0.18  # difference of two frames, 0–1
FLASH_FRAMES = 3  # the old image is back after at most so many
SAME_FRAME = 0.95  # correlation of two images that differ by light alone
PLAIN = 3.0  # grey levels: an image with less contrast shows nothing
BINS = 16  # of each colour
LOOK_PX = 96  # longest side of the image that is looked at
THUMBNAIL_PX = 24


@dataclass(frozen=True)
class ShotFrame:
    """A frame of a shot.

    Attributes:
        index: on the video's grid.
        shot: number of the shot, from 0.
        number: of the frame within the shot, from 0.
        image: (H, W, 3) uint8 RGB.
        flash: it shows a flash or a damaged image within the shot.
        plain: one colour all over: nothing to look for.
    """

    index: int
    shot: int
    number: int
    image: Image
    flash: bool = False
    plain: bool = False


@dataclass(frozen=True)
class Look:
    """What a frame looks like: a small copy, (4, 4096) histograms that add up to 1 each, (24, 24) grey levels."""

    small: Image
    histograms: NDArray[np.float32]
    thumbnail: NDArray[np.float32]

    @classmethod
    def of(cls, image: Image, before: Look | None = None) -> Look:
        """Of an image (H, W, 3) uint8 RGB; quick where it looks exactly as ``before``: slides, black."""
        height, width = image.shape[:2]
        scale = LOOK_PX / max(height, width)
        size = max(8, round(width * scale)), max(8, round(height * scale))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        if before is not None and np.array_equal(small, before.small):
            return before
        quarters = [part for half in np.array_split(small, 2, axis=0) for part in np.array_split(half, 2, axis=1)]
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        thumbnail = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        return cls(small, np.stack([_histogram(part) for part in quarters]), thumbnail.astype(np.float32))

    @property
    def plain(self) -> bool:
        """One colour all over."""
        return float(self.thumbnail.std()) < PLAIN

    def difference(self, other: Look) -> float:
        """0 the same colours in every quarter, 1 none in common."""
        return float(np.abs(self.histograms - other.histograms).sum() / 2 / len(self.histograms))

    def likeness(self, other: Look) -> float:
        """Correlation of the grey levels, -1–1, whatever the light; 0 where one image shows nothing."""
        a, b = self.thumbnail - self.thumbnail.mean(), other.thumbnail - other.thumbnail.mean()
        if min(a.std(), b.std()) < PLAIN:
            return 0.0
        return float((a * b).mean() / (a.std() * b.std()))

    def is_cut_from(self, other: Look) -> bool:
        """Whether these are two different images, and not one under two lights."""
        return self.difference(other) > CUT and self.likeness(other) < SAME_FRAME


def _histogram(part: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour histogram, each bin blurred into its neighbours: noise at the edge of a bin moves little."""
    counts = cv2.calcHist([np.ascontiguousarray(part)], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if each == axis else (0, 0) for each in range(3)], mode="edge")
        below, here, above = (np.moveaxis(padded, axis, 0)[first : first + BINS] for first in range(3))
        counts = np.moveaxis(0.25 * below + 0.5 * here + 0.25 * above, 0, axis)
    return np.asarray(counts.ravel() / counts.sum(), np.float32)


def split_shots(images: Iterable[Image]) -> Iterator[ShotFrame]:
    """Number the shots of a video; streams, three frames late.

    Args:
        images: (H, W, 3) uint8 RGB, all of one size, at any rate.

    Dissolves are not found: their frames belong to the shot before.
    """
    waiting: deque[tuple[int, Image, Look]] = deque()
    shot, number = 0, 0
    before: Look | None = None  # the last frame that was no flash

    def placed() -> ShotFrame:
        nonlocal shot, number, before
        index, image, look = waiting.popleft()
        flash = False
        if before is not None and look.is_cut_from(before):
            flash = any(not later.is_cut_from(before) for _, _, later in list(waiting)[:FLASH_FRAMES])
            if not flash:
                shot, number = shot + 1, 0
        if not flash:
            before = look
        number += 1
        return ShotFrame(index, shot, number - 1, image, flash, look.plain)

    latest: Look | None = None
    for index, image in enumerate(images):
        latest = Look.of(image, latest)
        waiting.append((index, image, latest))
        if len(waiting) > FLASH_FRAMES:
            yield placed()
    while waiting:
        yield placed()
