"""Task ``sharpener``: removes Gaussian blur from aligned faces of real video, apart from the talker (Sect. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import TARGET_PX
from speech2vid.errors import ConfigError
from speech2vid.evaluation.mouth_metrics import laplacian_variance, mouth_boxes
from speech2vid.losses import gradient_l1, l1
from speech2vid.models.sharpener import Sharpener, SharpenerConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import mirrored
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import (
    TARGET,
    Batch,
    Item,
    Task,
    TaskConfig,
    Validation,
    frames_of,
    pixels,
    speaker_mean,
)
from speech2vid.training.visualize import Row, contact_sheet
from speech2vid.types import Frames

VALIDATE_TRACKS, VALIDATE_FRAMES = 2, 2


@dataclass(frozen=True)
class SharpenerTaskConfig(TaskConfig):
    """Settings of the task ``sharpener``.

    Attributes:
        frames: images a batch item, of one track.
        size_px: side of the crops that it is trained on; 0 for whole faces.
        least_blur_px, most_blur_px: range of the standard deviation of the Gaussian, drawn uniformly.
        gradient: weight of the L1 of the edges; that of the image has 1.
    """

    network: SharpenerConfig = field(default_factory=SharpenerConfig)
    batch: int = 16
    decay: float = 1.0
    clip: float = 0.1
    frames: int = 2
    size_px: int = 48
    least_blur_px: float = 0.5
    most_blur_px: float = 2.0
    gradient: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.least_blur_px <= self.most_blur_px:
            raise ConfigError(
                f"sharpener: there is no blur from {self.least_blur_px} to {self.most_blur_px} px",
                "set 0 < least_blur_px ≤ most_blur_px",
            )
        if self.size_px != 0 and not 16 <= self.size_px <= TARGET_PX:
            raise ConfigError(f"sharpener.size_px cannot be {self.size_px}", f"give 16 to {TARGET_PX}, or 0")


class SharpenerTask(Task):
    """Blurred crops of faces → the same crops before the blur."""

    name = "sharpener"
    architecture = Sharpener.architecture
    Config = SharpenerTaskConfig
    config: SharpenerTaskConfig
    network: Sharpener

    def __init__(self, config: SharpenerTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
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
        """Return error and sharpness of faces with the middle one of the blurs, before (``soft_…``) and after."""
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
                rows.append(Row(speaker, [face for triple in zip(target, soft, sharp, strict=True) for face in triple]))
            by_speaker[speaker] = speaker_mean(measured)
        columns = ["target", "blurred", "sharpened"] * VALIDATE_FRAMES
        return Validation(by_speaker, "l1", sheet=contact_sheet(rows, columns))

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def blurred(frames: Frames, deviation_px: float) -> Frames:
    """Return (T, H, W, 3) uint8 blurred by a Gaussian of this standard deviation."""
    return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation_px) for frame in frames])
