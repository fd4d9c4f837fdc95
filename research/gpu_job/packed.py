"""The packed training data: the folder that ``pack`` writes and ``run`` reads.

Faces are H.264 videos, which OpenCV decodes. MFCC rows, mouth keypoints and mouth motion are whole numbers in units of
a step, stored as differences in time and compressed with LZMA. The kernels of the face-recognition network are 8-bit.
``index.json`` has the tracks, the steps and the statistics. Reading needs NumPy, OpenCV and safetensors only.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from speech2vid.constants import FACE_PX, MFCC_PER_FRAME, MOUTH_COUNT, WINDOW_COEFFICIENTS, WINDOW_STEPS
from speech2vid.errors import DataError
from speech2vid.models.dlib_file import Layer
from speech2vid.types import Frames, Points

FORMAT = 1
INDEX, MFCC, MOUTHS, MOTION = "index.json", "mfcc.xz", "mouths.xz", "motion.xz"
FACE_NETWORK = "face_network.safetensors"
MOUTH_STEP_PX = 1 / 8
MOTION_STEP = 1 / 16  # of the standard deviation of a component
MFCC_STEP = 1 / 10  # of the standard deviation of a coefficient
EXTRA_ROWS = WINDOW_STEPS - MFCC_PER_FRAME  # MFCC rows of a track beyond four a frame

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PackedTrack:
    """A track: its frames follow those of the track before it in every array."""

    key: str
    speaker: str
    split: str
    frames: int


@dataclass(frozen=True)
class Split:
    """The tracks of a split, all of a speaker's one after the other.

    Attributes:
        tracks: in the order of the arrays.
        faces: (N, 112, 112, 3) uint8 RGB.
        mfcc: (4 N + 31 K, 12) float32 of K tracks: the 35 rows of frame n of track k begin at row 4 n + 31 k.
        mouths: (N, 20, 2) float32, px of the 112 px face.
        motion: (N, C) float32, the teacher's mouth motion in principal components of unit variance.
    """

    tracks: Sequence[PackedTrack]
    faces: Frames
    mfcc: Floats
    mouths: Points
    motion: Floats


def compress(numbers: NDArray[np.int16]) -> bytes:
    """Compress (n, c) int16, each column as differences in time. Differences wrap around: every value is exact."""
    change = np.diff(numbers, axis=0, prepend=np.zeros_like(numbers[:1]))
    unsigned = ((change << 1) ^ (change >> 15)).view(np.uint16).T  # 0, −1, 1, −2 … → 0, 1, 2, 3 …
    return lzma.compress(np.stack([unsigned >> 8, unsigned & 255]).astype(np.uint8).tobytes(), preset=6)


def decompress(blob: bytes, columns: int) -> NDArray[np.int16]:
    """Return the (n, columns) int16 that :func:`compress` was given."""
    high, low = np.frombuffer(lzma.decompress(blob), np.uint8).reshape(2, columns, -1).astype(np.uint16)
    unsigned = (high << 8) | low
    change = ((unsigned >> 1) ^ -(unsigned & 1)).view(np.int16)
    return np.cumsum(change.T, axis=0, dtype=np.int16)


def in_steps(values: Floats, step: float | Floats) -> NDArray[np.int16]:
    """Round values to whole multiples of ``step``, at most ±32,767 of them."""
    return np.clip(np.rint(values / step), -32767, 32767).astype(np.int16)


def mfcc_rows(windows: Floats) -> Floats:
    """The rows that the windows of a track (T, 1, 12, 35) are cut from: (4 T + 31, 12)."""
    later = windows[1:, 0, :, -MFCC_PER_FRAME:].transpose(0, 2, 1).reshape(-1, WINDOW_COEFFICIENTS)
    return np.concatenate([windows[0, 0].T, later])


def read_index(folder: Path) -> dict[str, Any]:
    """Read ``index.json``. DataError: missing, or of another format."""
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder} holds no packed training data", "make it with `make gpu-job`") from error
    if index.get("format") != FORMAT:
        raise DataError(f"{folder} has format {index.get('format')}, not {FORMAT}", "pack the store again")
    return index


def read_splits(folder: Path, names: Sequence[str], threads: int = 16) -> tuple[dict[str, Any], dict[str, Split]]:
    """Read everything into memory: the index, and split → its tracks; videos are decoded on ``threads`` threads.

    Raises:
        DataError: no packed data, or a video lacks frames.
    """
    index = read_index(folder)
    tracks = [PackedTrack(*row) for row in index["tracks"]]
    total = sum(track.frames for track in tracks)
    faces = np.empty((total, FACE_PX, FACE_PX, 3), np.uint8)
    ends = np.cumsum([frames for _, frames in index["videos"]])
    spans = zip(index["videos"], ends, strict=True)
    parts = [(folder / name, faces[end - frames : end]) for (name, frames), end in spans]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: decode(*part), parts))

    def numbers(name: str, columns: int) -> Floats:
        return decompress((folder / name).read_bytes(), columns).astype(np.float32)

    mfcc = numbers(MFCC, WINDOW_COEFFICIENTS) * np.array(index["mfcc"]["step"], np.float32)
    mouths = numbers(MOUTHS, 2 * MOUTH_COUNT).reshape(-1, MOUTH_COUNT, 2) * np.float32(MOUTH_STEP_PX)
    motion = numbers(MOTION, len(index["motion"]["opening"])) * np.float32(MOTION_STEP)
    splits, frame, row = {}, 0, 0
    for name in names:  # splits follow each other in the arrays
        own = [track for track in tracks if track.split == name]
        frames = sum(track.frames for track in own)
        rows = MFCC_PER_FRAME * frames + EXTRA_ROWS * len(own)
        span = slice(frame, frame + frames)
        splits[name] = Split(own, faces[span], mfcc[row : row + rows], mouths[span], motion[span])
        frame, row = frame + frames, row + rows
    return index, splits


def decode(path: Path, faces: Frames) -> None:
    """Decode a video into (n, 112, 112, 3) uint8 RGB. DataError unless it has exactly n frames."""
    video = cv2.VideoCapture(str(path))
    count = 0
    while True:
        read, image = video.read()
        if not read:
            break
        if count < len(faces):
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=faces[count])
        count += 1
    video.release()
    if count != len(faces):
        raise DataError(
            f"{path} has {count} frames instead of {len(faces)}",
            "copy the folder again; if that does not help, this OpenCV cannot decode H.264",
        )


def write_face_network(path: Path, colours: Floats, layers: Sequence[Layer]) -> None:
    """Store the layers of the face-recognition network, kernels as 8-bit numbers with a scale for each output."""
    tensors: dict[str, NDArray[Any]] = {"colours": colours}
    facts = []
    for number, layer in enumerate(layers):
        facts.append([layer.kind, layer.window, layer.stride, layer.padding])
        for name, values in layer.tensors.items():
            if values.ndim > 1:
                axes = tuple(range(1, values.ndim))
                scale = np.abs(values).max(axis=axes, keepdims=True) / 127 + 1e-12
                tensors[f"{number}.{name}.scale"] = scale.astype(np.float32)
                values = np.rint(values / scale).astype(np.int8)
            tensors[f"{number}.{name}"] = np.ascontiguousarray(values)
    save_file(tensors, path, {"layers": json.dumps(facts)})


def read_face_network(path: Path) -> tuple[Floats, list[Layer]]:
    """Return colours and layers, as :func:`speech2vid.models.dlib_file.read_layers` does."""
    tensors: Mapping[str, NDArray[Any]] = load_file(path)
    blob = path.read_bytes()
    length = int.from_bytes(blob[:8], "little")
    facts = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["layers"])
    layers = []
    for number, (kind, window, stride, padding) in enumerate(facts):
        own = {}
        for name in ("weight", "bias"):
            if f"{number}.{name}" in tensors:
                scale = tensors.get(f"{number}.{name}.scale", np.float32(1))
                own[name] = (tensors[f"{number}.{name}"] * scale).astype(np.float32)
        layers.append(Layer(kind, own, tuple(window), tuple(stride), tuple(padding)))
    return tensors["colours"], layers
