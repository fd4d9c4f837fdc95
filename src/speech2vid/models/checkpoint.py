"""Torch networks to weight files and back."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from speech2vid.errors import WeightsError
from speech2vid.models.network import Network
from speech2vid.weightfile import Tensors, WeightsHeader, read_weights, write_weights

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def save(
    network: Network,
    path: Path,
    *,
    data: str = "",
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
    half: bool = False,
) -> WeightsHeader:
    """Write a network's parameters and buffers with its config.

    Args:
        half: store matrices and kernels as float16. Vectors (biases, batch norm, normalisation) stay float32.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        stored = tensor.detach().cpu()
        if half and stored.dim() > 1 and stored.dtype == torch.float32 and name in dict(network.named_parameters()):
            stored = stored.half()
        tensors[name] = stored.numpy()
    header = WeightsHeader(network.architecture, network.config.to_dict(), data, dict(metrics or {}), licence)
    return write_weights(path, header, tensors)


def load(path: Path, network_class: type[AnyNetwork]) -> tuple[AnyNetwork, WeightsHeader]:
    """Build the network that a weight file describes and fill it: float32, on the CPU, in evaluation mode.

    Raises:
        WeightsError: as :func:`speech2vid.weightfile.read_weights`; also for tensors that the network has not, lacks,
            or has in another shape.
        ConfigError: the file's config has an unknown setting.
    """
    header, arrays = read_weights(path, network_class.architecture)
    network = network_class(network_class.Config.from_dict(header.config))
    _fill(network, path, arrays)
    return network.eval(), header


def fill(network: nn.Module, path: Path, architecture: str) -> WeightsHeader:
    """Put the weights of a file into a network that is there. WeightsError as for :func:`load`."""
    header, arrays = read_weights(path, architecture)
    _fill(network, path, arrays)
    return header


def _fill(network: nn.Module, path: Path, arrays: Tensors) -> None:
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
            raise WeightsError(f"{path} lacks the tensor {name}", hint)
        if found[name] != tuple(tensor.shape):
            raise WeightsError(f"{path}: {name} has shape {found[name]}, not {tuple(tensor.shape)}", hint)
