"""Does the mouth fit the audio, as the sync network sees it: retrieval (Sect. 5), confidence, distance, offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speech2vid.data.records import Track
from speech2vid.faces.mouth_crops import mouth_crops
from speech2vid.faces.sync import (
    CONTEXT_FRAMES,
    LEAST_PAIRS,
    MAX_OFFSET_FRAMES,
    OFFSETS,
    SyncNetworks,
    similarities,
    window_means,
)
from speech2vid.types import Floats, Frames, Points

CORRECT_WITHIN = 1  # frames
CHANCE = (2 * CORRECT_WITHIN + 1) / (2 * MAX_OFFSET_FRAMES + 1)  # 3/31


@dataclass(frozen=True)
class Matching:
    """How images fit a recording.

    Attributes:
        correct: windows of 25 frames whose best offset is 0 ± 1.
        windows: how many there are.
        curve: (31,) mean similarity at offsets −15 … 15.
        distances: (31,) mean Euclidean distance of the vectors at these offsets.
    """

    correct: int
    windows: int
    curve: Floats
    distances: Floats

    @property
    def values(self) -> dict[str, float]:
        """Metric → value; ``sync_distance`` and ``sync_confidence`` are SyncNet's (Sect. 7), of this network."""
        best = int(self.curve.argmax())
        return {
            "retrieval_accuracy": self.correct / self.windows,
            "retrieval_correct": float(self.correct),
            "retrieval_windows": float(self.windows),
            "sync_confidence": float(self.curve.max() - np.median(self.curve)),
            "sync_distance": float(self.distances[best]),
            "sync_offset_frames": float(abs(OFFSETS[best])),
        }


def audio_vectors(track: Track, networks: SyncNetworks) -> Floats:
    """Vectors of a track's audio, with what is heard before and after its frames: (N, E)."""
    return networks.audio([track.audio_with_context])


def match(
    frames: Frames, landmarks: Points, audio: Floats, lead_frames: int, networks: SyncNetworks
) -> Matching | None:
    """Hold (T, 112, 112, 3) frames with their landmarks (T, 68, 2) against a recording.

    Args:
        audio: of :func:`audio_vectors`.
        lead_frames: frames' worth of audio before the first frame.

    Returns:
        None where the clip is too short to be compared at every offset.
    """
    values = similarities(networks.video(mouth_crops(frames), landmarks), audio, lead_frames)
    starts, means = window_means(values)
    counts = (~np.isnan(values)).sum(axis=0)
    if not len(starts) or counts.min() < LEAST_PAIRS * CONTEXT_FRAMES:
        return None
    found = OFFSETS[means.argmax(axis=1)]
    with np.errstate(invalid="ignore"):  # not a number stays so
        distances = np.sqrt(np.maximum(2 - 2 * values, 0))
    correct = int((np.abs(found) <= CORRECT_WITHIN).sum())
    curve = np.nanmean(values, axis=0).astype(np.float32)
    return Matching(correct, len(starts), curve, np.nanmean(distances, axis=0).astype(np.float32))
