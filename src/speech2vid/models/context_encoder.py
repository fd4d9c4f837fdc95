"""Context encoder (Sect. 6.2, Fig. 14): a face whose mouth is hidden → maps at every scale, for a decoder's skips."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.models.layers import ConvNormReLU


class ContextEncoder(nn.Module):
    """Images (N, C, H, W) float32 in [0, 1] → maps at 1/2, 1/4, 1/8 … of their size, finest first.

    Args:
        channels: C.
        widths: channels of each scale; H and W must be multiples of 2 to the power of their number.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.widths = channels, tuple(widths)
        steps = [ConvNormReLU(channels, widths[0], 6, stride=2, padding=2)]
        steps += [ConvNormReLU(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)]
        self.scales = nn.ModuleList(
            nn.Sequential(step, ConvNormReLU(w, w, 3, padding=1)) for step, w in zip(steps, widths, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[1] != self.channels:
            raise ValueError(f"pictures must have {self.channels} channels, not {images.shape[1]}")
        maps, x = [], 2.0 * images - 1.0
        for scale in self.scales:
            x = scale(x)
            maps.append(x)
        return maps


class Rise(nn.Module):
    """Bilinear ×2, joined with the context's maps of that size (and others), then a convolution.

    Args:
        inputs, skips, outputs: channels from below, of the maps joined, and of the result.
    """

    def __init__(self, inputs: int, skips: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(inputs + skips, outputs, 3, padding=1)

    def forward(self, maps: Tensor, *skips: Tensor) -> Tensor:
        grown: Tensor = self.conv(torch.cat([enlarge(maps), *skips], dim=1))
        return grown


def enlarge(maps: Tensor, times: int = 2) -> Tensor:
    """Bilinear; a pixel's centre lies in the middle of those that come of it."""
    return functional.interpolate(maps, scale_factor=times, mode="bilinear", align_corners=False)
