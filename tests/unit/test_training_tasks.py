"""Training tasks: their batches, loss terms and validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2vid.constants import FACE_PX, MOUTH_POINTS
from speech2vid.data.records import Track
from speech2vid.losses import hinge
from speech2vid.models.audio_to_mouth import AudioToMouthConfig, tokens_needed
from speech2vid.models.audio_trunk import AudioTrunkConfig
from speech2vid.models.mouth_discriminator import MouthDiscriminator, patch_weight
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.paper_talker import PaperTalkerConfig
from speech2vid.models.warp_decoder import REGION_LEFT, REGION_TOP, region_grid
from speech2vid.models.warp_talker import WarpTalkerConfig
from speech2vid.runtime.torch import save
from speech2vid.runtime.weights import read_header, read_weights, weight_set
from speech2vid.training.audio_augment import change, degraded
from speech2vid.training.config import load_config
from speech2vid.training.dataloader import BatchLoader
from speech2vid.training.dataset import TrackSet
from speech2vid.training.distributed import Distributed
from speech2vid.training.loop import CHECKPOINT, train_task
from speech2vid.training.mouth_masks import MIRROR, REGION_RGB, emphasis, inner_mouth, mirrored, mouth_box, opening
from speech2vid.training.neutral_mouth import closed_mouths, fit_neutral_mouth
from speech2vid.training.task import Batch, Task, Validation, pixels
from speech2vid.training.tasks.audio_encoder import AudioEncoderTask, AudioEncoderTaskConfig
from speech2vid.training.tasks.audio_to_mouth import (
    AudioToMouthTask,
    AudioToMouthTaskConfig,
    _tokens_at,
    motions,
    principal_components,
)
from speech2vid.training.tasks.mouth_landmarks import MouthLandmarksTask, MouthLandmarksTaskConfig
from speech2vid.training.tasks.paper_talker import (
    PaperTalkerTask,
    PaperTalkerTaskConfig,
    mean_mouth_region,
    mouth_movement,
)
from speech2vid.training.tasks.warp_talker import WarpTalkerTask, WarpTalkerTaskConfig
from speech2vid.training.visualize import Row, contact_sheet, contact_video

CPU = torch.device("cpu")
MakeTracks = Callable[..., list[Track]]

MOUTH_LANDMARKS = MouthLandmarksTaskConfig(batch=4, width=4)
WARP_TALKER = WarpTalkerTaskConfig(batch=2, frames=2, network=WarpTalkerConfig(width=4))
AUDIO_TO_MOUTH = AudioToMouthTaskConfig(
    batch=4, phone_model="none", av_offsets="none", network=AudioToMouthConfig(width=16, dropout=0.0)
)
TALKER = PaperTalkerTaskConfig(
    batch=2, frames=2, gradient=0.5, mouth=1.0, difference=3.0, keypoints=0.3, network=PaperTalkerConfig(size="small")
)
AUDIO_ENCODER = AudioEncoderTaskConfig(batch=2, frames=8, teacher="keypoints", network=AudioTrunkConfig(size="small"))
NAMES = ["mouth_landmarks", "warp_talker", "audio_to_mouth", "audio_encoder", "paper_talker"]


@pytest.fixture(scope="module")
def train(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(3))


@pytest.fixture(scope="module")
def val(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(2, first=3, tracks=1, split="val"))


@pytest.fixture(scope="module")
def tasks(train: TrackSet, val: TrackSet) -> dict[str, Task]:
    torch.manual_seed(0)
    return {
        "mouth_landmarks": MouthLandmarksTask(MOUTH_LANDMARKS, train, val, CPU),
        "warp_talker": WarpTalkerTask(WARP_TALKER, train, val, CPU, MouthLandmarkNetwork(4)),
        "audio_to_mouth": AudioToMouthTask(AUDIO_TO_MOUTH, train, val, CPU),
        "audio_encoder": AudioEncoderTask(AUDIO_ENCODER, train, val, CPU),
        "paper_talker": PaperTalkerTask(TALKER, train, val, CPU, MouthLandmarkNetwork(4)),
    }


def batch_of(task: Task, step: int = 0, rank: int = 0, count: int = 1) -> Batch:
    return next(BatchLoader(task, Distributed(rank, count, CPU)).batches(step, step + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_follows_from_the_step_and_is_shared_evenly(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    whole, again, next_one = batch_of(task), batch_of(task), batch_of(task, step=1)
    halves = [batch_of(task, rank=rank, count=2) for rank in range(2)]
    for key, tensor in whole.items():
        assert len(tensor) == task.config.batch
        assert torch.equal(tensor, again[key])
        assert torch.equal(tensor, torch.cat([half[key] for half in halves]))
    assert any(not torch.equal(tensor, next_one[key]) for key, tensor in whole.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_step_reaches_every_weight(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    task.network.train()
    if name == "warp_talker":  # flow and residual start at zero: what lies before them learns from the second step on
        with torch.no_grad():
            for weight in task.network.parameters():
                if weight.requires_grad:
                    weight.add_(0.01 * torch.randn_like(weight))
    terms = task.terms(task.network, batch_of(task))
    assert terms.keys() == task.weights.keys()
    assert all(term.isfinite() and term.dim() == 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for key, weight in task.network.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, key
            if ".phones." in key:
                continue  # without a phone model there is nothing to learn from it
            assert weight.grad.abs().sum() > 0, key
    task.network.zero_grad()


@pytest.mark.parametrize("name", NAMES)
def test_validation_is_on_unseen_speakers(name: str, tasks: dict[str, Task], val: TrackSet) -> None:
    task = tasks[name]
    with torch.no_grad():
        judged = task.validate(task.network.eval())
    assert set(judged.by_speaker) == set(val.by_speaker)
    assert judged.choose_by in judged.metrics
    assert np.isfinite(list(judged.metrics.values())).all()
    if judged.sheet is not None:
        assert judged.sheet.dtype == np.uint8
        assert judged.sheet.std() > 10
        assert judged.video is not None
        assert judged.video.dtype == np.uint8
        assert judged.video.shape[0] == min(len(val[0]), {"warp_talker": 25, "paper_talker": 50}[name])
        assert judged.video[:, :20].std() > 10


def test_each_speaker_counts_the_same() -> None:
    judged = Validation({"anna": {"r": 1.0}, "ben": {"r": 0.0}}, "r", higher_is_better=True)
    assert judged.metrics == {"r": 0.5}
    assert judged.cost == -0.5


@pytest.mark.slow
def test_warp_talker_learns_from_the_requested_mouths(train: TrackSet, val: TrackSet) -> None:
    """With the target's mouth it beats the same network with the mouths of other frames."""
    torch.manual_seed(0)
    settings = replace(WARP_TALKER, features=0.0, landmarks=0.0, adversarial=0.0, feature_matching=0.0, batch=4)
    task = WarpTalkerTask(settings, train, val, CPU, None)
    optimiser = torch.optim.AdamW(task.network.parameters(), 3e-3)
    first = []
    for step in range(40):
        loss = task.terms(task.network.train(), batch_of(task, step))["l1"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first.append(loss.item())
    assert np.mean(first[-5:]) < 0.8 * np.mean(first[:5])
    batch = batch_of(task, 1000)
    with torch.no_grad():
        target = task.terms(task.network, batch)["l1"]
        wrong = task.terms(task.network, {**batch, "requested": batch["requested"].flip(0, 1)})["l1"]
    assert target < 0.9 * wrong


def test_landmark_network_gives_gradients_and_is_not_trained(tasks: dict[str, Task]) -> None:
    task = tasks["warp_talker"]
    assert isinstance(task, WarpTalkerTask)
    assert task.landmark_network is not None
    assert not any(weight.requires_grad for weight in task.landmark_network.parameters())
    before = {key: value.clone() for key, value in task.landmark_network.state_dict().items()}
    task.terms(task.network.train(), batch_of(task))["landmarks"].backward()
    assert all(torch.equal(value, before[key]) for key, value in task.landmark_network.state_dict().items())
    task.network.zero_grad()


def test_terms_without_a_landmark_network(train: TrackSet, val: TrackSet) -> None:
    assert set(WarpTalkerTask(WARP_TALKER, train, val, CPU, None).weights) == {
        *("l1", "gradient", "smooth", "residual", "undecided", "discriminator", "adversarial", "feature_matching")
    }


def test_no_discriminator_without_adversarial_weights(train: TrackSet, val: TrackSet) -> None:
    task = WarpTalkerTask(replace(WARP_TALKER, adversarial=0.0, feature_matching=0.0), train, val, CPU, None)
    assert task.discriminator is None
    terms = task.terms(task.network.train(), batch_of(task))
    assert terms.keys() == task.weights.keys() == {"l1", "gradient", "smooth", "residual", "undecided"}


def test_discriminator_and_talker_learn_from_their_own_terms(tasks: dict[str, Task]) -> None:
    task = tasks["warp_talker"]
    assert isinstance(task, WarpTalkerTask)
    assert task.discriminator is not None
    networks = {"network": task.network.train(), "discriminator": task.discriminator}
    for name, learns in {
        "discriminator": "discriminator",
        "adversarial": "network",
        "feature_matching": "network",
    }.items():
        task.terms(task.network, batch_of(task))[name].backward()
        for network, module in networks.items():
            reached = any(each.grad is not None and each.grad.abs().sum() > 0 for each in module.parameters())
            assert reached == (network == learns), (name, network)
            module.zero_grad()


def test_adversarial_weight_ramps_up_and_head_has_higher_lr(tasks: dict[str, Task]) -> None:
    task = tasks["warp_talker"]
    for step, share in ((0, 0.0), (50, 0.25), (200, 1.0), (900, 1.0)):
        weights = task.weights_at(step)
        assert weights["adversarial"] == pytest.approx(share * WARP_TALKER.adversarial)
        assert weights["feature_matching"] == pytest.approx(share * WARP_TALKER.feature_matching)
        assert (weights["discriminator"], weights["l1"]) == (1.0, WARP_TALKER.l1)
    names = [name for name, _ in task.network.named_parameters()]
    assert all(any(name.startswith(start) for name in names) for start in task.lr_multipliers)


def test_slots_with_the_same_still_are_marked(tasks: dict[str, Task]) -> None:
    for step in range(20):
        batch = batch_of(tasks["warp_talker"], step)
        stills = batch["stills"].flatten(2)
        same = (stills[:, :, None] == stills[:, None]).all(-1)
        assert torch.equal(batch["same"] > 0, same)


def test_resumed_warp_talker_repeats_an_unbroken_run(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    dist = Distributed(0, 1, CPU)

    def run(folder: str, steps: int, resume: bool = False) -> str:
        torch.manual_seed(0)
        task = WarpTalkerTask(replace(WARP_TALKER, steps=steps, decay=0.0, validate_every=2), train, val, CPU, None)
        train_task(task, tmp_path / folder, dist, resume=resume)
        return read_weights(tmp_path / folder / CHECKPOINT)[0].sha256

    run("broken", 2)
    assert run("broken", 4, resume=True) == run("whole", 4)


def test_discriminator_can_tell_blurred_from_real_mouths(train: TrackSet) -> None:
    torch.manual_seed(0)
    discriminator = MouthDiscriminator(8)
    mouths = torch.from_numpy(train[0].landmarks[:16, MOUTH_POINTS])
    target, inner_mouth_mask = pixels(torch.from_numpy(train[0].frames[:16][REGION_RGB])), inner_mouth(mouths)
    generated = torch.nn.functional.avg_pool2d(target, 5, 1, 2)
    counts = patch_weight(inner_mouth_mask)
    assert counts.shape == discriminator(target, inner_mouth_mask)[0].shape
    assert 0.05 <= counts.min() < 0.1
    assert counts.max() > 0.3
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-2, betas=(0.5, 0.9))
    for _ in range(25):
        paid = hinge(discriminator(target, inner_mouth_mask)[0], discriminator(generated, inner_mouth_mask)[0]).mean()
        optimiser.zero_grad()
        paid.backward()
        optimiser.step()
    with torch.no_grad():
        assert (
            discriminator(target, inner_mouth_mask)[0].mean()
            > discriminator(generated, inner_mouth_mask)[0].mean() + 0.5
        )


def test_a_talker_with_one_image_gets_the_middle_still(train: TrackSet, val: TrackSet) -> None:
    config = replace(TALKER, keypoints=0.0, network=PaperTalkerConfig(size="small", identity_images=1))
    task = PaperTalkerTask(config, train, val, CPU)
    assert task.draw(np.random.default_rng(0))["stills"].shape == (1, FACE_PX, FACE_PX, 3)


def test_the_talker_is_normalised_by_the_training_data(tasks: dict[str, Task], train: TrackSet) -> None:
    network = tasks["paper_talker"].network
    middle = np.concatenate([track.windows[:, 0, :, 17] for track in train.tracks])
    np.testing.assert_allclose(network.get_buffer("audio_encoder.mfcc_mean").ravel(), middle.mean(0), rtol=1e-3)
    assert 40 < float(network.get_buffer("identity_encoder.pixel_mean").mean()) < 200


def test_mirroring_twice_gives_the_image(train: TrackSet) -> None:
    track = train[0]
    frames, landmarks = mirrored(*mirrored(track.frames, track.landmarks))
    assert np.array_equal(frames, track.frames)
    np.testing.assert_allclose(landmarks, track.landmarks, atol=1e-4)
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))
    once, turned = mirrored(track.frames, track.landmarks)
    x, y = turned[0, 48].round().astype(int)  # still the corner of the mouth on the left of the picture
    assert np.array_equal(once[0, y, x], track.frames[0, y, FACE_PX - 1 - x])
    assert turned[0, 48, 0] < turned[0, 54, 0]


