"""Tasks that use face recognition: ``identity``, and ``paper_talker`` with the content loss; and ``sharpener``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech2vid.data.records import Track
from speech2vid.errors import ConfigError
from speech2vid.faces import PAPER, align
from speech2vid.losses import total
from speech2vid.media import load_photo
from speech2vid.models.face_recognition import TAPS
from speech2vid.models.identity_trunk import IdentityTrunk, IdentityTrunkConfig
from speech2vid.models.paper_talker import PaperTalkerConfig
from speech2vid.models.sharpener import SharpenerConfig
from speech2vid.runtime.torch import save
from speech2vid.runtime.weights import read_weights
from speech2vid.training.dataloader import BatchLoader
from speech2vid.training.dataset import TrackSet
from speech2vid.training.distributed import Distributed
from speech2vid.training.loop import CHECKPOINT, train_task
from speech2vid.training.task import Batch, Task, TaskConfig
from speech2vid.training.tasks.identity import IdentityTask, IdentityTaskConfig, verification_auc
from speech2vid.training.tasks.paper_talker import PaperTalkerTask, PaperTalkerTaskConfig
from speech2vid.training.tasks.sharpener import SharpenerTask, SharpenerTaskConfig, blurred

CPU = torch.device("cpu")
MakeTracks = Callable[..., list[Track]]

CONFIGS: dict[str, TaskConfig] = {
    "identity": IdentityTaskConfig(batch=4, network=IdentityTrunkConfig(size="small")),
    "sharpener": SharpenerTaskConfig(batch=4, gradient=0.5, network=SharpenerConfig(layers=3, channels=8)),
    "content": PaperTalkerTaskConfig(
        batch=4, frames=2, loss="content", gradient=0.5, network=PaperTalkerConfig(size="small", identity_images=1)
    ),
}
KINDS: dict[str, Callable[..., Task]] = {
    "identity": IdentityTask,
    "sharpener": SharpenerTask,
    "content": PaperTalkerTask,
}


@pytest.fixture(scope="module")
def train(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(3))


@pytest.fixture(scope="module")
def val(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(2, first=3, tracks=1, split="val"))


def task_of(name: str, train: TrackSet, val: TrackSet, **changes: object) -> Task:
    torch.manual_seed(0)
    return KINDS[name](replace(CONFIGS[name], **changes), train, val, CPU)


def batch_of(task: Task, step: int = 0, rank: int = 0, count: int = 1) -> Batch:
    return next(BatchLoader(task, Distributed(rank, count, CPU)).batches(step, step + 1))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_batches_are_shared_and_steps_reach_every_weight(name: str, train: TrackSet, val: TrackSet) -> None:
    task = task_of(name, train, val)
    batch = batch_of(task)
    halves = [batch_of(task, rank=rank, count=2) for rank in range(2)]
    for key, tensor in batch.items():
        assert torch.equal(tensor, torch.cat([half[key] for half in halves]))
    with torch.no_grad():
        for weight in task.network.parameters():
            weight.add_(0.01 * torch.randn_like(weight))  # the sharpener's last convolution starts at zero
    terms = task.terms(task.network.train(), batch)
    assert terms.keys() == task.weights.keys()
    assert all(term.isfinite() and term.dim() == 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for key, weight in task.network.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_resumed_training_repeats_an_unbroken_one(name: str, train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    def run(folder: str, steps: int, resume: bool = False) -> str:
        task = task_of(name, train, val, steps=steps, decay=0.0, validate_every=2)
        train_task(task, tmp_path / folder, Distributed(0, 1, CPU), resume=resume)
        return read_weights(tmp_path / folder / CHECKPOINT)[0].sha256

    run("broken", 2)
    assert run("broken", 4, resume=True) == run("whole", 4)


def test_content_loss_has_the_image_and_five_activations(train: TrackSet, val: TrackSet) -> None:
    task = task_of("content", train, val, content=0.5, l1=2.0, gradient=0.0)
    assert task.weights == {
        "image": 2.0,
        **dict.fromkeys(TAPS, 0.5),
        **dict.fromkeys(("gradient", "mouth", "difference", "keypoints"), 0.0),
    }
    terms = task.terms(task.network.train(), batch_of(task))
    assert all(terms[name] > 0 for name in ("image", *TAPS))


def test_the_target_has_no_content_loss(train: TrackSet, val: TrackSet) -> None:
    task = task_of("content", train, val)
    batch = batch_of(task)
    target = batch["faces"].flatten(0, 1).permute(0, 3, 1, 2) / 255.0

    class Perfect(torch.nn.Module):
        def forward(self, windows: Tensor, stills: Tensor) -> Tensor:
            return target

    assert all(term == 0 for term in task.terms(Perfect(), batch).values())


def test_the_talker_starts_from_a_trained_identity(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trunk = IdentityTrunk(IdentityTrunkConfig(size="small"))
    save(trunk, tmp_path / "identity.safetensors")
    plain = task_of("content", train, val, loss="l1")
    started = task_of("content", train, val, loss="l1", identity_init=str(tmp_path / "identity.safetensors"))
    ours, theirs = started.network.state_dict(), plain.network.state_dict()
    wanted = trunk.state_dict()["encoder.conv3.0.weight"]
    assert torch.equal(ours["identity_encoder.conv3.0.weight"], wanted)
    assert not torch.equal(theirs["identity_encoder.conv3.0.weight"], wanted)
    for name in ("identity_encoder.fc6.0.weight", "audio_encoder.conv1.0.weight", "face_decoder.conv9.1.weight"):
        assert torch.equal(ours[name], theirs[name]), "all else equal"


def test_identity_learns_the_embeddings_of_the_teacher(train: TrackSet, val: TrackSet) -> None:
    task = task_of("identity", train, val)
    optimiser = torch.optim.AdamW(task.network.parameters(), 1e-3)
    losses = []
    for step in range(12):
        loss = task.terms(task.network.train(), batch_of(task, step))["embedding"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    with torch.no_grad():
        judged = task.validate(task.network.eval())
    assert set(judged.metrics) == {"distance", "verification_auc"}


def test_verification_auc_of_separate_and_of_equal_people() -> None:
    rng = np.random.default_rng(0)
    tracks = np.array([0, 0, 0, 1, 1, 1])
    own, others = (rng.normal(mean, 0.1, (6, 8)).astype(np.float32) for mean in (0.0, 1.0))
    assert verification_auc(own, others, tracks) == 1.0
    same = rng.normal(0.0, 0.1, (300, 8)).astype(np.float32)
    assert verification_auc(own, same, tracks) == pytest.approx(0.5, abs=0.15)
    assert verification_auc(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32), tracks[:3]) == 0.5
    apart = own + 9 * tracks[:, None].astype(np.float32)  # two tracks of a person, taken for two people
    assert verification_auc(apart, others, tracks) == 0.0


def test_sharpener_removes_blur(drawn_tracks: MakeTracks, photo: Path) -> None:
    image = load_photo(photo)
    aligned = align(image, PAPER.find(image)[0].landmarks)

    def photographed(tracks: list[Track]) -> TrackSet:
        """Cartoons have no detail to bring back: the same tracks, showing a photo that moves sideways."""
        return TrackSet(
            [
                replace(
                    track,
                    frames=np.stack([np.roll(aligned.image, number % 5 - 2, axis=1) for number in range(len(track))]),
                    landmarks=np.repeat(aligned.landmarks[None], len(track), axis=0),
                )
                for track in tracks
            ]
        )

    train, val = photographed(drawn_tracks(2)), photographed(drawn_tracks(2, first=3, tracks=1, split="val"))
    task = task_of("sharpener", train, val, least_blur_px=1.0, most_blur_px=1.5, batch=8)
    optimiser = torch.optim.AdamW(task.network.parameters(), 3e-3)
    with torch.no_grad():
        before = task.validate(task.network).metrics
    assert before["l1"] == pytest.approx(before["soft_l1"], rel=1e-2), "it starts as the identity"
    for step in range(60):
        loss = total(task.terms(task.network, batch_of(task, step)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        after = task.validate(task.network).metrics
    assert after["l1"] < 0.9 * after["soft_l1"]
    assert after["sharpness"] > 1.3 * after["soft_sharpness"]


def test_crops_and_blurs_follow_the_settings(train: TrackSet, val: TrackSet) -> None:
    whole = task_of("sharpener", train, val, size_px=0).draw(np.random.default_rng(0))
    assert whole["sharp"].shape == (2, 109, 109, 3)
    piece = task_of("sharpener", train, val).draw(np.random.default_rng(0))
    assert piece["sharp"].shape == piece["soft"].shape == (2, 48, 48, 3)
    assert piece["soft"].std() < piece["sharp"].std()
    dot = np.zeros((1, 21, 21, 3), np.uint8)
    dot[:, 10, 10] = 255
    assert blurred(dot, 1.0)[0, 10, 10, 0] == pytest.approx(255 / (2 * np.pi), rel=0.05)
    with pytest.raises(ConfigError, match="blur from 2"):
        SharpenerTaskConfig(least_blur_px=2.0, most_blur_px=1.0)
    with pytest.raises(ConfigError, match="size_px cannot be 500"):
        SharpenerTaskConfig(size_px=500)
