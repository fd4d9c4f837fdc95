"""Base of the re-dubbing tasks, ``warp_redubber`` and ``paper_redubber``: faces with a masked mouth, and validation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from speech2vid.errors import ConfigError
from speech2vid.models.paper_redubber import RedubberConfig
from speech2vid.training.dataset import TRAIN, VAL, TrackSet
from speech2vid.training.redub_dataset import RedubDataset, build_dataset, training_examples, validation_examples
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Batch, Item, Run, Task, TaskConfig, Validation, speaker_mean
from speech2vid.training.visualize import Row, contact_sheet
from speech2vid.types import Image

SHEET_FACES = 2  # of a track


@dataclass(frozen=True)
class RedubberTaskConfig(TaskConfig):
    """Settings of both re-dubbing tasks.

    Attributes:
        people: number of draws of somebody's stills, with ``frames`` faces each; written before the first step.
        near: share of them in which each face has stills near it, as in re-dubbing: one close in time, one with open
            lips.
        single, two, other_track: of the others, as in ``warp_talker``.
        landmark_noise: standard deviation of the noise on the mouth landmarks, px.
        l1, gradient: weights of the loss terms.
    """

    network: RedubberConfig = field(default_factory=RedubberConfig)
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    ema: float = 0.995
    people: int = 2500
    frames: int = 4
    near: float = 0.5
    single: float = 0.2
    two: float = 0.1
    other_track: float = 0.3
    landmark_noise: float = 0.2
    l1: float = 1.0
    gradient: float = 0.5


@dataclass(frozen=True)
class RedubSplits:
    """Tracks of both splits, and the faces drawn from each."""

    train: TrackSet
    val: TrackSet
    dataset: RedubDataset
    val_dataset: RedubDataset


class RedubberTask(Task):
    """A network that completes masked faces; the metric to choose by is ``error``.

    Attributes:
        generation: kind of dataset: with mouths painted by the ``warp`` talker, or for the paper's network (``audio``).
    """

    generation: ClassVar[Literal["warp", "audio"]]
    config: RedubberTaskConfig

    def __init__(self, config: Any, faces: RedubSplits, device: torch.device, network: nn.Module) -> None:
        super().__init__(config, faces.train, faces.val, device)
        self.dataset, self.val_dataset = faces.dataset, faces.val_dataset
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.samples = len(self.dataset)

    @classmethod
    def build(cls, config: RedubberTaskConfig, run: Run) -> RedubberTask:
        """Return the task; the first process writes its faces into the task's folder, the others wait for them.

        Raises:
            ConfigError: there is no store.
            DataError: the store is damaged, or has no faces at 224 px.
            OutputError: the faces cannot be written.
        """
        if run.store is None:
            raise ConfigError(f"task {cls.name} needs a sample store, not tracks in memory", "use speech2vid train")
        if not run.dist.first:
            run.dist.barrier()
        mix = StillMix(config.single, config.two, config.other_track, every=1)
        examples = training_examples(run.train, mix, config.people, config.frames, config.seed, config.near)
        noise_px = config.landmark_noise
        faces = RedubSplits(
            run.train,
            run.val,
            build_dataset(
                run.folder / TRAIN, run.store, TRAIN, run.train, examples, what=cls.generation, noise_px=noise_px
            ),
            build_dataset(run.folder / VAL, run.store, VAL, run.val, validation_examples(run.val), what=cls.generation),
        )
        if run.dist.first:
            run.dist.barrier()
        torch.manual_seed(config.seed)  # of the first weights
        return cls.from_faces(config, faces, run.dist.device)

    @classmethod
    @abstractmethod
    def from_faces(cls, config: Any, faces: RedubSplits, device: torch.device) -> RedubberTask:
        """Return the task on faces that are written."""

    def validate(self, network: nn.Module) -> Validation:
        measured: dict[str, list[dict[str, float]]] = {}
        rows: dict[int, list[Image]] = {}
        columns: list[str] = []
        for row, number in enumerate(map(int, self.val_dataset.track)):
            metrics, images = self._measure(network, row)
            measured.setdefault(self.val[number].speaker, []).append(metrics)
            columns = list(images) * SHEET_FACES
            shown = rows.setdefault(number, [])
            if len(shown) < len(columns):
                shown += images.values()
        by_speaker = {speaker: speaker_mean(values) for speaker, values in measured.items()}
        sheet = [Row(self.val[number].speaker, images) for number, images in rows.items()][::2]
        return Validation(by_speaker, "error", sheet=contact_sheet(sheet, columns))

    @abstractmethod
    def _measure(self, network: nn.Module, row: int) -> tuple[dict[str, float], dict[str, Image]]:
        """Return metrics of one face of the validation split, ``error`` among them, and labelled images of it."""

    def _alone(self, item: Item) -> Batch:
        """Return a batch of one."""
        return {name: torch.from_numpy(np.array(value))[None].to(self.device) for name, value in item.items()}

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()
