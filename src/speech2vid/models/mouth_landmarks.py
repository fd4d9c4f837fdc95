"""Reads the mouth shape off an image: a differentiable stand-in for the landmark regressor.

Used while training ``warp``: the generated mouth must read as the shape that was asked for, which keeps the decoder
from answering all audio with the mean mouth. Its early feature maps serve as a content loss that looks at mouths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech2vid.constants import MOUTH_COUNT, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class MouthLandmarkNetwork(nn.Module):
    """Lower face (N, 3, 64, 96) RGB in [0, 1] → mouth landmarks (N, 20, 2), pixels of the 112 px face."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                _block(3, width, 2),
                nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width, 1)),
                nn.Sequential(_block(2 * width, 4 * width, 2), _block(4 * width, 4 * width, 1)),
                _block(4 * width, 4 * width, 2),
            ]
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(4 * width * (REGION_HEIGHT // 16) * (REGION_WIDTH // 16), 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, 2 * MOUTH_COUNT),
        )
        centre = torch.tensor([REGION_LEFT + REGION_WIDTH / 2, REGION_TOP + REGION_HEIGHT / 2])
        self.centre: Tensor
        self.register_buffer("centre", centre, persistent=False)

    def features(self, image: Tensor) -> list[Tensor]:
        """The four stages' activations, finest first."""
        x, maps = image - 0.5, []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def read(self, deepest: Tensor) -> Tensor:
        """Landmarks from the last of :meth:`features`."""
        offsets: Tensor = self.head(deepest).reshape(-1, MOUTH_COUNT, 2)
        return offsets * 8.0 + self.centre

    def forward(self, image: Tensor) -> Tensor:
        """Landmarks (N, 20, 2), px, of (N, 3, 64, 96) RGB in [0, 1]."""
        return self.read(self.features(image)[-1])
