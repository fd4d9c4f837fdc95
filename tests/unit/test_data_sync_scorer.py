"""The sync network as preparation asks it: audio that begins before the face, offsets either way."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.constants import FACE_PX, SAMPLES_PER_FRAME
from speech2vid.data.sync_scorer import LipSync, scorer_for, scorer_name
from speech2vid.errors import ConfigError
from speech2vid.faces.sync import MAX_OFFSET_FRAMES, OFFSETS

FRAMES, LEAD = 20, 25
NEAR = 0.01  # the front end hears what came before; a frame beside differs by 0.05


def test_columns_are_offsets_and_the_lead_is_counted() -> None:
    random = np.random.default_rng(0)
    faces = random.integers(0, 255, (FRAMES, FACE_PX, FACE_PX, 3), dtype=np.uint8)
    landmarks = random.uniform(30, 80, (FRAMES, 68, 2)).astype(np.float32)
    audio = random.normal(0, 0.1, (LEAD + FRAMES + 30) * SAMPLES_PER_FRAME).astype(np.float32)
    late = np.concatenate([random.normal(0, 0.1, 4 * SAMPLES_PER_FRAME).astype(np.float32), audio])
    scorer = LipSync()
    fits = scorer(faces, landmarks, audio, LEAD)
    assert fits.shape == (FRAMES, len(OFFSETS))
    assert not np.isnan(fits[2:-2]).any()
    middle = slice(MAX_OFFSET_FRAMES - 8, MAX_OFFSET_FRAMES + 8)
    assert scorer(faces, landmarks, late, LEAD + 4)[2:-2, middle] == pytest.approx(fits[2:-2, middle], abs=NEAR)
    later = slice(middle.start + 4, middle.stop + 4)
    assert scorer(faces, landmarks, late, LEAD)[2:-2, later] == pytest.approx(fits[2:-2, middle], abs=NEAR)


def test_stores_made_otherwise_can_be_told_apart() -> None:
    assert scorer_for("off") is None
    assert scorer_name("off") == "trusted"
    assert scorer_name("on").startswith("sync-")
    with pytest.raises(ConfigError, match="maybe"):
        scorer_for("maybe")  # type: ignore[arg-type]
