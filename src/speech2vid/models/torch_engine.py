"""The talker's networks on PyTorch, from the weight files that the ONNX graphs point into: ``--engine torch``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from speech2vid.errors import ConfigError, WeightsError
from speech2vid.models.checkpoint import load
from speech2vid.models.network import Network
from speech2vid.models.shape_predictor import ShapePredictor
from speech2vid.models.torch_network import TorchNetwork
from speech2vid.models.warp_talker import WarpTalker
from speech2vid.weightfile import read_header

NETWORKS: dict[str, type[Network]] = {each.architecture: each for each in (WarpTalker, ShapePredictor)}


def torch_loader(device: str = "auto") -> Callable[[Path, str], TorchNetwork]:
    """A function from weight file and name of a graph to that graph on a torch device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes CUDA or MPS where it is there.

    Raises:
        ConfigError: no such device here.
    """
    place = _device(device)
    loaded: dict[Path, Network] = {}

    def load_graph(weights: Path, graph: str) -> TorchNetwork:
        header = read_header(weights)
        if header.architecture not in NETWORKS:
            raise WeightsError(f"{weights} holds a {header.architecture}", f"give one of {', '.join(NETWORKS)}")
        if weights not in loaded:
            loaded[weights], _ = load(weights, NETWORKS[header.architecture])
        return TorchNetwork(loaded[weights], graph, place, header)

    return load_graph


def _device(name: str) -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, found in there.items() if found)
    kind = name.split(":")[0]
    if kind not in there:
        raise ConfigError(f"there is no device {name!r}", f"choose from: auto, {', '.join(there)}")
    if not there[kind]:
        raise ConfigError(f"device {name} is not available here", "use --device cpu, or another build of PyTorch")
    return name
