"""A whole training: the stages of a config, one after the other, and the weight files and graphs they end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from speech2vid.errors import ConfigError
from speech2vid.models.checkpoint import fill
from speech2vid.models.shape_reader import ShapeReader
from speech2vid.training.audio_encoder import AudioEncoderTask
from speech2vid.training.config import (
    AudioEncoderConfig,
    IdentityStageConfig,
    PictureConfig,
    ReaderConfig,
    RedubberStageConfig,
    SharpenerStageConfig,
    SoundConfig,
    SyncStageConfig,
    TalkerStageConfig,
    TrainConfig,
)
from speech2vid.training.identity import IdentityStage
from speech2vid.training.loop import CHECKPOINT, OnStep, train_stage
from speech2vid.training.pack import pack
from speech2vid.training.picture import PictureStage
from speech2vid.training.processes import Processes, processes
from speech2vid.training.reader import ReaderStage
from speech2vid.training.redubbers import redubber_stage
from speech2vid.training.sharpener import SharpenerStage
from speech2vid.training.sound import SoundStage
from speech2vid.training.stage import Stage
from speech2vid.training.stage_config import StageConfig
from speech2vid.training.sync import SyncStage
from speech2vid.training.talker import TalkerStage
from speech2vid.training.tracks import TrackSet, load_splits

WEIGHTS = "weights"  # folder of what is ready to use


def train_talker(
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
        out: folder; each stage gets one inside, the weight files and graphs come into ``weights``.
        config: see :mod:`speech2vid.training.config`.
        resume: carry on where it was stopped; finished stages are left as they are.
        device: ``auto``, ``cpu`` or ``cuda``.
        stream: read faces from the store when they are needed; None: where they do not fit into memory.
        on_step: called after each step with stage, steps done and steps in all.

    Returns:
        the files in ``weights``; an empty list in all processes but the first.

    Raises:
        DataError, ConfigError, WeightsError, OutputError, TrainingError.
    """
    begun = [name for name in config.stages if (out / name / CHECKPOINT).is_file()]
    if begun and not resume:
        raise ConfigError(f"{out} holds a training already", "carry on with --resume, or choose another --out")
    if resume and not begun:
        raise ConfigError(f"{out} holds no training to resume", "leave out --resume, or check --out and --config")
    with processes(device) as here:
        train, val = load_splits(data, stream=stream)
        best = train_stages(train, val, out, config, here, data=data, resume=resume, on_step=on_step)
        if not here.first:
            return []
        return pack(best, out / WEIGHTS, data=described(train))


def train_stages(
    train: TrackSet,
    val: TrackSet,
    out: Path,
    config: TrainConfig,
    here: Processes,
    *,
    data: Path | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, Path]:
    """The stages of a config, of tracks in memory: stage → file of its best weights. Errors as :func:`train_talker`.

    ``data`` is the store of the tracks, of which the stage ``redubber`` needs the 224 px faces.
    """
    best: dict[str, Path] = {}
    for name, stage_config in config.stages.items():
        if isinstance(stage_config, TalkerStageConfig):
            stage_config = _initialised(stage_config, best)
        reader = _reader(config.reader, best.get("reader"))
        if isinstance(stage_config, RedubberStageConfig):
            if data is None:
                raise ConfigError("stage redubber needs a store, not tracks in memory alone", "use train redubber")
            stage: Stage = redubber_stage(stage_config, train, val, data, out / name, here)
        else:
            stage = _stage(stage_config, train, val, here.device, reader)
        best[name] = train_stage(stage, out / name, here, resume=resume, on_step=on_step)
    return best


def described(train: TrackSet) -> str:
    """What weights were trained on, for their header."""
    return f"{len(train.tracks):,} tracks of {len(train.by_speaker)} speakers, {train.hours:.2f} hours"


def _initialised(config: TalkerStageConfig, best: Mapping[str, Path]) -> TalkerStageConfig:
    """Return the config with task names in ``identity_init`` and ``audio_init`` replaced by those tasks' weights."""
    named = {"identity": config.identity_init, "audio_encoder": config.audio_init}
    for task, init in named.items():
        if init == task and task not in best:
            raise ConfigError(f"talker starts from the task {task}, which the config does not train", f"add [{task}]")
    found = {task: str(best[task]) if init == task else init for task, init in named.items()}
    return replace(config, identity_init=found["identity"], audio_init=found["audio_encoder"])


def _reader(config: ReaderConfig | None, best: Path | None) -> ShapeReader | None:
    if config is None or best is None:
        return None
    reader = ShapeReader(config.width)
    fill(reader, best, ReaderStage.architecture)
    return reader


def _stage(
    config: StageConfig, train: TrackSet, val: TrackSet, device: torch.device, reader: ShapeReader | None
) -> Stage:
    torch.manual_seed(config.seed)  # of the first weights
    match config:
        case ReaderConfig():
            return ReaderStage(config, train, val, device)
        case PictureConfig():
            return PictureStage(config, train, val, device, reader)
        case SoundConfig():
            return SoundStage(config, train, val, device)
        case IdentityStageConfig():
            return IdentityStage(config, train, val, device)
        case AudioEncoderConfig():
            return AudioEncoderTask(config, train, val, device)
        case SharpenerStageConfig():
            return SharpenerStage(config, train, val, device)
        case TalkerStageConfig():
            return TalkerStage(config, train, val, device, reader)
        case SyncStageConfig():
            return SyncStage(config, train, val, device)
    raise ValueError(f"there is no stage for {type(config).__name__}")
