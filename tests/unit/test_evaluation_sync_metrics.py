"""Retrieval, sync confidence and distance: right where the vectors are known, at chance where nothing fits."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.constants import FACE_PX
from speech2vid.evaluation.sync_metrics import CHANCE, match
from speech2vid.faces.sync import SyncNetworks

LENGTH = 32  # of the vectors
Vectors = np.ndarray


class Told(SyncNetworks):
    """A network that sees what it is told."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def video(self, images: np.ndarray, landmarks: np.ndarray) -> Vectors:
        seen = self._vectors.copy()
        seen[:2] = seen[-2:] = np.nan
        return seen


def units(count: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, LENGTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def matched(video: Vectors, audio: Vectors, lead_frames: int = 0):
    frames = np.zeros((len(video), FACE_PX, FACE_PX, 3), np.uint8)
    return match(frames, np.zeros((len(video), 68, 2), np.float32), audio, lead_frames, Told(video))


def test_images_that_are_their_audio_are_retrieved() -> None:
    audio = units(80, 0)
    found = matched(audio, audio)
    assert found is not None
    assert found.values["retrieval_accuracy"] == 1.0
    assert found.values["sync_offset_frames"] == 0.0
    assert found.values["sync_distance"] == pytest.approx(0.0, abs=1e-3)
    assert found.values["sync_confidence"] == pytest.approx(1 - np.median(found.curve), abs=1e-5)
    assert found.values["retrieval_windows"] == found.windows > 20


@pytest.mark.parametrize(("late", "correct"), [(1, 1.0), (-1, 1.0), (2, 0.0), (-6, 0.0)])
def test_one_frame_off_still_counts_and_two_do_not(late: int, correct: float) -> None:
    audio = units(100, 1)
    found = matched(audio[20:80], audio[20 - late : 80 - late])
    assert found is not None
    assert found.values["retrieval_accuracy"] == correct
    assert found.values["sync_offset_frames"] == abs(late)


def test_audio_before_the_first_frame_is_counted() -> None:
    audio = units(100, 2)
    found = matched(audio[25:85], audio, lead_frames=25)
    assert found is not None
    assert found.values["retrieval_accuracy"] == 1.0


def test_still_and_unrelated_images_are_at_chance() -> None:
    stills, others = [], []
    for seed in range(120):
        audio = units(45, seed)
        stills.append(matched(np.repeat(units(1, seed + 500), 45, axis=0), audio).values["retrieval_accuracy"])
        others.append(matched(units(45, seed + 1000), audio).values["retrieval_accuracy"])
    error = np.sqrt(CHANCE * (1 - CHANCE) / 120)
    assert np.mean(stills) == pytest.approx(CHANCE, abs=3.5 * error)
    assert np.mean(others) == pytest.approx(CHANCE, abs=3.5 * error)


def test_a_short_clip_tells_nothing() -> None:
    audio = units(36, 3)
    assert matched(audio, audio) is None
    longer = units(37, 3)
    assert matched(longer, longer) is not None
