"""A graph of a torch network behind the call that the ONNX engine has: named numpy arrays in and out, on any device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from speech2vid.models.network import Network
from speech2vid.weightfile import WeightsHeader


class TorchNetwork:
    """Run one of a network's graphs on a torch device, in float32; the network is moved there, in evaluation mode.

    Args:
        network: loaded with :func:`speech2vid.models.checkpoint.load`.
        graph: a name among ``network.graphs()``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        header: of the weight file, if it is wanted.
    """

    def __init__(self, network: Network, graph: str, device: str = "cpu", header: WeightsHeader | None = None) -> None:
        network.to(device).eval()
        graphs = {each.name: each for each in network.graphs()}
        if graph not in graphs:
            raise ValueError(f"{network.architecture} has no graph {graph!r}, only {sorted(graphs)}")
        self.header = header or WeightsHeader(network.architecture, network.config.to_dict())
        self.graph = graphs[graph]
        self.device = device

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph; ValueError on a missing or unknown name."""
        if inputs.keys() != self.graph.example.keys():
            raise ValueError(f"the graph takes {sorted(self.graph.example)}, not {sorted(inputs)}")
        tensors = {
            name: torch.as_tensor(inputs[name], dtype=torch.float32, device=self.device) for name in self.graph.example
        }
        return {name: tensor.cpu().numpy() for name, tensor in self.graph.run(tensors).items()}
