"""A whole training: the tasks of a config, one after the other, and the weight files and graphs they end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from speech2vid.errors import ConfigError
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.runtime.torch import fill
from speech2vid.training.config import (
    AudioEncoderTaskConfig,
    AudioToMouthTaskConfig,
    IdentityTaskConfig,
    MouthLandmarksTaskConfig,
    PaperTalkerTaskConfig,
    RedubberTaskConfig,
    SharpenerTaskConfig,
    SyncTaskConfig,
    TrainConfig,
    WarpTalkerTaskConfig,
)
from speech2vid.training.dataset import TRAIN, VAL, TrackSet, load_splits
from speech2vid.training.distributed import Distributed, start_distributed
from speech2vid.training.export import pack
from speech2vid.training.loop import CHECKPOINT, OnStep, train_task
from speech2vid.training.redub_dataset import build_dataset, training_examples, validation_examples
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Task
from speech2vid.training.task_config import TaskConfig
from speech2vid.training.tasks.audio_encoder import AudioEncoderTask
from speech2vid.training.tasks.audio_to_mouth import AudioToMouthTask
from speech2vid.training.tasks.identity import IdentityTask
from speech2vid.training.tasks.mouth_landmarks import MouthLandmarksTask
from speech2vid.training.tasks.paper_redubber import PaperRedubberTask
from speech2vid.training.tasks.paper_talker import PaperTalkerTask
from speech2vid.training.tasks.redubber import RedubSplits
from speech2vid.training.tasks.sharpener import SharpenerTask
from speech2vid.training.tasks.sync import SyncTask
from speech2vid.training.tasks.warp_redubber import WarpRedubberTask
from speech2vid.training.tasks.warp_talker import WarpTalkerTask

WEIGHTS = "weights"  # folder of what is ready to use


def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    device: str = "auto",
    stream: bool | None = None,
    on_step: OnStep | None = None,
) -> list[Path]:
    """Train everything a config names, and make of it what ``talk`` runs. Started by torchrun, on many processes.

    Args:
        data: a sample store.
        out: folder; each task gets one inside, the weight files and graphs come into ``weights``.
        config: see :mod:`speech2vid.training.config`.
        resume: carry on where it was stopped; finished tasks are left as they are.
        device: ``auto``, ``cpu`` or ``cuda``.
        stream: read faces from the store when they are needed; None: where they do not fit into memory.
        on_step: called after each step with task, steps done and steps in all.

    Returns:
        the files in ``weights``; an empty list in all processes but the first.

    Raises:
        DataError, ConfigError, WeightsError, OutputError, TrainingError.
    """
    begun = [name for name in config.tasks if (out / name / CHECKPOINT).is_file()]
    if begun and not resume:
        raise ConfigError(f"{out} holds a training already", "carry on with --resume, or choose another --out")
    if resume and not begun:
        raise ConfigError(f"{out} holds no training to resume", "leave out --resume, or check --out and --config")
    with start_distributed(device) as dist:
        train, val = load_splits(data, stream=stream)
        best = train_tasks(train, val, out, config, dist, data=data, resume=resume, on_step=on_step)
        if not dist.first:
            return []
        return pack(best, out / WEIGHTS, data=described(train))


def train_tasks(
    train: TrackSet,
    val: TrackSet,
    out: Path,
    config: TrainConfig,
    dist: Distributed,
    *,
    data: Path | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, Path]:
    """The tasks of a config, of tracks in memory: task → file of its best weights. Errors as :func:`train`.

    ``data`` is the store of the tracks, of which the task ``redubber`` needs the 224 px faces.
    """
    best: dict[str, Path] = {}
    for name, task_config in config.tasks.items():
        if isinstance(task_config, PaperTalkerTaskConfig):
            task_config = _initialised(task_config, best)
        landmark_network = _landmark_network(config.mouth_landmarks, best.get("mouth_landmarks"))
        if isinstance(task_config, RedubberTaskConfig):
            if data is None:
                raise ConfigError("training a redubber needs a store, not tracks in memory alone", "use train redubber")
            task: Task = redubber_task(task_config, train, val, data, out / name, dist)
        else:
            task = _task(task_config, train, val, dist.device, landmark_network)
        best[name] = train_task(task, out / name, dist, resume=resume, on_step=on_step)
    return best


def described(train: TrackSet) -> str:
    """What weights were trained on, for their header."""
    return f"{len(train.tracks):,} tracks of {len(train.by_speaker)} speakers, {train.hours:.2f} hours"


def _initialised(config: PaperTalkerTaskConfig, best: Mapping[str, Path]) -> PaperTalkerTaskConfig:
    """Return the config with task names in ``identity_init`` and ``audio_init`` replaced by those tasks' weights.

    Raises:
        ConfigError: a named task is not part of the config.
    """
    named = {"identity": config.identity_init, "audio_encoder": config.audio_init}
    for task, init in named.items():
        if init == task and task not in best:
            raise ConfigError(
                f"paper_talker starts from the task {task}, which the config does not train", f"add a table [{task}]"
            )
    found = {task: str(best[task]) if init == task else init for task, init in named.items()}
    return replace(config, identity_init=found["identity"], audio_init=found["audio_encoder"])


def _landmark_network(config: MouthLandmarksTaskConfig | None, best: Path | None) -> MouthLandmarkNetwork | None:
    if config is None or best is None:
        return None
    landmark_network = MouthLandmarkNetwork(config.width)
    fill(landmark_network, best, MouthLandmarksTask.architecture)
    return landmark_network


def _task(
    config: TaskConfig,
    train: TrackSet,
    val: TrackSet,
    device: torch.device,
    landmark_network: MouthLandmarkNetwork | None,
) -> Task:
    torch.manual_seed(config.seed)  # of the first weights
    match config:
        case MouthLandmarksTaskConfig():
            return MouthLandmarksTask(config, train, val, device)
        case WarpTalkerTaskConfig():
            return WarpTalkerTask(config, train, val, device, landmark_network)
        case AudioToMouthTaskConfig():
            return AudioToMouthTask(config, train, val, device)
        case IdentityTaskConfig():
            return IdentityTask(config, train, val, device)
        case AudioEncoderTaskConfig():
            return AudioEncoderTask(config, train, val, device)
        case SharpenerTaskConfig():
            return SharpenerTask(config, train, val, device)
        case PaperTalkerTaskConfig():
            return PaperTalkerTask(config, train, val, device, landmark_network)
        case SyncTaskConfig():
            return SyncTask(config, train, val, device)
    raise ValueError(f"there is no stage for {type(config).__name__}")


def redubber_task(
    config: RedubberTaskConfig, train: TrackSet, val: TrackSet, data: Path, folder: Path, dist: Distributed
) -> Task:
    """The task, its faces painted into ``folder`` by the first process.

    Raises:
        DataError: the store is damaged, or has no faces at 224 px.
        OutputError: they cannot be written.
    """
    what = config.network.generation
    mix = StillMix(config.single, config.two, config.other_track, every=1)
    examples = training_examples(train, mix, config.people, config.frames, config.seed, config.near)
    judged_by = validation_examples(val)

    def painted() -> Task:
        faces = build_dataset(folder / "train", data, TRAIN, train, examples, what=what, noise_px=config.landmark_noise)
        val_faces = build_dataset(folder / "val", data, VAL, val, judged_by, what=what)
        torch.manual_seed(config.seed)  # of the first weights
        kind = WarpRedubberTask if what == "warp" else PaperRedubberTask
        return kind(config, RedubSplits(train, val, faces, val_faces), dist.device)

    if dist.first:
        task = painted()
        dist.same(0.0)
        return task
    dist.same(0.0)  # wait until they are there
    return painted()
