"""The one block both encoders are made of."""

from __future__ import annotations

from torch import Tensor, nn

Size = int | tuple[int, int]


class ConvNormReLU(nn.Sequential):
    """Convolution, batch norm, ReLU. The convolution has no bias: batch norm has one."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size = 1, padding: Size = 0) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class MaxPool(nn.Module):
    """3×3 max pooling with uneven pads. Pads repeat nothing and win nothing: inputs come from ReLU, so zero is neutral.

    Args:
        stride: rows, columns.
        pads: (left, right, top, bottom), in the order of ``torch.nn.functional.pad``.
    """

    def __init__(self, stride: tuple[int, int], pads: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d(pads) if any(pads) else nn.Identity()
        self.pool = nn.MaxPool2d(3, stride)

    def forward(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.pad(maps))
        return pooled
