"""Task ``sync``: it learns to match audio and mouth in time, warns when it does not, and mirrors faces rightly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from speech2vid.constants import FACE_PX, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.faces.mouth_crops import point_motion
from speech2vid.models.sync import SyncConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import MIRROR
from speech2vid.training.tasks.sync import SyncTask, SyncTaskConfig, _mirrored

CPU = torch.device("cpu")
MakeTracks = Callable[..., list[Track]]
SETTINGS = SyncTaskConfig(
    batch=4, frames=24, hearing="none", network=SyncConfig(width=8, audio_width=16, embedding=16, dropout=0.0)
)


@pytest.fixture(scope="module")
def train(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(2, tracks=1))


@pytest.fixture(scope="module")
def babble(drawn_tracks: MakeTracks) -> TrackSet:
    """Two clips in which every frame looks and sounds like no other."""
    tracks = []
    for seed, track in enumerate(drawn_tracks(2, tracks=1)):
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 255, (len(track), 14, 14, 3), dtype=np.uint8)
        frames = blocks.repeat(8, axis=1).repeat(8, axis=2)
        landmarks = track.landmarks + rng.normal(0, 3, track.landmarks.shape).astype(np.float32)
        tones_hz = rng.uniform(150, 6000, len(track)).repeat(SAMPLES_PER_FRAME)
        audio = (9000 * np.sin(2 * np.pi * np.cumsum(tones_hz) / SAMPLE_RATE_HZ)).astype(np.int16)
        tracks.append(replace(track, frames=frames, landmarks=landmarks, audio=audio))
    return TrackSet(tracks)


def task_of(train: TrackSet, **changes: object) -> SyncTask:
    torch.manual_seed(0)
    settings = SyncTaskConfig(
        **{**{k: getattr(SETTINGS, k) for k in ("batch", "frames", "hearing", "network")}, **changes}
    )  # type: ignore[arg-type]
    return SyncTask(settings, train, train, CPU)


def batch_of(task: SyncTask, seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    items = [task.draw(rng) for _ in range(task.config.batch)]
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["multi-way", "contrastive"])
def test_a_few_clips_can_be_learnt_by_heart(babble: TrackSet, loss: str) -> None:
    """The guard against a network that cannot leave chance: on two clips it must."""
    task = task_of(babble, loss=loss, one_view=0.0, degraded=0.0)
    network = task.network
    with torch.no_grad():
        before = task.validate(network.eval()).metrics
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(60):
        network.train()
        terms = task.terms(network, batch_of(task, step))
        loss_value = sum(task.weights[name] * value for name, value in terms.items())
        optimiser.zero_grad()
        loss_value.backward()  # type: ignore[union-attr]
        optimiser.step()
    with torch.no_grad():
        after = task.validate(network.eval()).metrics
    assert after["within_1"] == 1.0
    assert after["loss_over_chance"] < 0.9 * before["loss_over_chance"]


def test_a_loss_at_chance_is_warned_of(train: TrackSet, caplog: pytest.LogCaptureFixture) -> None:
    task = task_of(train)
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        for parameter in task.network.parameters():
            parameter.zero_()
        judged = task.validate(task.network.eval())
    assert judged.metrics["loss_over_chance"] == pytest.approx(1.0, abs=0.02)
    assert "at chance" in caplog.text


@pytest.mark.parametrize(("loss", "terms"), [("multi-way", {"match", "offset"}), ("contrastive", {"contrast"})])
def test_terms_are_those_that_have_weights(train: TrackSet, loss: str, terms: set[str]) -> None:
    task = task_of(train, loss=loss)
    found = task.terms(task.network, batch_of(task, 0))
    assert found.keys() == terms == {name for name, weight in task.weights.items() if weight}
    assert all(torch.isfinite(value) for value in found.values())


def test_items_have_one_shape_also_where_the_clip_is_shorter(drawn_tracks: MakeTracks) -> None:
    short = TrackSet([*drawn_tracks(1, tracks=1, frames=16), *drawn_tracks(1, tracks=1, first=1)])
    task = task_of(short)
    batch = batch_of(task, 1)
    assert batch["crops"].shape == (4, 24, 32, 48)
    assert batch["known"].sum(dim=1).unique().tolist() == [16.0, 24.0]


def test_the_same_draw_again(train: TrackSet) -> None:
    task = task_of(train)
    for one, other in zip(batch_of(task, 3).values(), batch_of(task, 3).values(), strict=True):
        torch.testing.assert_close(one, other)


def test_mirrored_points_are_those_of_the_mirrored_face() -> None:
    landmarks = np.random.default_rng(0).uniform(0, FACE_PX, (9, 68, 2)).astype(np.float32)
    mirror = landmarks[:, MIRROR] * [-1, 1] + [FACE_PX - 1, 0]
    np.testing.assert_allclose(_mirrored(point_motion(landmarks)), point_motion(mirror.astype(np.float32)), atol=1e-4)
