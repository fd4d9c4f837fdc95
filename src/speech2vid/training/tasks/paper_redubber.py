"""Task ``paper_redubber``: the paper's network, audio and stills and a hidden face → that face."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import BLEND_HEIGHT, BLEND_LEFT, BLEND_TOP, BLEND_WIDTH, IDENTITY_STILLS
from speech2vid.inference.occlusion import PART, hide, occlude
from speech2vid.losses import gradient_l1, l1
from speech2vid.models.paper_redubber import PaperRedubber
from speech2vid.training.config import RedubberTaskConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.redub_dataset import RedubDataset
from speech2vid.training.task import Batch, Item, frames_of, pixels
from speech2vid.training.tasks.paper_talker import normalise
from speech2vid.training.tasks.redubber import RedubberTask, RedubSplits
from speech2vid.types import Image


class PaperRedubberTask(RedubberTask):
    """Stills, MFCC windows and hidden faces → faces at 224 px."""

    name = "paper_redubber"
    architecture = PaperRedubber.architecture
    network: PaperRedubber

    def __init__(self, config: RedubberTaskConfig, faces: RedubSplits, device: torch.device) -> None:
        network = PaperRedubber(config.network)
        normalise(network, faces.train, np.random.default_rng(config.seed))
        super().__init__(config, faces, device, network)
        self.weights = {"l1": config.l1, "gradient": config.gradient}

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
        return {"l1": l1(generated, target), "gradient": gradient_l1(generated, target)}

    def _generate(self, network: nn.Module, batch: Batch) -> Tensor:
        faces: Tensor = network(batch["window"], pixels(batch["context"]), pixels(batch["stills"]).flatten(1, 2))
        return faces

    def _measure(self, network: nn.Module, row: int) -> tuple[dict[str, float], list[Image]]:
        item = self._item(self.val, self.val_dataset, row)
        batch = self._alone(item)
        generated, target = self._generate(network, batch), pixels(batch["face"])
        error = (generated - target).abs()
        part = error[..., BLEND_TOP : BLEND_TOP + BLEND_HEIGHT, BLEND_LEFT : BLEND_LEFT + BLEND_WIDTH]
        area = batch["area"]
        measures = {"l1": float(error.mean()), "error": float((part * area).sum() / (3 * area.sum()))}
        return measures, [item["context"], frames_of(generated)[0], item["face"]]
