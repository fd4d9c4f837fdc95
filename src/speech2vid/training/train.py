"""A whole training: the tasks of a config, one after the other, and the weight files and graphs they end in."""

from __future__ import annotations

from pathlib import Path

import torch

from speech2vid.errors import ConfigError
from speech2vid.training.config import TrainConfig
from speech2vid.training.dataset import TrackSet, load_splits
from speech2vid.training.distributed import Distributed, start_distributed
from speech2vid.training.export import pack
from speech2vid.training.loop import BEST, CHECKPOINT, OnStep, train_task
from speech2vid.training.task import Run, check_landmarker
from speech2vid.training.tasks import TASKS

WEIGHTS = "weights"  # folder of the files that are ready to use


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
    """Train all tasks of a config, and export their networks. Started by torchrun, on many processes.

    Args:
        data: a sample store.
        out: folder; each task gets one inside, the weight files and graphs are written to ``weights``. Processes on
            several machines must share it.
        config: see :mod:`speech2vid.training.config`.
        resume: continue where the training was stopped; finished tasks are left as they are.
        device: ``auto``, ``cpu`` or ``cuda``.
        stream: read faces from the store when they are needed; None: where they do not fit into memory.
        on_step: called after each step with task, steps done and steps in all.

    Returns:
        the files in ``weights``; an empty list in all processes but the first.

    Raises:
        TrainingStopped: a signal came; the checkpoint is saved.
        DataError, ConfigError, WeightsError, OutputError, TrainingError.
    """
    with start_distributed(device) as dist:
        begun = [name for name in config.tasks if (out / name / CHECKPOINT).is_file()]
        if begun and not resume:
            raise ConfigError(f"{out} already contains a training", "continue with --resume, or choose another --out")
        if resume and not begun:
            raise ConfigError(
                f"{out} contains no training to resume", "leave out --resume, or check --out and --config"
            )
        config.check_processes(dist.count)
        train, val = load_splits(data, stream=stream)
        for name in begun:
            if (out / name / BEST).is_file():
                check_landmarker(out / name / BEST, train)
        best = train_tasks(train, val, out, config, dist, data=data, resume=resume, on_step=on_step)
        if not dist.first:
            return []
        exported = {name: path for name, path in best.items() if TASKS[name].exported}
        return pack(exported, out / WEIGHTS, data=described(train))


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
    """Train the tasks of a config on tracks in memory; return task → file of its best weights. Errors as :func:`train`.

    Args:
        data: the store of the tracks; the re-dubbing tasks read its 224 px faces.
    """
    best: dict[str, Path] = {}
    for name, task_config in config.tasks.items():
        torch.manual_seed(task_config.seed)  # of the first weights
        run = Run(train, val, dist, out / name, data, dict(best))
        task = TASKS[name].build(task_config, run)
        best[name] = train_task(task, out / name, dist, resume=resume, on_step=on_step)
    return best


def described(train: TrackSet) -> str:
    """Return the training data in words, for the header of weights."""
    return f"{len(train.tracks):,} tracks of {len(train.by_speaker)} speakers, {train.hours:.2f} hours"
