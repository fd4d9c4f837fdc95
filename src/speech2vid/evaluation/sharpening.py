"""The sharpening network behind any generator (Sect. 3.3), on either engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import TARGET_OFFSET_PX, TARGET_PX
from speech2vid.data.records import Track
from speech2vid.evaluation.generation import Generator, Speaker, framed
from speech2vid.faces import Still
from speech2vid.runtime.onnx import OnnxNetwork
from speech2vid.types import FaceBox, Floats, Frames

BATCH = 8  # frames computed at once
REACH_PX = 10  # from each pixel, of ten 3×3 convolutions
Sharpen = Callable[[Floats], Floats]  # (N, 3, 109, 109) RGB in [0, 1] → the same, sharper
_TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)


def onnx_sharpener(weights: Path, threads: int = 0) -> Sharpen:
    """From a weight file with its graph next to it. WeightsError where one is missing or damaged."""
    network = OnnxNetwork(weights.with_name(f"{weights.stem}.sharpen.onnx"), weights, threads)
    return lambda faces: np.asarray(network({"frames": faces})["sharpened"], np.float32)


def torch_sharpener(weights: Path) -> Sharpen:
    """From a weight file alone. WeightsError where it is missing, damaged or of another network."""
    import torch

    from speech2vid.models.sharpener import Sharpener
    from speech2vid.runtime.torch import load

    network, _ = load(weights, Sharpener)

    def sharpen(faces: Floats) -> Floats:
        with torch.no_grad():
            return np.asarray(network(torch.from_numpy(faces)).clamp(0, 1).numpy(), np.float32)

    return sharpen


class SharpenedGenerator:
    """Another generator's frames, sharpened; the border around the 109 px target is repeated from its edge."""

    def __init__(self, generator: Generator, sharpen: Sharpen) -> None:
        self.name = f"{generator.name}, sharpened"
        self._generator, self._sharpen = generator, sharpen

    def speaker(self, stills: Sequence[Still]) -> SharpenedSpeaker:
        return SharpenedSpeaker(self._generator.speaker(stills), self._sharpen)


class SharpenedSpeaker:
    """See :class:`speech2vid.evaluation.generation.Speaker`. Other audio is not tried: sharpening costs too much."""

    for_chance = False

    def __init__(self, speaker: Speaker, sharpen: Sharpen) -> None:
        self.stills = speaker.stills
        self._speaker, self._sharpen = speaker, sharpen

    def says(self, track: Track, frames: int | None = None) -> Frames:
        return sharpened(self._speaker.says(track, frames), self._sharpen)

    def says_nothing(self, frames: int) -> Frames:
        return sharpened(self._speaker.says_nothing(frames), self._sharpen)


def sharpened(frames: Frames, sharpen: Sharpen) -> Frames:
    """(T, 112, 112, 3) uint8 RGB, sharpened: the exact way, all of the face."""
    faces = frames[:, _TARGET, _TARGET].transpose(0, 3, 1, 2)
    blocks = [faces[i : i + BATCH].astype(np.float32) / 255 for i in range(0, len(faces), BATCH)]
    return np.concatenate([framed(sharpen(np.ascontiguousarray(block))) for block in blocks])


def sharpened_part(frames: Frames, box: FaceBox, sharpen: Sharpen) -> Frames:
    """The cheap way: one part of the face is sharpened, as the exact way does it there; the rest stays as it is.

    The network sees ``REACH_PX`` more on each side, so that inside the box nothing differs from :func:`sharpened`.

    Args:
        frames: (T, 112, 112, 3) uint8 RGB.
        box: the part, the same in all frames, px; what lies beyond the 109 px target is left out.
    """
    low, high = _TARGET.start, _TARGET.stop
    left, right = (min(max(round(edge), low), high) for edge in (box.left, box.right))
    top, bottom = (min(max(round(edge), low), high) for edge in (box.top, box.bottom))
    rows = slice(max(low, top - REACH_PX), min(high, bottom + REACH_PX))
    columns = slice(max(low, left - REACH_PX), min(high, right + REACH_PX))
    inner = np.s_[:, :, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
    generated = frames.copy()
    seen = frames[:, rows, columns].transpose(0, 3, 1, 2)
    for first in range(0, len(frames), BATCH):
        block = np.ascontiguousarray(seen[first : first + BATCH], np.float32) / np.float32(255)
        part = np.rint(sharpen(block)[inner] * 255).clip(0, 255).astype(np.uint8)
        generated[first : first + BATCH, top:bottom, left:right] = part.transpose(0, 2, 3, 1)
    return generated


def mouth_part(boxes: NDArray[np.int64]) -> FaceBox:
    """The box around the mouths of all frames: (T, 4) of :func:`speech2vid.evaluation.mouth_metrics.mouth_boxes`."""
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return FaceBox(left, top, right, bottom)
