"""Export of trained networks: weight files of half precision, and ONNX graphs that point into them."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from speech2vid.errors import OutputError, WeightsError
from speech2vid.files import atomic_write
from speech2vid.models.audio_to_mouth import AudioToMouth
from speech2vid.models.network import Graph, Network
from speech2vid.runtime.engine import graph_path
from speech2vid.runtime.onnx import onnx_runtime
from speech2vid.runtime.registry import ARCHITECTURES
from speech2vid.runtime.torch import load, save
from speech2vid.runtime.weights import Span, WeightsHeader, read_header, tensor_spans, weight_set
from speech2vid.training.tasks.audio_to_mouth import CALIBRATION

LICENCE = "that of the data it was trained on"


def pack(best: Mapping[str, Path], out: Path, *, data: str, licence: str = LICENCE) -> list[Path]:
    """Write the weight files and graphs of a training.

    Args:
        best: task → file of its best weights.
        out: folder for the weight files and graphs.
        data, licence: for the headers.

    Returns:
        the files.

    Raises:
        OutputError: they cannot be written.
    """
    files: list[Path] = []
    with _writing(out):
        for task, source in best.items():
            if task not in ARCHITECTURES or not ARCHITECTURES[task].exported:
                continue
            network, header = load(source, _class_of(source))
            if isinstance(network, AudioToMouth):
                network.calibration.copy_(torch.tensor([header.metrics[name] for name in CALIBRATION]))
            target = out / f"{task}.safetensors"
            save(
                network,
                target,
                data=data,
                metrics=header.metrics,
                licence=licence,
                landmarker=header.landmarker,
                half=True,
            )
            files += [target, *export_graphs(target, type(network))]
    return files


def export(out: Path, weights: str | Path | None = None) -> list[Path]:
    """Copy weight files and make their graphs next to them.

    Args:
        out: folder.
        weights: a shipped set, a folder of weight files, or a weight file; None for the default set.

    Returns:
        the files in ``out``.

    Raises:
        WeightsError: there are none, or one is damaged or of an unknown network.
        OutputError: they cannot be written.
    """
    found = weight_set(weights)
    sources = [found.source] if found.source.is_file() else sorted(found.source.glob("*.safetensors"))
    if not sources:
        raise WeightsError(
            f"there is no weight file in {found.name}", "give a .safetensors file, or a folder with some"
        )
    kinds = [_class_of(source) for source in sources]
    files: list[Path] = []
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for source, kind in zip(sources, kinds, strict=True):
            target = out / source.name
            if not (target.exists() and target.samefile(source)):
                atomic_write(target, source.read_bytes())
            files += [target, *export_graphs(target, kind)]
    return files


def _class_of(path: Path) -> type[Network]:
    architecture = read_header(path).architecture
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise WeightsError(
            f"{path} holds a {architecture}, which has no graphs", f"give the weights of one of: {known}"
        )
    network: type[Network] = ARCHITECTURES[architecture].network_class()
    return network


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{folder} cannot be written: {reason}", "check its permissions and the free space"
        ) from error


OPSET = 17
PREFIX = "network."
ONNX_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I64": TensorProto.INT64}


def export_graphs(weights: Path, network_class: type[Network]) -> tuple[Path, ...]:
    """Write ``<weights stem>.<graph name>.onnx`` next to a weight file, for each of its network's graphs.

    Each graph is run once, with its free axes a step longer than in the example it was traced with, and must give what
    the network gives.

    Raises:
        WeightsError: as :func:`speech2vid.runtime.torch.load`.
        RuntimeError: the network's code cannot be traced as it is; no graph of it is left behind.
    """
    network, header = load(weights, network_class)
    models = {}
    for graph in network.graphs():
        path = graph_path(weights, graph.name)
        models[path] = _trace(network, graph, weights, header)
        _check(models[path], network, graph, weights)
    for path, model in models.items():
        atomic_write(path, model)
    return tuple(models)


class _Flat(nn.Module):
    """A graph's computation with positional tensors, as the tracer wants it."""

    def __init__(self, network: Network, graph: Graph) -> None:
        super().__init__()
        self.network = network
        self.graph = graph

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.graph.run(dict(zip(self.graph.example, tensors, strict=True))).values())


def _trace(network: Network, graph: Graph, weights: Path, header: WeightsHeader) -> bytes:
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
    helper.set_model_props(
        model,
        {"architecture": network.architecture, "weights_file": weights.name, "weights_sha256": header.sha256},
    )
    blob: bytes = model.SerializeToString()
    return blob


def _check(model: bytes, network: Network, graph: Graph, weights: Path) -> None:
    inputs = {}
    for name, tensor in graph.example.items():
        for axis in graph.free_axes.get(name, {}):
            tensor = torch.cat([tensor, tensor.narrow(axis, 0, 1)], dim=axis)
        inputs[name] = tensor
    with torch.no_grad():
        wanted = graph.run(dict(inputs))
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(weights.parent.resolve())
    )
    where = f"{network.architecture}, graph {graph.name}"
    hint = "sizes read from a tensor may have become constants in the trace: prefer reshape with -1, expand_as, flatten"
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found = session.run(list(wanted), {name: tensor.numpy() for name, tensor in inputs.items()})
    except Exception as error:
        raise RuntimeError(f"{where}: {error} ({hint})") from error
    for (name, tensor), array in zip(wanted.items(), found, strict=True):
        if array.shape != tuple(tensor.shape) or not np.allclose(array, tensor.numpy(), rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{where}: {name} differs from the network's ({hint})")


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
        span = spans[name]
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
