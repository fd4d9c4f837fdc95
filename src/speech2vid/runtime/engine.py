"""A graph of a network on whichever engine: from a weight file and the graph's name to a function of named arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from speech2vid.errors import ConfigError, MissingExtraError
from speech2vid.runtime.devices import onnx_providers
from speech2vid.runtime.onnx import Arrays, OnnxNetwork
from speech2vid.runtime.weights import WeightsHeader

EXTRA = "install the extra: pip install 'speech2vid[train]'"


class RunnableGraph(Protocol):
    """A graph of a network, ready to run: named arrays in, named arrays out. Safe to call from several threads."""

    @property
    def header(self) -> WeightsHeader:
        """Return the header of the weight file."""
        ...

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run the graph; float32."""
        ...


LoadGraph = Callable[[Path, str], RunnableGraph]  # weight file, name of one of its graphs


def graph_loader(device: str = "auto", threads: int = 0, engine: str = "onnx") -> LoadGraph:
    """Return the function that loads graphs for one engine and device.

    A weight file without graphs next to it is run by PyTorch, if that is installed, whatever the engine.

    Args:
        device: ``auto``, ``cpu``, ``cuda``; with PyTorch also ``cuda:1`` and ``mps``.
        threads: for one call on ONNX Runtime; 0 for one a core.
        engine: ``onnx`` or ``torch``.

    Raises:
        ConfigError: an unknown engine or device, or a device that this machine lacks.
        MissingExtraError: PyTorch is requested and not installed.
    """
    if engine == "torch":
        return _torch_loader(device)
    if engine != "onnx":
        raise ConfigError(f"unknown engine {engine!r}", "choose from: onnx, torch")
    providers = onnx_providers(device)

    def load(weights: Path, graph: str) -> RunnableGraph:
        path = graph_path(weights, graph)
        if path.is_file() or not weights.is_file():
            return OnnxNetwork(path, weights, threads, providers)
        if find_spec("torch") is None:
            raise MissingExtraError(
                f"{weights} has no graphs next to it, and PyTorch, which could run it alone, is not installed",
                f"write them with speech2vid export, or {EXTRA}",
            )
        return _torch_loader(device)(weights, graph)

    return load


def graph_path(weights: Path, graph: str) -> Path:
    """Return the ONNX file of a weight file's graph."""
    return weights.with_name(f"{weights.stem}.{graph}.onnx")


def _torch_loader(device: str) -> LoadGraph:
    if find_spec("torch") is None:
        raise MissingExtraError("--engine torch needs torch", EXTRA)
    return cast(LoadGraph, import_module("speech2vid.runtime.torch").torch_loader(device))