def test_emphasis_is_highest_in_the_mouth(train: TrackSet) -> None:
    mouths = torch.from_numpy(train[0].landmarks[:5, MOUTH_POINTS])
    weight = emphasis(mouths)
    assert weight.min() == 1
    middle = mouths[:, 12:].mean(1).round().long()
    x, y = middle[:, 0] - REGION_LEFT, middle[:, 1] - REGION_TOP
    widest = int(opening(mouths).argmax())
    assert weight[widest, 0, y[widest], x[widest]] > 10
    box = mouth_box(mouths)
    grid = region_grid(*box.shape[-2:])
    inside = grid[box[0, 0] > 0]
    assert (inside.amin(0) < mouths[0].amin(0)).all()
    assert (inside.amax(0) > mouths[0].amax(0)).all()
    assert train[0].frames[REGION_RGB].shape[1:] == (*box.shape[-2:], 3)


def test_the_neutral_mouth_is_estimated_from_any_frame(train: TrackSet) -> None:
    closed = closed_mouths(train)
    weight = fit_neutral_mouth(train, np.random.default_rng(0))
    assert weight.shape == (40, 137)
    for track in train.tracks:
        rest = torch.from_numpy(closed[track.key])
        assert opening(rest) < np.quantile(track.opening, 0.25)
        widest = track.landmarks[track.opening.argmax()]
        estimated = (weight @ np.append(widest.ravel() / FACE_PX, 1.0)).reshape(20, 2)
        assert (
            np.abs(estimated - closed[track.key]).mean() < 0.5 * np.abs(widest[MOUTH_POINTS] - closed[track.key]).mean()
        )


