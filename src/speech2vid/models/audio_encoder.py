"""Audio encoder (Fig. 4, Sect. 3.1): 0.35 s of MFCC → one code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech2vid.constants import WINDOW_COEFFICIENTS, WINDOW_STEPS
from speech2vid.models.layers import ConvNormReLU, MaxPool


class AudioEncoder(nn.Module):
    """MFCC windows (N, 1, 12, 35) float32, as the front end gives them → code (N, 256 · width) float32, ≥ 0.

    Buffers ``mfcc_mean`` and ``mfcc_std`` (1, 1, 12, 1) normalise each coefficient; they start at 0 and 1 and are
    set from the training data with :meth:`set_normalisation`.

    Args:
        width: factor on all channel counts; 1 is the paper's.
    """

    mfcc_mean: Tensor
    mfcc_std: Tensor

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256, c512 = (int(channels * width) for channels in (64, 128, 256, 512))
        self.code_size = c256
        self.register_buffer("mfcc_mean", torch.zeros(1, 1, WINDOW_COEFFICIENTS, 1))
        self.register_buffer("mfcc_std", torch.ones(1, 1, WINDOW_COEFFICIENTS, 1))
        self.conv1 = ConvNormReLU(1, c64, 3, padding=1)  # 12 × 35
        self.conv2 = ConvNormReLU(c64, c128, 3, padding=1)
        self.pool2 = MaxPool(stride=(1, 2), pads=(0, 0, 1, 0))  # 11 × 17
        self.conv3 = ConvNormReLU(c128, c256, 3, padding=1)
        self.conv4 = ConvNormReLU(c256, c256, 3, padding=1)
        self.conv5 = ConvNormReLU(c256, c256, 3, padding=1)
        self.pool5 = MaxPool(stride=(2, 2))  # 5 × 8
        self.fc6 = ConvNormReLU(c256, c512, (5, 8))
        self.fc7 = ConvNormReLU(c512, c256, 1)

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and standard deviation of each coefficient, (12,) float32 each, of the training data."""
        self.mfcc_mean.copy_(mean.reshape(self.mfcc_mean.shape))
        self.mfcc_std.copy_(std.reshape(self.mfcc_std.shape))

    def forward(self, windows: Tensor) -> Tensor:
        if windows.shape[1:] != (1, WINDOW_COEFFICIENTS, WINDOW_STEPS):
            raise ValueError(
                f"windows must be (N, 1, {WINDOW_COEFFICIENTS}, {WINDOW_STEPS}), not {tuple(windows.shape)}"
            )
        maps = (windows - self.mfcc_mean) / self.mfcc_std
        maps = self.pool2(self.conv2(self.conv1(maps)))
        maps = self.pool5(self.conv5(self.conv4(self.conv3(maps))))
        code: Tensor = self.fc7(self.fc6(maps))
        return code.flatten(1)
