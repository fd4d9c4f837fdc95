"""Aligned faces that stay in the store; those asked for are read and decoded: no store is too large to train on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX
from speech2vid.data.jpeg import split_jpegs
from speech2vid.data.records import Track
from speech2vid.data.shards import FACES, PREPARE_AGAIN, Members, Places, track_of
from speech2vid.errors import DataError
from speech2vid.types import Frames


class StoredFaces:
    """(T, 112, 112, 3) uint8 RGB to read from: by number, slice, or array of numbers; the answer is an array.

    Any number of threads may read, in any order.

    Args:
        path: of the tar file.
        starts, sizes: (T,) where each JPEG begins, and its bytes.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        self.path, self._starts, self._sizes = path, starts, sizes
        self.shape = (len(starts), FACE_PX, FACE_PX, 3)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int | slice | NDArray[np.integer] | NDArray[np.bool_]) -> Frames:
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            return self._face(int(chosen))
        flat = [self._face(int(number)) for number in chosen.ravel()]
        return np.asarray(flat, np.uint8).reshape(*chosen.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self._face(number) for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _face(self, number: int) -> NDArray[np.uint8]:
        size = int(self._sizes[number])
        try:
            data = os.pread(_opened(self.path), size, int(self._starts[number]))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}", PREPARE_AGAIN) from error
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if len(data) == size else None
        if image is None or image.shape != self.shape[1:]:
            raise DataError(f"{self.path} is damaged: face {number} of a track is not an image", PREPARE_AGAIN)
        return np.asarray(image, np.uint8)


def stored_track(path: Path, members: Members, places: Places) -> Track:
    """A sample whose faces stay in its tar file. DataError where a member is missing or damaged."""
    track = track_of(members, jpegs=False)
    sizes = np.array([len(jpeg) for jpeg in split_jpegs(members[FACES])], np.int64)
    if len(sizes) != track.record.frames:
        raise DataError(
            f"sample {track.record.key} is damaged: {len(sizes)} images instead of {track.record.frames}",
            PREPARE_AGAIN,
        )
    starts = places[FACES] + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return replace(track, frames=cast(Frames, StoredFaces(path, starts, sizes)))


@cache
def _opened(path: Path) -> int:
    """A file stays open for the whole training: any batch may need it."""
    return os.open(path, os.O_RDONLY)
