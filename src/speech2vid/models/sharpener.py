"""Sharpening network (Sect. 3.3, Fig. 6): a residual that takes the blur off a generated face."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from speech2vid.constants import TARGET_PX
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network, he_initialise


@dataclass(frozen=True)
class SharpenerConfig(NetworkConfig):
    """Settings of the sharpener: number of 3×3 convolutions and their channels (``v114``: ten of 64)."""

    layers: int = 10
    channels: int = 64


class Sharpener(Network):
    """Faces (N, 3, H, W) float32 RGB in [0, 1] → the same, sharper; not clamped, so that training sees every error.

    It starts as the identity: the last convolution is zero.
    """

    architecture = "sharpener"
    Config = SharpenerConfig
    config: SharpenerConfig

    def __init__(self, config: SharpenerConfig) -> None:
        super().__init__(config)
        channels = config.channels
        widths = [3, *[channels] * (config.layers - 1)]
        self.hidden = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths))
        self.residual = nn.Conv2d(channels, 3, 3, padding=1)
        he_initialise(self)
        nn.init.zeros_(self.residual.weight)

    def forward(self, faces: Tensor) -> Tensor:
        maps = faces
        for conv in self.hidden:
            maps = torch.relu(conv(maps))
        residual: Tensor = self.residual(maps)
        return faces + residual

    def graphs(self) -> tuple[Graph]:
        frames = self.residual.weight.new_zeros(2, 3, TARGET_PX, TARGET_PX)
        free = {0: "frames", 2: "height", 3: "width"}
        return (
            Graph(
                "sharpen",
                lambda given: {"sharpened": self(given["frames"]).clamp(0.0, 1.0)},
                {"frames": frames},
                {"frames": free, "sharpened": free},
            ),
        )
