"""Base of the redubber tasks: their data and validation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from speech2vid.training.config import RedubberTaskConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.redub_dataset import RedubDataset
from speech2vid.training.task import Batch, Item, Task, Validation, speaker_mean
from speech2vid.training.visualize import contact_sheet
from speech2vid.types import Image

SHEET_FACES = 2  # of a track


@dataclass(frozen=True)
class RedubSplits:
    """Tracks to learn from and to be judged by, and the faces of each that were painted."""

    train: TrackSet
    val: TrackSet
    dataset: RedubDataset
    val_dataset: RedubDataset


class RedubberTask(Task):
    """A network that completes hidden faces; the measure to choose by is ``error``."""

    config: RedubberTaskConfig

    def __init__(
        self, config: RedubberTaskConfig, faces: RedubSplits, device: torch.device, network: nn.Module
    ) -> None:
        self.config, self.device = config, device
        self.train, self.val = faces.train, faces.val
        self.dataset, self.val_dataset = faces.dataset, faces.val_dataset
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.samples = len(self.dataset)

    def validate(self, network: nn.Module) -> Validation:
        measured: dict[str, list[dict[str, float]]] = {}
        rows: dict[int, list[Image]] = {}
        for row, number in enumerate(map(int, self.val_dataset.track)):
            measures, images = self._measure(network, row)
            measured.setdefault(self.val[number].speaker, []).append(measures)
            shown = rows.setdefault(number, [])
            if len(shown) < SHEET_FACES * len(images):
                shown += images
        by_speaker = {speaker: speaker_mean(values) for speaker, values in measured.items()}
        return Validation(by_speaker, "error", sheet=contact_sheet(list(rows.values())[::2]))

    @abstractmethod
    def _measure(self, network: nn.Module, row: int) -> tuple[dict[str, float], list[Image]]:
        """One face of the validation split: measures, ``error`` among them, and images of it."""

    def _alone(self, item: Item) -> Batch:
        """A batch of one."""
        return {name: torch.from_numpy(np.array(value))[None].to(self.device) for name, value in item.items()}

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()