def test_mouth_motion_starts_at_the_closed_mouth_and_is_evened_out(train: TrackSet) -> None:
    plain, alike = motions(train, 0.0), motions(train, 1.0)
    for track in train.tracks:
        opens = opening(torch.from_numpy(plain[track.key].reshape(-1, 20, 2) + closed_mouths(train)[track.key])).numpy()
        assert np.corrcoef(opens, track.opening)[0, 1] > 0.99
    assert any(not np.allclose(plain[key], alike[key]) for key in plain)


def test_principal_components_explain_the_motion(train: TrackSet) -> None:
    moved = np.concatenate(list(motions(train, 0.0).values()))
    directions, deviations = principal_components(moved, 4)
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-5)
    assert (np.diff(deviations) <= 0).all()
    assert np.square(moved - moved @ directions.T @ directions).sum() < 0.01 * np.square(moved).sum()


def test_audio_and_mouth_motion_stay_in_sync_at_every_speed(train: TrackSet, val: TrackSet) -> None:
    """Loudness in the middle row of each frame follows the mouth, at every speed and start."""
    plain = {"voice": 0.0, "room": 0.0, "noise": 0.0, "hide": 0.0, "silent": 0.0, "degraded": 0.0}
    task = AudioToMouthTask(replace(AUDIO_TO_MOUTH, earlier_frames=0.0, speed=1.0, frames=24, **plain), train, val, CPU)
    agreements = []
    for seed in range(20):
        item = task.draw(np.random.default_rng(seed))
        middle = item["views"][31 : 31 + 4 * 24 : 4, :64].max(axis=1)
        known = item["known"] > 0
        opens = item["wanted"] @ (task.network.basis.numpy().reshape(-1, 20, 2)[:, [5, 6, 7, 8, 9], 1].mean(1))
        agreements.append(np.corrcoef(np.exp(middle[known] / 2), opens[known])[0, 1])
    assert np.median(agreements) > 0.9


