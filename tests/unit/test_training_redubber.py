"""Re-dubbing tasks: their dataset, their items, and resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2vid.errors import ConfigError, DataError
from speech2vid.inference.occlusion import PART
from speech2vid.models.face_recognition import TAPS
from speech2vid.models.paper_redubber import RedubberConfig
from speech2vid.training.config import load_config
from speech2vid.training.dataloader import BatchLoader
from speech2vid.training.dataset import TrackSet, load_splits
from speech2vid.training.distributed import Distributed
from speech2vid.training.loop import train_task
from speech2vid.training.redub_dataset import RedubDataset, build_dataset, training_examples, validation_examples
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Run
from speech2vid.training.tasks import TASKS
from speech2vid.training.tasks.paper_redubber import PaperRedubberTaskConfig
from speech2vid.training.tasks.redubber import RedubberTask, RedubberTaskConfig
from speech2vid.training.tasks.warp_redubber import WarpRedubberTask, WarpRedubberTaskConfig

HERE = Distributed(0, 1, torch.device("cpu"))
CONFIG = WarpRedubberTaskConfig(batch=2, people=3, frames=2, steps=4, validate_every=2)
PAPER = PaperRedubberTaskConfig(batch=2, people=3, frames=2, steps=4, validate_every=2)
Splits = tuple[TrackSet, TrackSet]


def redubber_task(
    config: RedubberTaskConfig, train: TrackSet, val: TrackSet, store: Path, folder: Path
) -> RedubberTask:
    name = "warp_redubber" if isinstance(config, WarpRedubberTaskConfig) else "paper_redubber"
    task = TASKS[name].build(config, Run(train, val, HERE, folder, store))
    assert isinstance(task, RedubberTask)
    return task


@pytest.fixture(scope="module")
def store(drawn_store: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_store(tmp_path_factory.mktemp("redubber") / "store")


@pytest.fixture(scope="module")
def splits(store: Path) -> Splits:
    return load_splits(store)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("painted")


@pytest.fixture(scope="module")
def task(splits: Splits, store: Path, folder: Path) -> WarpRedubberTask:
    task = redubber_task(CONFIG, *splits, store, folder)
    assert isinstance(task, WarpRedubberTask)
    return task


def test_a_painted_mouth_is_laid_into_the_face(task: WarpRedubberTask, folder: Path) -> None:
    dataset = RedubDataset.read(folder / "train")
    assert len(dataset) == task.samples == 6
    assert dataset.faces.shape == dataset.painted.shape == (6, 128, 160, 3)
    change = np.abs(dataset.faces.astype(int) - dataset.painted).max(axis=(0, 3))
    assert change[:, :2].max() == change[:, -2:].max() == 0  # beyond the generated region
    assert change[30:80, 40:120].max() > 20


def test_nothing_of_the_true_mouth_is_in_what_is_painted(splits: Splits, store: Path, tmp_path: Path) -> None:
    """The same example, its target frames with another mouth in the pictures: the painted mouth stays."""
    train, _ = splits
    example = validation_examples(train)[0]
    still = np.repeat(example.stills[:1], 5)
    example = replace(example, targets=example.targets[:1], stills=still)
    target = build_dataset(tmp_path / "true", store, "train", train, [example], what="warp")
    frame = int(example.targets[0])
    other = int(np.argmax(np.abs(train[example.track].opening - train[example.track].opening[frame])))
    assert abs(train[example.track].opening[frame] - train[example.track].opening[other]) > 1
    swapped = replace(example, targets=np.array([other]))
    track = train[example.track]
    kept = track.landmarks[other].copy()
    try:
        track.landmarks[other] = track.landmarks[frame]  # the mouth asked for is the first one's, the face another
        painted = build_dataset(tmp_path / "other", store, "train", train, [swapped], what="warp").painted[0]
    finally:
        track.landmarks[other] = kept
    mouth = np.s_[24:90, 40:120]
    assert np.abs(painted[mouth].astype(int) - target.painted[0][mouth]).max() <= 2
    faces = [
        build_dataset(tmp_path / name, store, "train", train, [each], what="audio").faces[0]
        for name, each in (("a", example), ("b", swapped))
    ]
    assert np.abs(faces[0][PART][mouth].astype(int) - faces[1][PART][mouth]).max() > 60


def test_stills_are_other_frames(splits: Splits) -> None:
    for example in training_examples(
        splits[0], StillMix(0.3, 0.2, 0.3, every=1), 40, 3, 0, near=0.5
    ) + validation_examples(splits[1]):
        if example.track == example.still_track:
            assert not set(example.targets.tolist()) & set(example.stills.tolist())


def test_what_is_painted_already_stays(task: WarpRedubberTask, splits: Splits, store: Path, folder: Path) -> None:
    before = (folder / "train" / "painted.npy").stat().st_mtime_ns
    redubber_task(CONFIG, *splits, store, folder)
    assert (folder / "train" / "painted.npy").stat().st_mtime_ns == before
    examples = training_examples(splits[0], StillMix(every=1), 1, 1, 5)
    assert len(build_dataset(folder / "train", store, "train", splits[0], examples, what="warp")) == 1  # another recipe


def test_a_store_without_faces_at_224_px_is_named(
    splits: Splits, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speech2vid.data.store.CONTEXT", "missing")
    with pytest.raises(DataError, match="no faces at 224 px"):
        build_dataset(tmp_path / "x", store, "val", splits[1], validation_examples(splits[1]), what="audio")
    assert not list(tmp_path.iterdir())


def test_the_target_s_mouth_is_not_in_the_input(task: WarpRedubberTask) -> None:
    for seed in range(6):
        item = task.draw(np.random.default_rng(seed))
        hidden = item["area"][0] == 1
        assert np.ptp(item["context"][:, hidden], axis=1).max() < 1e-5
        assert np.abs(item["context"] - item["face"])[:, item["area"][0] == 0].max() < 1e-5
        assert item["base"].shape == item["face"].shape == (3, 128, 160)
        assert item["region"][item["area"] == 0].max() == 0


@pytest.mark.parametrize("config", [CONFIG, PAPER, replace(PAPER, loss="content")], ids=["warp", "audio", "content"])
def test_a_step_reaches_the_weights(config: RedubberTaskConfig, splits: Splits, store: Path, tmp_path: Path) -> None:
    task = redubber_task(config, *splits, store, tmp_path)
    batch = next(BatchLoader(task, HERE).batches(0, 1))
    terms = task.terms(task.network, batch)
    assert set(terms) == set(task.weights)
    if config.network.generation == "audio":
        assert set(terms) == {*(("image", *TAPS) if config.loss == "content" else ("l1",)), "gradient"}
    assert all(torch.isfinite(term) for term in terms.values())
    sum(terms.values()).backward()
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in task.network.parameters())
    with torch.no_grad():
        judged = task.validate(task.network.eval())
    assert set(judged.by_speaker) == {"speaker3", "speaker4"}
    assert judged.sheet is not None


def test_it_learns_to_correct_colours(splits: Splits, store: Path, folder: Path) -> None:
    config = replace(CONFIG, steps=40, batch=2, warmup=2, decay=0.0, ema=0.8, adversarial=0.0, feature_matching=0.0)
    task = redubber_task(config, *splits, store, folder)
    assert task.discriminator is None
    batches = list(BatchLoader(task, HERE).batches(1000, 1003))  # of none of its steps

    def cost() -> float:
        with torch.no_grad():
            return float(np.mean([task.terms(task.network.train(), batch)["l1"].item() for batch in batches]))

    before = cost()
    train_task(task, folder / "learns", HERE)
    assert cost() < 0.85 * before


def test_a_resumed_training_repeats_an_unbroken_one(splits: Splits, store: Path, tmp_path: Path) -> None:
    def run(name: str, steps: int, resume: bool = False) -> str:
        task = redubber_task(replace(CONFIG, steps=steps, decay=0.0), *splits, store, tmp_path / "painted")
        train_task(task, tmp_path / name, HERE, resume=resume)
        return (tmp_path / name / "losses.tsv").read_text()

    run("broken", 2)
    assert run("broken", 4, resume=True) == run("whole", 4)


def test_presets() -> None:
    assert load_config("paper", "redubber") == load_config("redubber-paper")
    paper = load_config("paper", "redubber").tasks["paper_redubber"]
    assert isinstance(paper, PaperRedubberTaskConfig)
    assert (paper.network.generation, paper.network.size, paper.optimiser) == ("audio", "paper", "sgd")
    assert paper.reduction == "sum"
    assert "paper_talker" in load_config("paper", "talker").tasks
    compact = load_config("compact-audio", "redubber").tasks["paper_redubber"]
    assert isinstance(compact, PaperRedubberTaskConfig)
    assert compact.network == RedubberConfig("audio", "compact")


def test_tracks_in_memory_are_not_enough(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="task warp_redubber needs a sample store"):
        TASKS["warp_redubber"].build(CONFIG, Run(*splits, HERE, tmp_path))
