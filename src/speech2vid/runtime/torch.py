"""PyTorch networks to weight files and back, and behind the call that ONNX Runtime networks have.

``--engine torch`` runs the graphs of weight files through :func:`torch_loader`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import PAPER_LANDMARKS
from speech2vid.errors import WeightsError
from speech2vid.models.network import Network
from speech2vid.runtime.devices import choose_device
from speech2vid.runtime.registry import ARCHITECTURES
from speech2vid.runtime.weights import Tensors, WeightsHeader, read_header, read_weights, write_weights

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def save(
    network: Network,
    path: Path,
    *,
    data: str = "",
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
    landmarker: str = PAPER_LANDMARKS,
    half: bool = False,
) -> WeightsHeader:
    """Write a network's parameters and buffers with its config.

    Args:
        landmarker: name and version of the landmarker of the training data.
        half: store matrices and kernels as float16. Vectors (biases, batch norm, normalisation) stay float32.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        stored = tensor.detach().cpu()
        if half and stored.dim() > 1 and stored.dtype == torch.float32 and name in dict(network.named_parameters()):
            stored = stored.half()
        tensors[name] = stored.numpy()
    header = WeightsHeader(
        network.architecture, network.config.to_dict(), data, dict(metrics or {}), licence, landmarker=landmarker
    )
    return write_weights(path, header, tensors)


def load(path: Path, network_class: type[AnyNetwork]) -> tuple[AnyNetwork, WeightsHeader]:
    """Build the network that a weight file describes and fill it: float32, on the CPU, in evaluation mode.

    Raises:
        WeightsError: as :func:`speech2vid.runtime.weights.read_weights`; also for tensors that the network
            does not have, lacks, or has in another shape.
        ConfigError: the file's config has an unknown setting.
    """
    header, arrays = read_weights(path, network_class.architecture)
    network = network_class(network_class.Config.from_dict(header.config))
    fill_tensors(network, path, arrays)
    return network.eval(), header


def fill(network: nn.Module, path: Path, architecture: str) -> WeightsHeader:
    """Put the weights of a file into a network that is there. WeightsError as for :func:`load`."""
    header, arrays = read_weights(path, architecture)
    fill_tensors(network, path, arrays)
    return header


def fill_tensors(network: nn.Module, path: Path, arrays: Tensors) -> None:
    """Put tensors into a network that is there; WeightsError, which names ``path``, unless they are its own."""
    wanted = network.state_dict()
    _match(path, wanted, {name: array.shape for name, array in arrays.items()})
    network.load_state_dict({name: torch.from_numpy(arrays[name]).to(tensor) for name, tensor in wanted.items()})


def _match(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, tuple[int, ...]]) -> None:
    hint = "the file was made by another version of this network; train or fetch it again"
    for name in found:
        if name not in wanted:
            near = difflib.get_close_matches(name, wanted, n=1)
            raise WeightsError(
                f"{path} has an unknown tensor {name}", f"nearest is {near[0]}; {hint}" if near else hint
            )
    for name, tensor in wanted.items():
        if name not in found:
            raise WeightsError(f"{path} has no tensor {name}", hint)
        if found[name] != tuple(tensor.shape):
            raise WeightsError(f"{path}: {name} has shape {found[name]}, not {tuple(tensor.shape)}", hint)


class TorchNetwork:
    """Run one of a network's graphs on a torch device, in float32; the network is moved there, in evaluation mode.

    Args:
        network: loaded with :func:`speech2vid.runtime.torch.load`.
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


def torch_loader(device: str = "auto") -> Callable[[Path, str], TorchNetwork]:
    """A function from weight file and name of a graph to that graph on a torch device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes CUDA or MPS where it is there.

    Raises:
        ConfigError: no such device here.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    place = choose_device(device, there, instead="install another build of PyTorch")
    loaded: dict[Path, Network] = {}

    def load_graph(weights: Path, graph: str) -> TorchNetwork:
        header = read_header(weights)
        if header.architecture not in ARCHITECTURES:
            raise WeightsError(
                f"{weights} holds a {header.architecture}, which is no network of this package",
                f"give one of {', '.join(ARCHITECTURES)}",
            )
        if weights not in loaded:
            loaded[weights], _ = load(weights, ARCHITECTURES[header.architecture].network_class())
        return TorchNetwork(loaded[weights], graph, place, header)

    return load_graph
