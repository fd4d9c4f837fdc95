"""The seam between the training loop and its tasks: settings, data, loss and validation of one network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import TARGET_OFFSET_PX, TARGET_PX
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.models.config import NetworkConfig
from speech2vid.runtime.torch import fill
from speech2vid.runtime.weights import WeightsHeader, read_header
from speech2vid.training.dataset import TrackSet
from speech2vid.training.distributed import Distributed
from speech2vid.types import Frames, Image

TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)  # rows, and columns, of the 112 px face
STATISTICS_TRACKS = 200  # on which a normalisation is measured

Item = Mapping[str, NDArray[Any]]  # one of a batch; the loop stacks them
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Settings(NetworkConfig):
    """Settings that may have tables of settings inside. Integers are accepted for floats."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; keys left out take their defaults. ConfigError on unknown keys and wrong types."""
        hints = get_type_hints(cls)
        built = {}
        for key, value in values.items():
            hint = hints.get(key)
            if isinstance(hint, type) and issubclass(hint, NetworkConfig):
                if not isinstance(value, Mapping):
                    raise ConfigError(f"{cls.__name__}.{key} cannot be {value!r}", f"make it a table: [… .{key}]")
                value = hint.from_dict(value)
            elif hint is float and type(value) is int:
                value = float(value)
            built[key] = value
        return super().from_dict(built)


