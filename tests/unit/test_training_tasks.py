"""The stages: what they draw, what they ask of a network, how they judge it."""

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
from speech2vid.models.audio_to_mouth import ShapePredictorConfig
from speech2vid.models.mouth_discriminator import MouthCritic, patch_weight
from speech2vid.models.mouth_landmarks import ShapeReader
from speech2vid.models.paper_talker import TalkerConfig
from speech2vid.models.warp_decoder import REGION_LEFT, REGION_TOP, region_grid
from speech2vid.models.warp_talker import WarpTalkerConfig
from speech2vid.runtime.torch import save
from speech2vid.runtime.weights import read_weights
from speech2vid.training.audio_augment import change, degraded
from speech2vid.training.config import PictureConfig, ReaderConfig, SoundConfig, TalkerStageConfig
from speech2vid.training.dataloader import Feed
from speech2vid.training.dataset import TrackSet
from speech2vid.training.distributed import Processes
from speech2vid.training.loop import CHECKPOINT, train_stage
from speech2vid.training.mouth_masks import MIRROR, REGION_RGB, between_lips, emphasis, mirrored, mouth_box, opening
from speech2vid.training.neutral_mouth import closed_mouths, fit_rest
from speech2vid.training.task import Batch, Stage, Validation, pixels
from speech2vid.training.tasks.audio_to_mouth import SoundStage, movements, principal_components
from speech2vid.training.tasks.mouth_landmarks import ReaderStage
from speech2vid.training.tasks.paper_talker import TalkerStage, usual_mouth
from speech2vid.training.tasks.warp_talker import PictureStage
from speech2vid.training.visualize import contact_sheet, contact_video

CPU = torch.device("cpu")
MakeTracks = Callable[..., list[Track]]

READER = ReaderConfig(batch=4, width=4)
PICTURE = PictureConfig(batch=2, frames=2, network=WarpTalkerConfig(width=4))
SOUND = SoundConfig(batch=4, phone_model="none", lags="none", network=ShapePredictorConfig(width=16, dropout=0.0))
TALKER = TalkerStageConfig(batch=2, frames=2, gradient=0.5, mouth=1.0, network=TalkerConfig(size="compact"))


@pytest.fixture(scope="module")
def train(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(3))


@pytest.fixture(scope="module")
def val(drawn_tracks: MakeTracks) -> TrackSet:
    return TrackSet(drawn_tracks(2, first=3, tracks=1, split="val"))


@pytest.fixture(scope="module")
def stages(train: TrackSet, val: TrackSet) -> dict[str, Stage]:
    torch.manual_seed(0)
    return {
        "reader": ReaderStage(READER, train, val, CPU),
        "picture": PictureStage(PICTURE, train, val, CPU, ShapeReader(4)),
        "sound": SoundStage(SOUND, train, val, CPU),
        "talker": TalkerStage(TALKER, train, val, CPU),
    }


def batch_of(stage: Stage, step: int = 0, rank: int = 0, count: int = 1) -> Batch:
    return next(Feed(stage, Processes(rank, count, CPU)).batches(step, step + 1))


@pytest.mark.parametrize("name", ["reader", "picture", "sound", "talker"])
def test_a_batch_follows_from_the_step_and_is_shared_evenly(name: str, stages: dict[str, Stage]) -> None:
    stage = stages[name]
    whole, again, next_one = batch_of(stage), batch_of(stage), batch_of(stage, step=1)
    halves = [batch_of(stage, rank=rank, count=2) for rank in range(2)]
    for key, tensor in whole.items():
        assert len(tensor) == stage.config.batch
        assert torch.equal(tensor, again[key])
        assert torch.equal(tensor, torch.cat([half[key] for half in halves]))
    assert any(not torch.equal(tensor, next_one[key]) for key, tensor in whole.items())


