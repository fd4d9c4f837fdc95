"""What a task of training is, to the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import TARGET_OFFSET_PX, TARGET_PX
from speech2vid.runtime.weights import WeightsHeader
from speech2vid.training.dataset import TrackSet
from speech2vid.training.task_config import TaskConfig
from speech2vid.types import Frames, Image

TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)  # rows, and columns, of the 112 px face
STATISTICS_TRACKS = 200  # on which a normalisation is measured

Item = Mapping[str, NDArray[Any]]  # one of a batch; the loop stacks them
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Validation:
    """What a network is worth on speakers it has not seen.

    Attributes:
        by_speaker: speaker → measure → value.
        choose_by: the measure that decides which weights are kept.
        higher_is_better: of that measure.
        sheet: images to look at, (H, W, 3) uint8 RGB, or None.
        video: a short one to look at, (T, H, W, 3) uint8 RGB at 25 Hz, or None.
    """

    by_speaker: dict[str, dict[str, float]]
    choose_by: str
    higher_is_better: bool = False
    sheet: Image | None = None
    video: Frames | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Measure → mean over the speakers; each speaker counts the same."""
        return speaker_mean(list(self.by_speaker.values()))

    @property
    def cost(self) -> float:
        """The measure to choose by, lower is better."""
        value = self.metrics[self.choose_by]
        return -value if self.higher_is_better else value


class Task(ABC):
    """A network, what it is trained on, and how it is judged.

    Attributes:
        name: of the task, and of its folder.
        architecture: in the weight file.
        config: the settings.
        network: to be trained; the task has moved it to its device.
        samples: batch items in an epoch.
        weights: loss term → weight. Terms of weight 0 need not be computed.
        lr_multipliers: beginning of parameter names → how many times the learning rate they have.
        discriminator: a network trained to tell generated from target images, or None. The terms' gradients
            reach both; it has a rate that stays, is not clipped, and is in the checkpoint, not in the weight file.
    """

    name: ClassVar[str]
    architecture: ClassVar[str]
    config: TaskConfig
    network: nn.Module
    samples: int
    weights: dict[str, float]
    lr_multipliers: Mapping[str, float] = MappingProxyType({})
    discriminator: nn.Module | None = None

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Item:
        """One training item: named arrays, each time of the same shape. All that is random in it comes from ``rng``."""

    @abstractmethod
    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch, unweighted scalars: each a mean over items, so that shares can be averaged."""

    def weights_at(self, step: int) -> dict[str, float]:
        """``weights`` in the update after ``step``: always the same, if a task does not say otherwise."""
        return self.weights

    @abstractmethod
    def validate(self, network: nn.Module) -> Validation:
        """Judge a network on the validation split; it is in evaluation mode and without gradient."""

    @abstractmethod
    def network_config(self) -> dict[str, Any]:
        """What the network can be built from again."""

    def header(self, metrics: Mapping[str, float]) -> WeightsHeader:
        """For the task's weight files."""
        return WeightsHeader(self.architecture, self.network_config(), metrics=metrics)


def speaker_mean(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Measure → mean over the tracks of a speaker, or over speakers; all have the same measures."""
    return {name: float(np.mean([each[name] for each in measured])) for name in measured[0]}


def pixels(images: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 → (..., 3, H, W) float32 in [0, 1]."""
    return images.movedim(-1, -3).to(torch.float32) / 255.0


def frames_of(faces: Tensor) -> Frames:
    """(N, 3, H, W) in [0, 1] → (N, H, W, 3) uint8 RGB."""
    shown: Frames = (faces.clamp(0, 1).permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return shown


def colour_statistics(train: TrackSet, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the colours of faces, (3,) each, on the 0–255 scale."""
    chosen = rng.permutation(len(train.tracks))[:STATISTICS_TRACKS]
    faces = np.stack([train[number].frames[rng.integers(len(train[number]))] for number in chosen])
    colours = torch.from_numpy(faces.reshape(-1, 3).astype(np.float32))
    return colours.mean(0), colours.std(0)
