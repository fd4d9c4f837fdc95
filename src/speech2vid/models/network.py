"""What every trainable network shares: a name, a config, and the entry points its ONNX graphs are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from speech2vid.models.config import NetworkConfig


@dataclass(frozen=True)
class Graph:
    """One entry point of a network: named tensors in, named tensors out.

    Attributes:
        name: part of the graph's file name (``identity``, ``frames``).
        run: the computation. Reads the inputs by name, returns the outputs by name, touches no other state than
            the network's parameters and buffers. Must be traceable: no branch on tensor values.
        example: an input of each name, with the sizes that stay fixed.
        free_axes: input or output name → axis → label, for axes whose size may change; equal labels, equal sizes.
    """

    name: str
    run: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    example: dict[str, Tensor]
    free_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


class Network(nn.Module):
    """Base of the networks that are saved, loaded and exported.

    Attributes:
        architecture: the name in the checkpoint; loading another one's weights is refused.
        Config: the class of ``config``.
    """

    architecture: ClassVar[str]
    Config: ClassVar[type[NetworkConfig]]

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def graphs(self) -> tuple[Graph, ...]:
        """The entry points that become ONNX files; call in evaluation mode. Examples lie on the parameters' device."""
        raise NotImplementedError


def he_initialise(module: nn.Module) -> None:
    """He-normal weights and zero biases for every convolution inside: ReLU stacks without batch norm start alive.

    With a transposed convolution of stride 2 a quarter of the kernel reaches each output: its fan is that much smaller.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kernel = layer.kernel_size[0] * layer.kernel_size[1]
            stride = layer.stride[0] * layer.stride[1] if isinstance(layer, nn.ConvTranspose2d) else 1
            fan_in = layer.in_channels * kernel / stride
            nn.init.normal_(layer.weight, std=(2.0 / fan_in) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
