"""Identity encoder (Fig. 4, Sect. 3.1): aligned stills of one person → one code, and maps for the decoder's skips."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speech2vid.constants import FACE_PX
from speech2vid.models.layers import ConvNormReLU, MaxPool


class IdentityMaps(NamedTuple):
    """What the decoder may read of a person. Channel counts are at width 1.

    Attributes:
        stills: (B, 3·K, 112, 112) float32 in [0, 1], the input.
        conv1: (B, 96, 53, 53), after ReLU.
        pool1: (B, 96, 26, 26).
        conv2: (B, 256, 12, 12), after ReLU.
        code: (B, 256), fc7 after ReLU.
    """

    stills: Tensor
    conv1: Tensor
    pool1: Tensor
    conv2: Tensor
    code: Tensor


class IdentityEncoder(nn.Module):
    """Aligned stills (B, 3·K, 112, 112) float32 RGB in [0, 1], K stills one after the other → :class:`IdentityMaps`.

    Buffers ``pixel_mean`` and ``pixel_std`` (1, 3·K, 1, 1), on the 0–255 scale, normalise the input.

    Args:
        images: K, the number of stills.
        width: factor on all channel counts; 1 is the paper's.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, images: int = 5, width: float = 1.0) -> None:
        super().__init__()
        c96, c256, c512 = (int(channels * width) for channels in (96, 256, 512))
        self.images = images
        self.code_size = c256
        self.register_buffer("pixel_mean", torch.full((1, 3 * images, 1, 1), 127.5))
        self.register_buffer("pixel_std", torch.full((1, 3 * images, 1, 1), 64.0))
        self.conv1 = ConvNormReLU(3 * images, c96, 7, stride=2)  # 53
        self.pool1 = MaxPool(stride=(2, 2))  # 26
        self.conv2 = ConvNormReLU(c96, c256, 5, stride=2, padding=1)  # 12
        self.pool2 = MaxPool(stride=(2, 2), pads=(0, 1, 0, 1))  # 6
        self.conv3 = ConvNormReLU(c256, c512, 3, padding=1)
        self.conv4 = ConvNormReLU(c512, c512, 3, padding=1)
        self.conv5 = ConvNormReLU(c512, c512, 3, padding=1)
        self.fc6 = ConvNormReLU(c512, c512, 6)
        self.fc7 = ConvNormReLU(c512, c256, 1)

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and standard deviation of the colours, (3,) float32 RGB each, on the 0–255 scale."""
        self.pixel_mean.copy_(mean.reshape(1, 3, 1, 1).repeat(1, self.images, 1, 1))
        self.pixel_std.copy_(std.reshape(1, 3, 1, 1).repeat(1, self.images, 1, 1))

    def forward(self, stills: Tensor) -> IdentityMaps:
        size = (3 * self.images, FACE_PX, FACE_PX)
        if stills.shape[1:] != size:
            raise ValueError(f"stills must be (B, *{size}), not {tuple(stills.shape)}")
        conv1 = self.conv1((stills * 255.0 - self.pixel_mean) / self.pixel_std)
        pool1 = self.pool1(conv1)
        conv2 = self.conv2(pool1)
        code = self.fc7(self.fc6(self.conv5(self.conv4(self.conv3(self.pool2(conv2))))))
        return IdentityMaps(stills, conv1, pool1, conv2, code.flatten(1))
