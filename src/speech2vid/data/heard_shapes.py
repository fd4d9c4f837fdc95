"""A sync meter without a network of its own: the mouth shapes that are heard, beside those that are seen.

The voice network of ``talk`` says which shape a mouth takes to a sound. Its movements and those of the tracked lips,
each less its running mean over 0.7 s, are correlated at every offset.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.logmel import SILENT_ROW, predictor_rows
from speech2vid.constants import MFCC_PER_FRAME, MOUTH_POINTS, SAMPLES_PER_FRAME, exact_div
from speech2vid.data.speaking import MAX_OFFSET_FRAMES, OFFSETS, Floats
from speech2vid.engine.onnx import OnnxNetwork
from speech2vid.records import Frames, Points, Waveform

REACH_FRAMES = 8  # of the running mean


class HeardShapes:
    """See the module and :class:`speech2vid.data.speaking.SyncMeter`.

    Args:
        folder: holds the voice network's weights and graph; None for those of the package.

    Raises:
        WeightsError: they are missing or damaged.
    """

    sure = 0.7
    margin = 0.08
    least = 0.0

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or Path(str(resources.files("speech2vid") / "weights"))
        self._voice = OnnxNetwork(folder / "voice.shapes.onnx", folder / "voice.safetensors", threads=1)
        self.name = f"heard-shapes-{self._voice.header.sha256[:8]}"
        self._window = int(self._voice.header.config["window_rows"])

    def __call__(self, faces: Frames, landmarks: Points, sound: Waveform, lead_frames: int) -> Floats:
        """Fits of a track, (T, 31): products whose mean over frames is a correlation."""
        lips = landmarks[:, MOUTH_POINTS].astype(np.float64)
        seen = _movement(lips - lips.mean(axis=1, keepdims=True))
        heard = _movement(self._shapes(sound))
        fits = np.full((len(seen), len(OFFSETS)), np.nan, np.float32)
        for offset in OFFSETS:
            frame = lead_frames + np.arange(len(seen)) + offset
            there = (frame >= 0) & (frame < len(heard))
            fits[there, offset + MAX_OFFSET_FRAMES] = (seen[there] * heard[frame[there]]).sum(axis=(1, 2))
        return fits

    def _shapes(self, sound: Waveform) -> Floats:
        """Movement of the lips that is heard, (N, 20, 2) a frame."""
        frames = len(sound) // SAMPLES_PER_FRAME
        before = np.repeat(SILENT_ROW[None], self._window // 2 - exact_div(MFCC_PER_FRAME, 2), axis=0)
        after = np.repeat(SILENT_ROW[None], self._window, axis=0)
        rows = np.concatenate([before, predictor_rows(sound), after])[: (frames - 1) * MFCC_PER_FRAME + self._window]
        return np.asarray(self._voice({"logmel": rows[None]})["deltas"][0], np.float32)


def _movement(shapes: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, 20, 2) less its running mean, of mean square 1 a frame; zeros where nothing moves."""
    width = 2 * REACH_FRAMES + 1
    padded = np.pad(shapes, [(REACH_FRAMES, REACH_FRAMES), (0, 0), (0, 0)], mode="edge").astype(np.float64)
    sums = np.concatenate([np.zeros_like(padded[:1]), np.cumsum(padded, axis=0)])
    moved = shapes - (sums[width:] - sums[:-width]) / width
    return np.asarray(moved / max(1e-6, float(np.sqrt((moved**2).sum(axis=(1, 2)).mean()))))
