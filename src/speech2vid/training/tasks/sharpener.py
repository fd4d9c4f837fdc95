"""Task ``sharpener``: a Gaussian's blur is taken off still aligned faces; nothing generated is seen (Sect. 3.3)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import TARGET_PX
from speech2vid.evaluation.mouth_metrics import laplacian_variance, mouth_boxes
from speech2vid.losses import gradient_l1, l1
from speech2vid.models.sharpener import Sharpener
from speech2vid.training.config import SharpenerTaskConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import mirrored
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import TARGET, Batch, Item, Task, Validation, frames_of, pixels, speaker_mean
from speech2vid.training.visualize import contact_sheet
from speech2vid.types import Frames

VALIDATE_TRACKS, VALIDATE_FRAMES = 2, 2


class SharpenerTask(Task):
    """Blurred pieces of faces → the same, as they were."""

    name = "sharpener"
    architecture = Sharpener.architecture
    config: SharpenerTaskConfig
    network: Sharpener

    def __init__(self, config: SharpenerTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device
        network = Sharpener(config.network)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sampler = train.sampler(StillMix(every=1))
        self.samples = -(-train.frames // (5 * config.frames))
        self.weights = {"l1": 1.0, "gradient": config.gradient}

    def draw(self, rng: np.random.Generator) -> Item:
        example = self._sampler.draw(rng, self.config.frames)
        track = self.train[example.track]
        frames = track.frames[example.targets]
        if rng.random() < 0.5:
            frames, _ = mirrored(frames, track.landmarks[example.targets])
        sharp = np.ascontiguousarray(frames[:, TARGET, TARGET])
        deviation = rng.uniform(self.config.least_blur_px, self.config.most_blur_px)
        soft = blurred(sharp, deviation)
        size = self.config.size_px or TARGET_PX
        top, left = rng.integers(0, TARGET_PX - size + 1, 2)
        piece = np.s_[:, top : top + size, left : left + size]
        return {"sharp": sharp[piece], "soft": soft[piece]}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        generated, target = network(pixels(batch["soft"]).flatten(0, 1)), pixels(batch["sharp"]).flatten(0, 1)
        return {"l1": l1(generated, target), "gradient": gradient_l1(generated, target)}

    def validate(self, network: nn.Module) -> Validation:
        """Of faces with the middle one of the blurs: error and sharpness, before (``soft_…``) and after."""
        deviation = (self.config.least_blur_px + self.config.most_blur_px) / 2
        by_speaker, rows = {}, []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                chosen = np.linspace(0, len(track) - 1, VALIDATE_FRAMES).astype(int)
                target = np.ascontiguousarray(track.frames[chosen][:, TARGET, TARGET])
                soft = blurred(target, deviation)
                sharp = frames_of(network(pixels(torch.from_numpy(soft).to(self.device))))
                boxes = mouth_boxes(track.landmarks[chosen] - TARGET.start).clip(0, TARGET_PX)
                clear = laplacian_variance(target, boxes)
                measured.append(
                    {
                        "l1": float(np.abs(sharp.astype(np.float32) - target).mean() / 255),
                        "soft_l1": float(np.abs(soft.astype(np.float32) - target).mean() / 255),
                        "sharpness": laplacian_variance(sharp, boxes) / clear,
                        "soft_sharpness": laplacian_variance(soft, boxes) / clear,
                    }
                )
                rows.append([face for triple in zip(target, soft, sharp, strict=True) for face in triple])
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(by_speaker, "l1", sheet=contact_sheet(rows))

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def blurred(frames: Frames, deviation_px: float) -> Frames:
    """Each of (T, H, W, 3) uint8 under a Gaussian of so many pixels."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation_px) for frame in frames])