@pytest.mark.parametrize("name", ["reader", "picture", "sound", "talker"])
def test_a_step_reaches_every_weight(name: str, stages: dict[str, Stage]) -> None:
    stage = stages[name]
    stage.network.train()
    if name == "picture":  # flow and residual start at zero: what lies before them learns from the second step on
        with torch.no_grad():
            for weight in stage.network.parameters():
                if weight.requires_grad:
                    weight.add_(0.01 * torch.randn_like(weight))
    terms = stage.terms(stage.network, batch_of(stage))
    assert terms.keys() == stage.weights.keys()
    assert all(term.isfinite() and term.dim() == 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for key, weight in stage.network.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, key
            if ".phones." in key:
                continue  # without a phone model there is nothing to learn from it
            assert weight.grad.abs().sum() > 0, key
    stage.network.zero_grad()


@pytest.mark.parametrize("name", ["reader", "picture", "sound", "talker"])
def test_judged_by_speakers_it_has_not_seen(name: str, stages: dict[str, Stage], val: TrackSet) -> None:
    stage = stages[name]
    with torch.no_grad():
        judged = stage.validate(stage.network.eval())
    assert set(judged.by_speaker) == set(val.by_speaker)
    assert judged.choose_by in judged.metrics
    assert np.isfinite(list(judged.metrics.values())).all()
    if judged.sheet is not None:
        assert judged.sheet.dtype == np.uint8
        assert judged.sheet.std() > 10
        assert judged.video is not None
        assert judged.video.dtype == np.uint8
        assert judged.video.shape[0] == 25
        assert judged.video[:, :20].std() > 10


def test_each_speaker_counts_the_same() -> None:
    judged = Validation({"anna": {"r": 1.0}, "ben": {"r": 0.0}}, "r", higher_is_better=True)
    assert judged.metrics == {"r": 0.5}
    assert judged.cost == -0.5


@pytest.mark.slow
def test_the_picture_stage_learns_from_its_shapes(train: TrackSet, val: TrackSet) -> None:
    """With the true shape it beats the same network given the shapes of other frames."""
    torch.manual_seed(0)
    settings = replace(PICTURE, features=0.0, shape=0.0, adversarial=0.0, match=0.0, batch=4)
    stage = PictureStage(settings, train, val, CPU, None)
    optimiser = torch.optim.AdamW(stage.network.parameters(), 3e-3)
    first = []
    for step in range(40):
        loss = stage.terms(stage.network.train(), batch_of(stage, step))["l1"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first.append(loss.item())
    assert np.mean(first[-5:]) < 0.8 * np.mean(first[:5])
    batch = batch_of(stage, 1000)
    with torch.no_grad():
        true = stage.terms(stage.network, batch)["l1"]
        wrong = stage.terms(stage.network, {**batch, "asked": batch["asked"].flip(0, 1)})["l1"]
    assert true < 0.9 * wrong


def test_the_reader_judges_but_does_not_learn(stages: dict[str, Stage]) -> None:
    stage = stages["picture"]
    assert isinstance(stage, PictureStage)
    assert stage.reader is not None
    assert not any(weight.requires_grad for weight in stage.reader.parameters())
    before = {key: value.clone() for key, value in stage.reader.state_dict().items()}
    stage.terms(stage.network.train(), batch_of(stage))["shape"].backward()
    assert all(torch.equal(value, before[key]) for key, value in stage.reader.state_dict().items())
    stage.network.zero_grad()


def test_without_a_reader_its_terms_are_gone(train: TrackSet, val: TrackSet) -> None:
    assert set(PictureStage(PICTURE, train, val, CPU, None).weights) == {
        *("l1", "gradient", "smooth", "residual", "undecided", "critic", "adversarial", "match")
    }


def test_without_its_weights_there_is_no_critic(train: TrackSet, val: TrackSet) -> None:
    stage = PictureStage(replace(PICTURE, adversarial=0.0, match=0.0), train, val, CPU, None)
    assert stage.critic is None
    terms = stage.terms(stage.network.train(), batch_of(stage))
    assert terms.keys() == stage.weights.keys() == {"l1", "gradient", "smooth", "residual", "undecided"}


def test_critic_and_picture_learn_from_their_own_terms(stages: dict[str, Stage]) -> None:
    stage = stages["picture"]
    assert isinstance(stage, PictureStage)
    assert stage.critic is not None
    networks = {"network": stage.network.train(), "critic": stage.critic}
    for name, learns in {"critic": "critic", "adversarial": "network", "match": "network"}.items():
        stage.terms(stage.network, batch_of(stage))[name].backward()
        for network, module in networks.items():
            reached = any(each.grad is not None and each.grad.abs().sum() > 0 for each in module.parameters())
            assert reached == (network == learns), (name, network)
            module.zero_grad()


def test_the_critic_gets_in_slowly_and_the_head_is_faster(stages: dict[str, Stage]) -> None:
    stage = stages["picture"]
    for step, share in ((0, 0.0), (50, 0.25), (200, 1.0), (900, 1.0)):
        weights = stage.weights_at(step)
        assert weights["adversarial"] == pytest.approx(share * PICTURE.adversarial)
        assert weights["match"] == pytest.approx(share * PICTURE.match)
        assert (weights["critic"], weights["l1"]) == (1.0, PICTURE.l1)
    names = [name for name, _ in stage.network.named_parameters()]
    assert all(any(name.startswith(start) for name in names) for start in stage.faster)


def test_slots_with_one_still_are_known(stages: dict[str, Stage]) -> None:
    for step in range(20):
        batch = batch_of(stages["picture"], step)
        stills = batch["stills"].flatten(2)
        same = (stills[:, :, None] == stills[:, None]).all(-1)
        assert torch.equal(batch["same"] > 0, same)


def test_a_resumed_picture_stage_repeats_an_unbroken_one(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    here = Processes(0, 1, CPU)

    def run(folder: str, steps: int, resume: bool = False) -> str:
        torch.manual_seed(0)
        stage = PictureStage(replace(PICTURE, steps=steps, decay=0.0, validate_every=2), train, val, CPU, None)
        train_stage(stage, tmp_path / folder, here, resume=resume)
        return read_weights(tmp_path / folder / CHECKPOINT)[0].sha256

    run("broken", 2)
    assert run("broken", 4, resume=True) == run("whole", 4)


def test_the_critic_can_tell_blur_from_truth(train: TrackSet) -> None:
    torch.manual_seed(0)
    critic = MouthCritic(8)
    mouths = torch.from_numpy(train[0].landmarks[:16, MOUTH_POINTS])
    true, between = pixels(torch.from_numpy(train[0].frames[:16][REGION_RGB])), between_lips(mouths)
    made = torch.nn.functional.avg_pool2d(true, 5, 1, 2)
    counts = patch_weight(between)
    assert counts.shape == critic(true, between)[0].shape
    assert 0.05 <= counts.min() < 0.1
    assert counts.max() > 0.3
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2, betas=(0.5, 0.9))
    for _ in range(25):
        paid = hinge(critic(true, between)[0], critic(made, between)[0]).mean()
        optimiser.zero_grad()
        paid.backward()
        optimiser.step()
    with torch.no_grad():
        assert critic(true, between)[0].mean() > critic(made, between)[0].mean() + 0.5


def test_one_image_is_the_one_in_the_middle(train: TrackSet, val: TrackSet) -> None:
    config = replace(TALKER, network=TalkerConfig(size="compact", identity_images=1))
    stage = TalkerStage(config, train, val, CPU)
    assert stage.draw(np.random.default_rng(0))["stills"].shape == (1, FACE_PX, FACE_PX, 3)


def test_the_talker_knows_the_data_it_normalises(stages: dict[str, Stage], train: TrackSet) -> None:
    network = stages["talker"].network
    middle = np.concatenate([track.windows[:, 0, :, 17] for track in train.tracks])
    np.testing.assert_allclose(network.get_buffer("audio_encoder.mfcc_mean").ravel(), middle.mean(0), rtol=1e-3)
    assert 40 < float(network.get_buffer("identity_encoder.pixel_mean").mean()) < 200


def test_a_mirror_image_twice_is_the_image(train: TrackSet) -> None:
    track = train[0]
    frames, landmarks = mirrored(*mirrored(track.frames, track.landmarks))
    assert np.array_equal(frames, track.frames)
    np.testing.assert_allclose(landmarks, track.landmarks, atol=1e-4)
    assert np.array_equal(MIRROR[MIRROR], np.arange(68))
    once, turned = mirrored(track.frames, track.landmarks)
    x, y = turned[0, 48].round().astype(int)  # still the corner of the mouth on the left of the picture
    assert np.array_equal(once[0, y, x], track.frames[0, y, FACE_PX - 1 - x])
    assert turned[0, 48, 0] < turned[0, 54, 0]


def test_the_mouth_counts_most(train: TrackSet) -> None:
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


def test_the_closed_mouth_is_found_and_can_be_told_from_any_frame(train: TrackSet) -> None:
    closed = closed_mouths(train)
    weight = fit_rest(train, np.random.default_rng(0))
    assert weight.shape == (40, 137)
    for track in train.tracks:
        rest = torch.from_numpy(closed[track.key])
        assert opening(rest) < np.quantile(track.opening, 0.25)
        widest = track.landmarks[track.opening.argmax()]
        told = (weight @ np.append(widest.ravel() / FACE_PX, 1.0)).reshape(20, 2)
        assert np.abs(told - closed[track.key]).mean() < 0.5 * np.abs(widest[MOUTH_POINTS] - closed[track.key]).mean()


def test_movements_start_at_the_closed_mouth_and_are_alike(train: TrackSet) -> None:
    plain, alike = movements(train, 0.0), movements(train, 1.0)
    for track in train.tracks:
        opens = opening(torch.from_numpy(plain[track.key].reshape(-1, 20, 2) + closed_mouths(train)[track.key])).numpy()
        assert np.corrcoef(opens, track.opening)[0, 1] > 0.99
    assert any(not np.allclose(plain[key], alike[key]) for key in plain)


def test_principal_components_explain_the_movement(train: TrackSet) -> None:
    moved = np.concatenate(list(movements(train, 0.0).values()))
    directions, deviations = principal_components(moved, 4)
    np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=1e-5)
    assert (np.diff(deviations) <= 0).all()
    assert np.square(moved - moved @ directions.T @ directions).sum() < 0.01 * np.square(moved).sum()


def test_sound_and_movement_stay_together_whatever_the_speed(train: TrackSet, val: TrackSet) -> None:
    """Loudness in the middle row of each frame follows the mouth, at every speed and start."""
    plain = {"voice": 0.0, "room": 0.0, "noise": 0.0, "hide": 0.0, "silent": 0.0, "degraded": 0.0}
    stage = SoundStage(replace(SOUND, earlier_frames=0.0, speed=1.0, frames=24, **plain), train, val, CPU)
    agreements = []
    for seed in range(20):
        item = stage.draw(np.random.default_rng(seed))
        middle = item["views"][31 : 31 + 4 * 24 : 4, :64].max(axis=1)
        known = item["known"] > 0
        opens = item["wanted"] @ (stage.network.basis.numpy().reshape(-1, 20, 2)[:, [5, 6, 7, 8, 9], 1].mean(1))
        agreements.append(np.corrcoef(np.exp(middle[known] / 2), opens[known])[0, 1])
    assert np.median(agreements) > 0.9


def test_in_silence_the_mouth_rests(stages: dict[str, Stage]) -> None:
    stage = stages["sound"]
    assert isinstance(stage, SoundStage)
    stage.config = replace(SOUND, silent=1.0)
    item = stage.draw(np.random.default_rng(0))
    stage.config = SOUND
    assert not item["wanted"].any()
    assert item["known"].all()
    assert item["views"].shape == stage.draw(np.random.default_rng(0))["views"].shape


def test_another_start_keeps_what_the_outputs_mean(train: TrackSet, val: TrackSet, tmp_path: Path) -> None:
    """Targets are told in the components of the file that is started from, not in those of the new data."""
    first = SoundStage(SOUND, train, val, CPU)
    turned = first.network.basis[torch.arange(8).roll(1)] * 1.5
    first.network.basis.copy_(turned)
    save(first.network, tmp_path / "first.safetensors")
    again = SoundStage(replace(SOUND, start=str(tmp_path / "first.safetensors")), train, val, CPU)
    assert torch.equal(again.network.basis, turned)
    plain = {"voice": 0.0, "room": 0.0, "noise": 0.0, "hide": 0.0, "silent": 0.0, "degraded": 0.0, "speed": 0.0}
    items = []
    for stage in (SoundStage(SOUND, train, val, CPU), again):
        stage.config = replace(stage.config, **plain)
        items.append(stage.draw(np.random.default_rng(3))["wanted"] @ stage.network.basis.numpy())
    np.testing.assert_allclose(*items, atol=1e-4)


def test_a_lag_is_taken_out_of_the_targets(train: TrackSet, val: TrackSet) -> None:
    stage = SoundStage(SOUND, train, val, CPU)
    stage.config = replace(SOUND, silent=0.0, speed=0.0)
    late = dict.fromkeys(train.by_speaker, 2.0)
    before = stage.draw(np.random.default_rng(1))["wanted"]
    stage._lags = late
    after = stage.draw(np.random.default_rng(1))["wanted"]
    assert not np.allclose(after, before, atol=0.3)
    np.testing.assert_allclose(after[:-3], before[2:-1], atol=0.3)


def test_the_mouth_of_an_aligned_face_is_where_it_is_looked_for(val: TrackSet) -> None:
    box = usual_mouth()[0, 0].numpy()
    inside = [box[tuple((point - 1).round().astype(int)[::-1])] for point in val[0].landmarks[0, MOUTH_POINTS]]
    assert all(inside)
    assert 0.06 < box.mean() < 0.12


def test_members_are_judged_by_their_mean(train: TrackSet, val: TrackSet) -> None:
    torch.manual_seed(0)
    stage = SoundStage(replace(SOUND, network=ShapePredictorConfig(width=16, members=2, dropout=0.0)), train, val, CPU)
    rows = torch.zeros(1, 89, 65 + 4 * 5)
    network = stage.network.eval()
    with torch.no_grad():
        both = network(rows)
        assert both.shape == (1, 6, 20, 2)
        network.members = network.members[:1]
        assert not torch.allclose(both, network(rows))


@pytest.mark.parametrize("seed", range(3))
def test_changed_sound_is_still_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(-4, 2, (120, 64)).clip(-9).astype(np.float32)
    all_of_it = SoundConfig(voice=1.0, room=1.0, noise=1.0, hide=1.0)
    changed = change(rows, all_of_it, rng)
    assert changed.shape == rows.shape
    assert np.isfinite(changed).all()
    assert not np.allclose(changed, rows)
    none_of_it = SoundConfig(voice=0.0, room=0.0, noise=0.0, hide=0.0)
    np.testing.assert_allclose(change(rows, none_of_it, rng), rows, atol=1e-2)
    sound = (0.1 * rng.standard_normal(16000)).astype(np.float32)
    worse = degraded(sound, rng)
    assert worse.shape == sound.shape
    assert np.abs(worse).max() <= 1
    assert np.corrcoef(worse, sound)[0, 1] > 0.2


def test_a_sheet_has_a_row_for_each() -> None:
    red, blue = (np.full((4, 6, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = contact_sheet([[red, blue], [blue]])
    assert sheet.shape == (8, 12, 3)
    assert sheet[5, 8].tolist() == [128, 128, 128]


def test_a_video_has_a_row_for_each_and_ends_with_the_shortest() -> None:
    videos = [np.full((length, 4, 6, 3), level, np.uint8) for length, level in ((5, 10), (3, 20), (9, 30))]
    made = contact_video([[videos[0], videos[1]], [videos[2], videos[2]]])
    assert made.shape == (3, 8, 12, 3)
    assert made[2, 1, 1, 0] == 10
    assert made[2, 1, 8, 0] == 20
    assert made[0, 5, 8, 0] == 30
