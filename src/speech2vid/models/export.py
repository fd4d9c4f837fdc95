"""Torch networks to ONNX graphs that hold no weights: they point into the network's weight file.

ONNX allows a tensor to lie in another file at an offset; a safetensors file is exactly that: raw tensors at known
offsets. Tensors stored as float16 get a Cast to float32 in the graph, which the runtime computes once, at load.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from speech2vid.errors import WeightsError
from speech2vid.models.network import Graph, Network
from speech2vid.weightfile import Span, read_header, tensor_spans, write_whole

OPSET = 17
PREFIX = "network."
ONNX_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I64": TensorProto.INT64}


def export_graphs(network: Network, weights: Path) -> tuple[Path, ...]:
    """Write ``<weights stem>.<graph name>.onnx`` beside the weight file, for each of the network's graphs.

    Args:
        network: as loaded from ``weights``, on the CPU; only its structure is used.
        weights: a file written by :func:`speech2vid.models.checkpoint.save`.

    Raises:
        WeightsError: the weight file lacks a tensor that a graph reads, or has it in another shape.
    """
    was_training = network.training
    network.eval()
    try:
        return tuple(_export(network, graph, weights) for graph in network.graphs())
    finally:
        network.train(was_training)


class _Flat(nn.Module):
    """A graph's computation with positional tensors, as the tracer wants it."""

    def __init__(self, network: Network, graph: Graph) -> None:
        super().__init__()
        self.network = network
        self.graph = graph

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.graph.run(dict(zip(self.graph.example, tensors, strict=True))).values())


def _export(network: Network, graph: Graph, weights: Path) -> Path:
    with torch.no_grad():
        outputs = graph.run(dict(graph.example))
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        traced = Path(folder) / "traced.onnx"
        warnings.simplefilter("ignore")  # the tracer is deprecated, and warns of each check on shapes
        torch.onnx.export(
            _Flat(network, graph),
            tuple(graph.example.values()),
            traced,
            input_names=list(graph.example),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.free_axes.items()},
            opset_version=OPSET,
            dynamo=False,
            # Keep each tensor under its own name, as it is stored: nothing fused, folded, or merged with its equal.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            keep_initializers_as_inputs=True,
        )
        model = onnx.load(traced)
    _point_into(model, weights, set(network.state_dict()))
    del model.graph.output[:]  # the tracer guesses their sizes; we know them
    for name, tensor in outputs.items():
        free = graph.free_axes.get(name, {})
        shape = [free.get(axis, size) for axis, size in enumerate(tensor.shape)]
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    header = read_header(weights)
    helper.set_model_props(
        model,
        {"architecture": network.architecture, "weights_file": weights.name, "weights_sha256": header.sha256},
    )
    path = weights.with_name(f"{weights.stem}.{graph.name}.onnx")
    write_whole(path, model.SerializeToString())
    return path


def _point_into(model: onnx.ModelProto, weights: Path, state: set[str]) -> None:
    """Replace the initialisers that are in the network's state by references into the weight file."""
    spans = tensor_spans(weights)
    graph = model.graph
    initialisers = list(graph.initializer)
    names = {tensor.name for tensor in initialisers}
    given = [value for value in graph.input if value.name not in names]
    casts = []
    del graph.initializer[:], graph.input[:]
    graph.input.extend(given)
    for tensor in initialisers:
        name = tensor.name.removeprefix(PREFIX)
        if name not in state:  # a constant of the computation
            graph.initializer.append(tensor)
            continue
        span = spans.get(name)
        if span is None or span.shape != tuple(tensor.dims):
            raise WeightsError(
                f"{weights} has {name} as {span.shape if span else 'nothing'}, the network as {tuple(tensor.dims)}",
                "export with the weight file that was saved from this network",
            )
        stored = ONNX_TYPES[span.dtype]
        if stored == tensor.data_type:
            graph.initializer.append(_external(tensor.name, stored, span, weights.name))
        else:
            graph.initializer.append(_external(f"{tensor.name}.stored", stored, span, weights.name))
            casts.append(helper.make_node("Cast", [f"{tensor.name}.stored"], [tensor.name], to=tensor.data_type))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def _external(name: str, data_type: int, span: Span, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=data_type, dims=span.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", span.offset), ("length", span.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
