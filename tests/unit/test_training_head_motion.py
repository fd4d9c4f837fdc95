"""The task ``head_motion``: it learns a sway, validates on other speakers, and its graph draws motion."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.errors import DataError
from speech2vid.faces.align import canonical_points
from speech2vid.inference.head.samplers import MotionNetwork
from speech2vid.models.head_motion import HeadMotion, HeadMotionConfig
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.torch import save
from speech2vid.runtime.weights import weight_set
from speech2vid.training.export import export_graphs
from speech2vid.training.tasks.head_motion import HeadMotionTask, HeadMotionTaskConfig

CPU = torch.device("cpu")
CONFIG = HeadMotionTaskConfig(
    batch=8, length=20, least_s=2.4, network=HeadMotionConfig(width=16, components=2, dropout=0.0)
)


class SwayingTrack:
    """A face that sways regularly, and noise for audio."""

    def __init__(self, frames: int, phase: float) -> None:
        self.lead_frames = 0
        landmarks = 200 + 2 * np.repeat(canonical_points()[None], frames, axis=0)
        landmarks[..., 0] += 10 * np.sin(np.arange(frames) / 5 + phase)[:, None]
        self.source_landmarks = landmarks.astype(np.float32)
        noise = np.random.default_rng(0).standard_normal(frames * SAMPLES_PER_FRAME)
        self.audio = (0.1 * noise).astype(np.float32)

    def __len__(self) -> int:
        return len(self.source_landmarks)


def tracks(frames: int, *speakers: str) -> Any:
    by_speaker = {speaker: [SwayingTrack(frames, number)] for number, speaker in enumerate(speakers)}
    return SimpleNamespace(by_speaker=by_speaker, landmarker="drawn 1")


@pytest.fixture(scope="module")
def task() -> HeadMotionTask:
    torch.manual_seed(0)
    return HeadMotionTask(CONFIG, tracks(120, "a", "b"), tracks(120, "c"), CPU)


def test_items_have_one_shape_and_padding_does_not_count(task: HeadMotionTask) -> None:
    item = task.draw(np.random.default_rng(0))
    assert {name: values.shape for name, values in item.items()} == {
        "seen": (20, 37),
        "next": (20, 7),
        "blink": (20,),
        "mask": (20,),
    }
    short = HeadMotionTask(CONFIG, tracks(64, "a"), tracks(64, "c"), CPU).draw(np.random.default_rng(0))
    assert 0 < short["mask"].sum() < 20
    batch = {name: torch.from_numpy(values)[None] for name, values in short.items()}
    task.network.eval()
    value = task.terms(task.network, batch)["movement"]
    unused = batch["mask"][0] == 0
    batch["next"][0, unused] = 5.0
    batch["seen"][0, unused] = 5.0
    assert torch.equal(task.terms(task.network, batch)["movement"], value)


def test_a_regular_sway_is_learnt(task: HeadMotionTask) -> None:
    rng = np.random.default_rng(0)
    with torch.no_grad():
        before = task.validate(task.network.eval()).metrics["surprise"]
    optimiser = torch.optim.Adam(task.network.parameters(), 1e-2)
    for _ in range(40):
        items = [task.draw(rng) for _ in range(CONFIG.batch)]
        batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
        terms = task.terms(task.network.train(), batch)
        optimiser.zero_grad()
        (terms["movement"] + terms["blink"]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        after = task.validate(task.network.eval())
    assert set(after.by_speaker) == {"c"}
    assert after.metrics["surprise"] < before - 0.3


def test_the_exported_graph_draws_motion(task: HeadMotionTask, tmp_path: Path) -> None:
    path = tmp_path / "head_motion.safetensors"
    save(task.network.eval(), path, half=True)
    export_graphs(path, HeadMotion)
    stream = MotionNetwork(weight_set(tmp_path), graph_loader("cpu", 1)).stream("natural", 0)
    assert stream is not None
    rows = np.concatenate([stream.push(np.zeros(32_000, np.float32)), stream.flush()])
    assert rows.shape == (50, 9)
    assert np.isfinite(rows).all()
    assert np.abs(np.diff(rows, axis=0)).max() > 0


def test_short_tracks_alone_cannot_be_trained_on() -> None:
    with pytest.raises(DataError, match=r"no track lasts 2\.4 s"):
        HeadMotionTask(CONFIG, tracks(30, "a"), tracks(120, "c"), CPU)