@dataclass(frozen=True)
class TaskConfig(Settings):
    """Settings of every task.

    Attributes:
        steps: number of updates. 0: as many as ``epochs`` need.
        epochs: passes over the training samples, where ``steps`` is 0.
        batch: people, or stretches of audio, in an update, over all processes.
        accumulate: parts in which a batch is computed, one after the other; batch norm sees one part at a time.
        optimiser: AdamW, or SGD with momentum 0.9.
        learning_rate: the highest; reached after ``warmup`` steps, held, and over the last ``decay`` of the steps
            brought to 0 along a cosine. ``decay`` 0 keeps it.
        weight_decay: of matrices and kernels.
        clip: largest norm of the gradient; 0 does not limit it.
        ema: decay of the EMA of the weights that are kept, about 1/(1 − ema) steps long; 0 keeps the last weights.
        precision: of the multiplications; weights and their updates are always float32. ``tf32`` is CUDA's;
            ``bfloat16`` is faster also on CPUs with AVX-512 BF16 (1.5 times), and slower on others.
        seed: of everything drawn at random.
        validate_every: steps between validations (a checkpoint each); 0: once an epoch.
        patience: stop after this many validations without improvement; 0: never.
        start: a weight file of this task to start from.
    """

    steps: int = 0
    epochs: float = 1.0
    batch: int = 8
    accumulate: int = 1
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 100
    decay: float = 0.5
    clip: float = 1.0
    ema: float = 0.999
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    seed: int = 0
    validate_every: int = 0
    patience: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for key in ("batch", "accumulate"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{name}.{key} cannot be {getattr(self, key)}", "give 1 or more")
        if self.batch % self.accumulate:
            raise ConfigError(f"{name}: a batch of {self.batch} has no {self.accumulate} equal parts", "change either")
        if self.steps < 0 or (self.steps == 0 and self.epochs <= 0):
            raise ConfigError(f"{name} has nothing to train", "give steps or epochs above 0")

    def needed_tasks(self) -> Mapping[str, str]:
        """Return the tasks of the same run that this one starts from, and for each how to do without it."""
        return {}


@dataclass(frozen=True)
class Run:
    """A training run, as far as a task needs it to be built.

    Attributes:
        train, val: tracks of the two splits.
        dist: this process among its peers.
        folder: of the task.
        store: folder of the sample store; None if the tracks are in memory only.
        best: file of the best weights of each task that was trained before.
    """

    train: TrackSet
    val: TrackSet
    dist: Distributed
    folder: Path
    store: Path | None = None
    best: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Quality of a network on speakers that it has not seen.

    Attributes:
        by_speaker: speaker → metric → value.
        choose_by: the metric that decides which weights are kept.
        higher_is_better: of that metric.
        sheet: a contact sheet, (H, W, 3) uint8 RGB, or None.
        video: a short video, (T, H, W, 3) uint8 RGB at 25 Hz, or None.
    """

    by_speaker: dict[str, dict[str, float]]
    choose_by: str
    higher_is_better: bool = False
    sheet: Image | None = None
    video: Frames | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Metric → mean over the speakers; each speaker counts the same."""
        return speaker_mean(list(self.by_speaker.values()))

    @property
    def cost(self) -> float:
        """The metric to choose by, lower is better."""
        value = self.metrics[self.choose_by]
        return -value if self.higher_is_better else value


class Task(ABC):
    """A network, its training data, its loss and its validation.

    Attributes:
        name: of the task, its table in a config, its folder and its weight file.
        architecture: in the weight file.
        Config: its settings.
        exported: whether its weights are written for use; otherwise they only serve later tasks.
        config: the settings of this run.
        train, val: tracks of the two splits.
        device: that it computes on.
        network: to be trained; the task has moved it to its device.
        samples: batch items in an epoch.
        weights: loss term → weight. Terms of weight 0 need not be computed.
        lr_multipliers: prefix of parameter names → factor on their learning rate.
        discriminator: a network trained to tell generated from target images, or None. The terms' gradients
            reach both; its learning rate is fixed, its gradient not clipped, and it is in the checkpoint, not in the
            weight file.
    """

    name: ClassVar[str]
    architecture: ClassVar[str]
    Config: ClassVar[type[TaskConfig]]
    exported: ClassVar[bool] = True
    config: TaskConfig
    network: nn.Module
    samples: int
    weights: dict[str, float]
    lr_multipliers: Mapping[str, float] = MappingProxyType({})
    discriminator: nn.Module | None = None

    def __init__(self, config: TaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device

    @classmethod
    def build(cls, config: Any, run: Run) -> Task:
        """Return the task of a run. Called in all processes; a task that starts from others' weights overrides it."""
        return cls(config, run.train, run.val, run.dist.device)

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Item:
        """Return one training item: named arrays, always of the same shapes. All randomness comes from ``rng``."""

    @abstractmethod
    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the loss terms of a batch, unweighted scalars: each a mean over items, so that shares can be averaged.

        Those of weight 0 may be left out.
        """

    def weights_at(self, step: int) -> dict[str, float]:
        """Return the weights in the update after ``step``; a task may let them grow."""
        return self.weights

    @abstractmethod
    def validate(self, network: nn.Module) -> Validation:
        """Measure a network on the validation split; it is in evaluation mode and without gradient."""

    @abstractmethod
    def network_config(self) -> dict[str, Any]:
        """Return the settings that the network is built from."""

    def load_start(self) -> None:
        """Fill the network with the weights of ``config.start``, if any, before the first step."""
        if self.config.start:
            check_landmarker(Path(self.config.start), self.train)
            fill(self.network, Path(self.config.start), self.architecture)

    def header(self, metrics: Mapping[str, float]) -> WeightsHeader:
        """Return the header of the task's weight files."""
        return WeightsHeader(
            self.architecture, self.network_config(), metrics=metrics, landmarker=self.train.landmarker
        )


def check_landmarker(weights: Path, train: TrackSet) -> None:
    """Raise a WeightsError if weights to start from were trained with another landmarker than the tracks have."""
    trained = read_header(weights).landmarker
    if trained != train.landmarker:
        raise WeightsError(
            f"{weights} was trained with the landmarker {trained}; the tracks were prepared with {train.landmarker}",
            "start from other weights, or train on a store prepared with the landmarker of these",
        )


def speaker_mean(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the tracks of a speaker, or over speakers; all have the same metrics."""
    return {name: float(np.mean([each[name] for each in measured])) for name in measured[0]}


def pixels(images: Tensor) -> Tensor:
    """Return (..., H, W, 3) uint8 as (..., 3, H, W) float32 in [0, 1]."""
    return images.movedim(-1, -3).to(torch.float32) / 255.0


def frames_of(faces: Tensor) -> Frames:
    """Return (N, 3, H, W) in [0, 1] as (N, H, W, 3) uint8 RGB."""
    shown: Frames = (faces.clamp(0, 1).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return shown


def colour_statistics(train: TrackSet, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the colours of faces, (3,) each, on the 0–255 scale."""
    chosen = rng.permutation(len(train.tracks))[:STATISTICS_TRACKS]
    faces = np.stack([train[number].frames[rng.integers(len(train[number]))] for number in chosen])
    colours = torch.from_numpy(faces.reshape(-1, 3).astype(np.float32))
    return colours.mean(0), colours.std(0)