def test_targets_of_silence_are_zero(tasks: dict[str, Task]) -> None:
    task = tasks["audio_to_mouth"]
    assert isinstance(task, AudioToMouthTask)
    task.config = replace(AUDIO_TO_MOUTH, silent=1.0)
    item = task.draw(np.random.default_rng(0))
    task.config = AUDIO_TO_MOUTH
    assert not item["wanted"].any()
    assert item["known"].all()
    assert item["views"].shape == task.draw(np.random.default_rng(0))["views"].shape


def test_a_start_file_keeps_its_basis(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    """Targets are in the components of the file that is started from, not in those of the new data."""
    first = AudioToMouthTask(AUDIO_TO_MOUTH, train, val, CPU)
    turned = first.network.basis[torch.arange(8).roll(1)] * 1.5
    first.network.basis.copy_(turned)
    save(first.network, tmp_path / "first.safetensors")
    again = AudioToMouthTask(replace(AUDIO_TO_MOUTH, start=str(tmp_path / "first.safetensors")), train, val, CPU)
    assert torch.equal(again.network.basis, turned)
    plain = {"voice": 0.0, "room": 0.0, "noise": 0.0, "hide": 0.0, "silent": 0.0, "degraded": 0.0, "speed": 0.0}
    items = []
    for task in (AudioToMouthTask(AUDIO_TO_MOUTH, train, val, CPU), again):
        task.config = replace(task.config, **plain)
        items.append(task.draw(np.random.default_rng(3))["wanted"] @ task.network.basis.numpy())
    np.testing.assert_allclose(*items, atol=1e-4)


def test_av_offsets_are_removed_from_the_targets(train: TrackSet, val: TrackSet) -> None:
    task = AudioToMouthTask(AUDIO_TO_MOUTH, train, val, CPU)
    task.config = replace(AUDIO_TO_MOUTH, silent=0.0, speed=0.0)
    late = dict.fromkeys(train.by_speaker, 2.0)
    before = task.draw(np.random.default_rng(1))["wanted"]
    task._av_offsets = late
    after = task.draw(np.random.default_rng(1))["wanted"]
    assert not np.allclose(after, before, atol=0.3)
    np.testing.assert_allclose(after[:-3], before[2:-1], atol=0.3)


def test_speech_tokens_are_those_of_the_frames_at_any_copy(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    config = replace(
        AUDIO_TO_MOUTH, speech="package", feature_cache=str(tmp_path), hide=0.0, silent=0.0, revoiced=0.0, degraded=0.0
    )
    small = TrackSet([track._track for track in train.tracks[:2]])
    task = AudioToMouthTask(config, small, val, CPU)
    item = task.draw(np.random.default_rng(0))
    channels = task.network.config.speech_channels
    assert item["tokens"].shape == (tokens_needed(config.frames), channels)
    assert task.network_config()["speech_encoder"] == read_header(weight_set().path("speech_encoder")).sha256
    track = small.tracks[0]
    source = task._heard[track.key][0]
    assert source.tokens is not None
    np.testing.assert_array_equal(
        _tokens_at(source, track, np.arange(3))[0], source.tokens[2 * track.lead_frames].astype(np.float32)
    )
    files = sorted(tmp_path.rglob("*.npy"))
    written = [path.stat().st_mtime_ns for path in files]
    again = AudioToMouthTask(config, small, val, CPU)
    np.testing.assert_array_equal(again._heard[track.key][0].tokens, source.tokens)
    assert [path.stat().st_mtime_ns for path in files] == written
    torch.manual_seed(0)
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    terms = task.terms(task.network, batch)
    assert set(terms) == set(task.weights)
    assert all(torch.isfinite(value) for value in terms.values())


def test_weights_without_speech_tokens_start_a_network_that_hears_them(
    train: TrackSet, val: TrackSet, tmp_path: Path
) -> None:
    small = TrackSet([track._track for track in train.tracks[:2]])
    plain = AudioToMouthTask(AUDIO_TO_MOUTH, small, val, CPU)
    save(plain.network, tmp_path / "plain.safetensors")
    config = replace(AUDIO_TO_MOUTH, speech="package", start=str(tmp_path / "plain.safetensors"), start_rate=0.1)
    task = AudioToMouthTask(config, small, val, CPU)
    assert set(task.lr_multipliers.values()) == {0.1}
    assert not any("speech" in name for name in task.lr_multipliers)
    network, other = task.network.eval(), plain.network.eval()
    track = val.tracks[0]
    with torch.no_grad():
        np.testing.assert_allclose(task._predict(network, track), plain._predict(other, track), atol=1e-4)


def test_closed_mouths_count_more(train: TrackSet, val: TrackSet) -> None:
    task = AudioToMouthTask(AUDIO_TO_MOUTH, train, val, CPU)
    item = task.draw(np.random.default_rng(1))
    batch = {name: torch.from_numpy(value[None]) for name, value in item.items()}
    batch["wanted"] = torch.zeros_like(batch["wanted"])
    network = task.network.eval()
    with torch.no_grad():
        before = task.terms(network, batch)["opening"]
        task.config = replace(AUDIO_TO_MOUTH, closure=2.0)
        torch.testing.assert_close(task.terms(network, batch)["opening"], 3 * before)


def test_the_mean_mouth_region_covers_the_mouth(val: TrackSet) -> None:
    box = mean_mouth_region()[0, 0].numpy()
    inside = [box[tuple((point - 1).round().astype(int)[::-1])] for point in val[0].landmarks[0, MOUTH_POINTS]]
    assert all(inside)
    assert 0.06 < box.mean() < 0.12


def test_members_are_averaged(train: TrackSet, val: TrackSet) -> None:
    torch.manual_seed(0)
    task = AudioToMouthTask(
        replace(AUDIO_TO_MOUTH, network=AudioToMouthConfig(width=16, members=2, dropout=0.0)), train, val, CPU
    )
    rows = torch.zeros(1, 89, 65 + 4 * 5)
    network = task.network.eval()
    with torch.no_grad():
        both = network(rows)
        assert both.shape == (1, 6, 20, 2)
        network.members = network.members[:1]
        assert not torch.allclose(both, network(rows))


@pytest.mark.parametrize("seed", range(3))
def test_augmented_audio_is_still_audio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(-4, 2, (120, 64)).clip(-9).astype(np.float32)
    changed = change(rows, rng, voice=1.0, room=1.0, noise=1.0, hide=1.0)
    assert changed.shape == rows.shape
    assert np.isfinite(changed).all()
    assert not np.allclose(changed, rows)
    unchanged = change(rows, rng, voice=0.0, room=0.0, noise=0.0, hide=0.0)
    np.testing.assert_allclose(unchanged, rows, atol=1e-2)
    audio = (0.1 * rng.standard_normal(16000)).astype(np.float32)
    worse = degraded(audio, rng)
    assert worse.shape == audio.shape
    assert np.abs(worse).max() <= 1
    assert np.corrcoef(worse, audio)[0, 1] > 0.2


def test_a_contact_sheet_has_labelled_rows_and_columns() -> None:
    red, blue = (np.full((14, 60, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = contact_sheet([Row("anna", [red, blue]), Row("ben", [blue])], ["target", "generated"])
    faces, top, left = sheet[-28:, -120:], sheet[:-28, -120:], sheet[-28:, :-120]
    assert (faces[:14, :60] == (255, 0, 0)).all()
    assert (faces[:14, 60:] == (0, 0, 255)).all()
    assert (faces[14:, 60:] == 128).all()
    for label in (top[:, :60], top[:, 60:], left[:14], left[14:]):
        assert label.min() < 100, "text"
        assert label.max() == 255
    other = contact_sheet([Row("anna", [red, blue]), Row("cleo", [blue])], ["target", "generated"])
    assert not np.array_equal(other[-14:, :-120], sheet[-14:, :-120])


def test_long_labels_are_wrapped_and_stay_inside_their_place() -> None:
    face = np.zeros((30, 60, 3), np.uint8)
    sheet = contact_sheet([Row("a_speaker_with_a_long_name_and_more", [face, face])], ["from five stills", "b"])
    assert sheet.shape[1] == 120 + 120
    assert sheet.shape[0] > 30 + 2 * 10, "two lines of column labels"
    assert (sheet[:-30, 178:180] == 255).all()


def test_a_contact_video_ends_with_the_shortest() -> None:
    videos = [np.full((length, 14, 60, 3), level, np.uint8) for length, level in ((5, 10), (3, 20), (9, 30))]
    shown = contact_video([Row("anna", videos[:2]), Row("ben", [videos[2], videos[2]])], ["target", "generated"])
    assert len(shown) == 3
    assert (shown[2, -28:-14, -120:-60] == 10).all()
    assert (shown[2, -28:-14, -60:] == 20).all()
    assert (shown[0, -14:, -120:] == 30).all()


def test_mouth_movement_is_measured_along_the_opening_pattern() -> None:
    rng = np.random.default_rng(0)
    openings = rng.random(40).astype(np.float32)
    pattern = rng.standard_normal((3, 6, 8)).astype(np.float32)
    target = 0.5 + 0.1 * openings[:, None, None, None] * pattern
    half = mouth_movement(0.3 + 0.5 * (target - target.mean(0)), target, openings)
    assert half["mouth_correlation"] == pytest.approx(1.0, abs=1e-3)
    assert half["mouth_amplitude"] == pytest.approx(0.5, abs=1e-3)
    still = mouth_movement(np.repeat(target[:1], 40, 0), target, openings)
    assert still["mouth_amplitude"] == pytest.approx(0.0, abs=1e-6)


def test_difference_loss_ignores_each_persons_mean_frame(train: TrackSet, val: TrackSet) -> None:
    task = PaperTalkerTask(replace(TALKER, keypoints=0.0), train, val, CPU)
    target = torch.rand(4, 3, 109, 109)
    shifted = target + torch.tensor([0.1, 0.1, -0.2, -0.2])[:, None, None, None]  # two people of two frames
    assert task._difference(shifted, target) < 1e-6
    assert task._difference(target.flip(0), target) > 0.01


def test_sum_reduction_is_eq_1(train: TrackSet, val: TrackSet) -> None:
    """The loss is the sum over pixels of one face; the logged terms stay means."""
    settings = replace(TALKER, keypoints=0.0, difference=0.0, mouth=0.0, gradient=0.0, reduction="sum")
    task = PaperTalkerTask(settings, train, val, CPU)
    batch = batch_of(task)
    with torch.no_grad():
        l1 = task.terms(task.network.eval(), batch)["l1"]
        faces = task.network(batch["windows"].flatten(0, 1), pixels(batch["stills"]).flatten(1, 2))
    summed = (faces - pixels(batch["faces"]).flatten(0, 1)).abs().sum((1, 2, 3)).mean()
    assert task.weights["l1"] * l1 == pytest.approx(float(summed), rel=1e-5)


def test_audio_encoder_has_its_own_learning_rate(tasks: dict[str, Task], train: TrackSet, val: TrackSet) -> None:
    task = PaperTalkerTask(replace(TALKER, keypoints=0.0, audio_rate=0.1), train, val, CPU)
    assert task.lr_multipliers == {"audio_encoder.": 0.1}
    assert any(name.startswith("audio_encoder.") for name, _ in task.network.named_parameters())


@pytest.mark.slow
def test_paper_preset_lowers_its_loss(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    """SGD with 1e-5 on Eq. 1, a sum over pixels, trains a talker of a quarter of the width; on a mean it does not."""
    falls = {}
    for reduction in ("sum", "mean"):
        overrides = ["network.size=small", "batch=8", "steps=24", "validate_every=24", f"reduction={reduction}"]
        config = load_config("paper", "talker", [f"paper_talker.{each}" for each in overrides]).tasks["paper_talker"]
        assert isinstance(config, PaperTalkerTaskConfig)
        torch.manual_seed(0)
        task = PaperTalkerTask(replace(config, identity_init=""), train, val, CPU)
        train_task(task, tmp_path / reduction, Distributed(0, 1, CPU))
        l1 = np.loadtxt(tmp_path / reduction / "losses.tsv", skiprows=1)[:, 2]
        falls[reduction] = l1[-4:].mean() / l1[:2].mean()
    assert falls["sum"] < 0.8
    assert falls["mean"] > 0.98
