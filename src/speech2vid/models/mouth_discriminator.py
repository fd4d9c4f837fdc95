"""Tells true mouths from made ones, patch by patch: what ``warp``'s teeth and tongue are sharpened against in training.

A patch discriminator (Isola et al. 2017) with spectral norm (Miyato et al. 2018). It is not shipped.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CROP = np.s_[..., 6:62, 12:84]  # of the region (64, 96): the mouth and what is round it
CELL_PX = 4
ELSEWHERE = 0.05  # what a patch without inner mouth counts


class MouthDiscriminator(nn.Module):
    """Lower faces (N, 3, 64, 96) RGB in [0, 1] and how far each pixel lies between the lips (N, 1, 64, 96) → scores.

    ``width``: channels of the first layer.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(3 + 1, width, 4, 2, 1)),
                spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
                spectral_norm(nn.Conv2d(2 * width, 3 * width, 3, 1, 1)),
            ]
        )
        self.score = spectral_norm(nn.Conv2d(3 * width, 1, 3, 1, 1))

    def forward(self, faces: Tensor, between: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (N, 1, 14, 18), high where it takes a patch for true, and the layers' activations, finest first."""
        x, maps = torch.cat([faces - 0.5, between], dim=1)[CROP], []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            maps.append(x)
        scores: Tensor = self.score(x)
        return scores, maps


def patch_weight(between: Tensor) -> Tensor:
    """How much each patch counts: (N, 1, 64, 96) between the lips → (N, 1, 14, 18) from 0.05 to 1.05."""
    return F.avg_pool2d(F.max_pool2d(between, 5, 1, 2)[CROP], CELL_PX) + ELSEWHERE
