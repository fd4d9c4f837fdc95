"""The training job for one GPU: packing is near lossless, examples follow the recipe, and it runs at toy length."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from speech2vid.constants import FACE_PX, MOUTH_POINTS
from speech2vid.data.records import Track
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.models.face_recognition import FaceRecognition
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
from speech2vid.runtime.torch import load
from speech2vid.training.dataset import TrackSet
from speech2vid.training.task import Batch
from speech2vid.training.tasks.paper_talker import (
    PaperTalkerTask,
    PaperTalkerTaskConfig,
    lower_face,
    mean_mouth_region,
    mouth_movement,
)

CPU = torch.device("cpu")
# On the GPU machine these are not installed; `run` must not need them.
ABSENT = (
    "av",
    "dlib",
    "typer",
    "rich",
    "onnx",
    "onnxruntime",
    "PIL",
    "tensorboard",
    "face_recognition_models",
    "scipy",
)
WITHOUT = f"""
import runpy, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in {ABSENT!r} else self.finder.find_spec(name, *rest)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.argv[0] = "run"
runpy.run_module("research.gpu_job.run", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def job(root: Path) -> Any:
    """The modules of the job."""
    sys.path.insert(0, str(root))
    try:
        from research.gpu_job import packed, stages, tracks, validation

        yield {"packed": packed, "stages": stages, "tracks": tracks, "validation": validation}
    finally:
        sys.path.remove(str(root))


@pytest.fixture(scope="module")
def packed(job: dict[str, ModuleType]) -> ModuleType:
    return job["packed"]


@pytest.fixture(scope="module")
def stages(job: dict[str, ModuleType]) -> ModuleType:
    return job["stages"]


@pytest.fixture(scope="module")
def train(drawn_tracks: Callable[..., list[Track]]) -> TrackSet:
    return TrackSet([*drawn_tracks(2, 2), *drawn_tracks(1, 1, first=2, frames=60)])


@pytest.fixture(scope="module")
def on_device(job: dict[str, ModuleType], train: TrackSet) -> Any:
    """The same tracks, as the job holds them."""
    tracks = [track for own in train.by_speaker.values() for track in own]
    table = [job["packed"].PackedTrack(track.key, track.speaker, "train", len(track)) for track in tracks]
    split = job["packed"].Split(
        table,
        np.concatenate([track.frames for track in tracks]),
        np.concatenate([job["packed"].mfcc_rows(track.windows) for track in tracks]),
        np.concatenate([track.landmarks[:, MOUTH_POINTS] for track in tracks]),
        np.zeros((sum(map(len, tracks)), 8), np.float32),
    )
    return job["tracks"].Tracks(split, CPU)


def test_compressed_numbers_are_read_exactly(packed: ModuleType) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(-32768, 32768, (50, 3)).astype(np.int16)
    numbers[10:20] = [[-32768, 32767, 0]]
    assert (packed.decompress(packed.compress(numbers), 3) == numbers).all()


def test_windows_are_those_of_the_dataset(train: TrackSet, on_device: Any) -> None:
    windows = np.concatenate([track.windows for own in train.by_speaker.values() for track in own])
    frames = torch.arange(len(on_device))
    assert np.array_equal(on_device.windows(frames).numpy(), windows)
    assert np.allclose(on_device.windows(frames, torch.ones(len(frames))).numpy(), windows, atol=1e-5)
    faster = on_device.windows(frames, torch.full((len(frames),), 1.1))
    assert np.array_equal(faster[..., 17].numpy(), windows[..., 17])  # the middle stays
    assert torch.isfinite(faster).all()


def test_examples_keep_stills_and_targets_apart(on_device: Any) -> None:
    torch.manual_seed(0)
    example = on_device.draw(people=400, targets=6, single=0.3, other_track=0.4)
    stills, targets = (on_device.track_of[each] for each in example)
    assert (stills == stills[:, :1]).all()
    assert (targets == targets[:, :1]).all()
    own = [set(on_device.tracks_of(speaker)) for speaker in range(len(on_device.names))]
    speaker_of = {track: speaker for speaker, tracks in enumerate(own) for track in tracks}
    pairs = list(zip(stills[:, 0].tolist(), targets[:, 0].tolist(), strict=True))
    assert all(speaker_of[still] == speaker_of[target] for still, target in pairs)
    has_another = [pair for pair in pairs if len(own[speaker_of[pair[1]]]) > 1]
    assert 0.3 < np.mean([still != target for still, target in has_another]) < 0.5
    single = (example.stills == example.stills[:, :1]).all(1)
    assert 0.2 < single.double().mean() < 0.4
    openings = on_device.opening[example.stills]
    assert (openings.diff(dim=1) >= 0).all()
    distance = (example.targets[:, :, None] - example.stills[:, None]).abs().amin((1, 2))
    assert (distance[single & (stills[:, 0] == targets[:, 0])] >= 9).all()


def test_losses_are_those_of_the_task(train: TrackSet, stages: ModuleType) -> None:
    torch.manual_seed(0)
    landmark_network = MouthLandmarkNetwork(4).eval()
    config = PaperTalkerTaskConfig(
        batch=2, frames=3, loss="content", mouth=1.0, difference=3.0, keypoints=0.3, network=PaperTalkerConfig("small")
    )
    task = PaperTalkerTask(config, train, train, CPU, landmark_network)
    items = [task.draw(np.random.default_rng(number)) for number in range(2)]
    batch: Batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
    generated = torch.rand(6, 3, 109, 109)
    expected = task.terms(lambda *_: generated, batch)  # type: ignore[arg-type]
    box, face_network = _box(stages), FaceRecognition.from_dlib(model_path(RECOGNITION_FILE))
    target = batch["faces"].flatten(0, 1).movedim(-1, 1).float() / 255
    found = stages.losses(generated, target, batch["mouths"], box, landmark_network, face_network)
    assert set(found) == set(stages.TERMS)
    for name, value in found.items():
        assert float(value) == pytest.approx(float(expected["image" if name == "l1" else name]), rel=1e-4), name
    assert torch.equal(stages.lower_face(generated), lower_face(generated))


def test_movement_is_that_of_the_task(job: dict[str, ModuleType]) -> None:
    rng = np.random.default_rng(0)
    generated, target = rng.random((2, 20, 3, 8, 9), np.float32)
    openings = rng.random(20, np.float32) * 5
    expected = mouth_movement(generated, target, openings)
    assert job["validation"].movement(generated, target, openings) == pytest.approx(tuple(expected.values()))


def test_face_network_survives_packing(packed: ModuleType, tmp_path: Path) -> None:
    from speech2vid.models.dlib_file import read_layers

    path, original = tmp_path / "face_network.safetensors", model_path(RECOGNITION_FILE)
    packed.write_face_network(path, *read_layers(original))
    assert path.stat().st_size < 7 << 20
    colours, layers = packed.read_face_network(path)
    faces = torch.rand(2, 3, 150, 150, generator=torch.Generator().manual_seed(0))
    stored = FaceRecognition(torch.from_numpy(colours), layers)(faces).embedding
    assert (stored - FaceRecognition.from_dlib(original)(faces).embedding).norm(dim=1).max() < 0.03


def _box(stages: ModuleType) -> Any:
    rows, columns = np.nonzero(mean_mouth_region()[0, 0].numpy())
    return stages.mouth_slices([rows.min(), rows.max(), columns.min(), columns.max()])


@pytest.mark.slow
def test_packed_trained_and_joined(
    root: Path,
    drawn_store: Callable[..., Path],
    tmp_path: Path,
    packed: ModuleType,
    drawn_tracks: Callable[..., list[Track]],
) -> None:
    """The whole job at toy length; the training runs without the packages that the GPU machine lacks."""
    store, data, results, weights = (tmp_path / name for name in ("store", "data", "results", "weights"))
    drawn_store(store, wide=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]), "OMP_NUM_THREADS": "1"}

    def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)

    module = ("-m", "research.gpu_job.pack", "--data", store, "--out", data)
    small = python(*module, "--limit-mib", "5")
    assert small.returncode == 1
    assert "do not fit" in small.stderr
    assert not data.exists()
    done = python(*module, "--limit-mib", "8", "--preset", "ultrafast")
    assert done.returncode == 0, done.stderr
    assert "PSNR" in done.stdout
    assert len(done.stdout[done.stdout.index("On the GPU machine") :]) < 2000
    assert sum(path.stat().st_size for path in data.iterdir()) < 8 << 20
    assert python(*module).returncode == 1  # it is there already

    _, splits = packed.read_splits(data, ("train", "val"))
    assert [len(splits[name].tracks) for name in ("train", "val")] == [6, 4]
    first = drawn_tracks(1, 1)[0]
    assert splits["train"].tracks[0].key == first.record.key
    error = np.abs(splits["train"].faces[: len(first)].astype(int) - first.frames)
    assert error.mean() < 4
    assert splits["train"].faces.shape[1:] == (FACE_PX, FACE_PX, 3)
    assert np.abs(splits["train"].mouths[: len(first)] - first.landmarks[:, MOUTH_POINTS]).max() <= 1 / 16 + 1e-5
    assert np.std(splits["train"].motion, axis=0) == pytest.approx(np.ones(8), abs=0.1)

    options = ["--data", data, "--out", results, "--size", "small", "--steps", "2", "--people", "2", "--frames", "2"]
    options += [
        "--small-batch",
        "4",
        "--landmark-width",
        "4",
        "--generation",
        "0",
        "--content-from",
        "0.4",
        "--device",
        "cpu",
    ]
    done = python("-c", WITHOUT, *options)
    assert done.returncode == 0, done.stderr
    for said in (
        "mouth landmarks:",
        "audio encoder:",
        "training, 2 people",
        "paper_talker.frames, 1 at once",
        "conv5",
    ):
        assert said in done.stdout
    names, values = ((results / "curve.tsv").read_text().splitlines()[i].split("\t") for i in (0, -1))
    assert np.isfinite(dict(zip(names, map(float, values), strict=True))["val_mouth_correlation"])
    assert (results / "sheet.png").is_file()
    assert all(path.stat().st_size <= 15 << 20 for path in results.iterdir())

    done = python("-m", "research.gpu_job.join", results, weights)
    assert done.returncode == 0, done.stderr
    network, header = load(weights / "paper_talker.safetensors", PaperTalker)
    assert network.config == PaperTalkerConfig("small", "v201", decoder_norm=True)
    assert header.data.startswith("6 tracks of 3 speakers")
    assert "mouth_correlation" in header.metrics
    assert {path.name for path in weights.glob("*.onnx")} == {"paper_talker.identity.onnx", "paper_talker.frames.onnx"}
    part = results / "paper_talker.safetensors.part0"
    part.write_bytes(part.read_bytes()[:-100])
    assert python("-m", "research.gpu_job.join", results, tmp_path / "other").returncode == 1
