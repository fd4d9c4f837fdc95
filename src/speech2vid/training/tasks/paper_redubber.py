"""Task ``paper_redubber``: the paper's network of Sect. 6.2, audio and stills and a masked face → that face."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import (
    BLEND_HEIGHT,
    BLEND_LEFT,
    BLEND_TOP,
    BLEND_WIDTH,
    CONTEXT_FACE_PX,
    FACE_PX,
    IDENTITY_STILLS,
)
from speech2vid.errors import ConfigError
from speech2vid.faces.align import context_from_face
from speech2vid.inference.occlusion import PART, hide, occlude
from speech2vid.losses import gradient_l1
from speech2vid.models.paper_redubber import PaperRedubber, RedubberConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.redub_dataset import RedubDataset
from speech2vid.training.task import Batch, Item, frames_of, pixels
from speech2vid.training.tasks.paper_talker import FaceLoss, normalise
from speech2vid.training.tasks.redubber import RedubberTask, RedubberTaskConfig, RedubSplits
from speech2vid.types import Image


@dataclass(frozen=True)
class PaperRedubberTaskConfig(RedubberTaskConfig):
    """Settings of the task ``paper_redubber``.

    Attributes:
        loss, content, reduction: as in ``paper_talker``; the faces have 224 px.
    """

    network: RedubberConfig = field(default_factory=lambda: RedubberConfig(generation="audio"))
    near: float = 0.0
    loss: Literal["l1", "content"] = "l1"
    content: float = 1.0
    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.generation != "audio":
            raise ConfigError("paper_redubber.network.generation must be audio", "or use the table [warp_redubber]")


class PaperRedubberTask(RedubberTask):
    """Stills, MFCC windows and masked faces → faces at 224 px."""

    name = "paper_redubber"
    architecture = PaperRedubber.architecture
    Config = PaperRedubberTaskConfig
    generation = "audio"
    config: PaperRedubberTaskConfig
    network: PaperRedubber

    def __init__(self, config: PaperRedubberTaskConfig, faces: RedubSplits, device: torch.device) -> None:
        network = PaperRedubber(config.network)
        normalise(network, faces.train, np.random.default_rng(config.seed))
        super().__init__(config, faces, device, network)
        self._loss = FaceLoss(config.loss, config.l1, config.content, device, crop=_face_part())
        scale = 3.0 * CONTEXT_FACE_PX**2 if config.reduction == "sum" else 1.0
        self.weights = {
            name: scale * weight for name, weight in {**self._loss.weights, "gradient": config.gradient}.items()
        }

    @classmethod
    def from_faces(cls, config: PaperRedubberTaskConfig, faces: RedubSplits, device: torch.device) -> PaperRedubberTask:
        return cls(config, faces, device)

    def draw(self, rng: np.random.Generator) -> Item:
        return self._item(self.train, self.dataset, int(rng.integers(len(self.dataset))))

    def _item(self, tracks: TrackSet, dataset: RedubDataset, row: int) -> Item:
        track, frame = tracks[dataset.track[row]], int(dataset.frame[row])
        slots = dataset.stills[row]
        if self.config.network.identity_images != IDENTITY_STILLS:
            slots = slots[[IDENTITY_STILLS // 2]]
        face = dataset.faces[row]
        hidden = hide(track.landmarks[frame][None], dataset.requested[row][None])
        context = face.copy()
        context[PART] = np.rint(occlude(face[PART], hidden.area[0], dataset.colours[row]))
        return {
            "stills": tracks[dataset.still_track[row]].frames[slots],
            "window": track.windows[frame],
            "context": context,
            "face": face,
            "area": hidden.area,
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        generated, target = self._generate(network, batch), pixels(batch["face"])
        gradient = gradient_l1(generated, target) if self.weights["gradient"] else generated.new_zeros(())
        return {**self._loss.terms(generated, target), "gradient": gradient}

    def _generate(self, network: nn.Module, batch: Batch) -> Tensor:
        faces: Tensor = network(batch["window"], pixels(batch["context"]), pixels(batch["stills"]).flatten(1, 2))
        return faces

    def _measure(self, network: nn.Module, row: int) -> tuple[dict[str, float], dict[str, Image]]:
        item = self._item(self.val, self.val_dataset, row)
        batch = self._alone(item)
        generated, target = self._generate(network, batch), pixels(batch["face"])
        error = (generated - target).abs()
        part = error[..., BLEND_TOP : BLEND_TOP + BLEND_HEIGHT, BLEND_LEFT : BLEND_LEFT + BLEND_WIDTH]
        area = batch["area"]
        metrics = {"l1": float(error.mean()), "error": float((part * area).sum() / (3 * area.sum()))}
        return metrics, {"context": item["context"], "generated": frames_of(generated)[0], "target": item["face"]}


def _face_part() -> tuple[slice, slice]:
    """Return rows and columns of the 224 px face that the aligned face covers."""
    scale, left, top = (float(context_from_face()[place]) for place in ((0, 0), (0, 2), (1, 2)))
    rows, columns = (slice(max(0, round(start)), round(start + scale * FACE_PX)) for start in (top, left))
    return rows, columns
