"""Head motion in the report: measured like that of filmed people, a still without any."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.evaluation.motion_metrics import METRICS, motion_lines, motion_table
from speech2vid.faces.align import canonical_points
from speech2vid.inference.head.samplers import MotionNetwork
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import weight_set


def track(speaker: str, frames: int, sway_px: float) -> Any:
    """Return a track whose face sways to the left and right, with noise for audio."""
    sway = sway_px * np.sin(np.arange(frames) / 6)
    landmarks = 200 + 2 * np.repeat(canonical_points()[None], frames, axis=0)
    landmarks[..., 0] += sway[:, None]
    noise = 0.1 * np.random.default_rng(0).standard_normal(frames * SAMPLES_PER_FRAME).astype(np.float32)
    return Track(SimpleNamespace(speaker=speaker), landmarks.astype(np.float32), noise)


class Track:
    def __init__(self, record: Any, source_landmarks: np.ndarray, waveform: np.ndarray) -> None:
        self.record, self.source_landmarks, self.waveform = record, source_landmarks, waveform

    def __len__(self) -> int:
        return len(self.source_landmarks)


@pytest.fixture(scope="module")
def network() -> MotionNetwork:
    return MotionNetwork(weight_set(None), graph_loader("cpu", 1))


def test_filmed_and_drawn_motion_stand_side_by_side(network: MotionNetwork) -> None:
    table = motion_table([track("a", 250, 8.0), track("b", 250, 2.0), track("c", 20, 2.0)], network)
    assert list(table) == ["filmed", "natural", "subtle", "still"]
    assert table["filmed"]["shift_cm"]["low"] < table["filmed"]["shift_cm"]["high"]
    assert table["still"]["range_deg"]["value"] == 0
    assert table["subtle"]["range_deg"]["value"] < table["natural"]["range_deg"]["value"]
    lines = motion_lines(table)
    assert [len(line) for line in lines] == [1 + len(METRICS)] * 5
    assert lines[4][0] == "still"
    assert lines[4][2] == "–"  # no blinks, no length of a blink


def test_short_clips_have_no_head_motion(network: MotionNetwork) -> None:
    assert motion_table([track("a", 30, 8.0)], network) == {}
