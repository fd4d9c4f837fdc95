"""A network on ONNX Runtime: named numpy arrays in, named numpy arrays out. Local files only, no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2vid.errors import WeightsError
from speech2vid.runtime.weights import WeightsHeader, read_weights

Arrays = dict[str, NDArray[Any]]
EXPORT = "export the graph again from this weight file"


def onnx_runtime() -> Any:
    """Import ONNX Runtime, its telemetry off, and return the module.

    ONNX Runtime's own builds report to their maker when they are loaded, and keep a device number in the user's home.
    Nothing about our users leaves their machine; to allow it, set ``ORT_DISABLE_TELEMETRY`` to 0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")


class OnnxNetwork:
    """One graph of a network, ready to run; safe to call from several threads.

    Args:
        graph: the ``.onnx`` file, which holds no weights.
        weights: the weight file that the graph was exported for; it may lie in another folder but keeps its name.
        threads: for computing one call; 0 lets ONNX Runtime take one a core.
        providers: ONNX Runtime's execution providers, first choice first.

    Attributes:
        header: of the weight file: config, data, metrics, licence.
        inputs: name → shape, a label (str) where the size is free.
        outputs: names, in the order of the graph.

    Raises:
        WeightsError: a file is missing, damaged, or not made for the other one.
    """

    header: WeightsHeader
    inputs: dict[str, tuple[int | str, ...]]
    outputs: tuple[str, ...]

    def __init__(
        self, graph: Path, weights: Path, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        if not graph.is_file():
            raise WeightsError(f"{graph} does not exist", "check the path, or write the graphs with speech2vid export")
        self._graph = graph
        self.header, _ = read_weights(weights)
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors come as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decoding and encoding need the cores
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.fspath(weights.parent.resolve())
        )
        try:
            self._session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=list(providers))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise WeightsError(f"{graph} cannot be loaded with {weights}: {_first_line(error)}", EXPORT) from error
        made_for = self._session.get_modelmeta().custom_metadata_map
        if made_for.get("weights_sha256") != self.header.sha256:
            raise WeightsError(f"{graph} was not made for {weights}", EXPORT)
        self.inputs = {value.name: tuple(value.shape) for value in self._session.get_inputs()}
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run the graph.

        Args:
            inputs: an array for every name in ``self.inputs``; float32 is made of other types.

        Raises:
            ValueError: a name is missing or unknown, or a shape does not fit.
        """
        if inputs.keys() != self.inputs.keys():
            raise ValueError(f"the graph takes {sorted(self.inputs)}, not {sorted(inputs)}")
        for name, shape in self.inputs.items():
            got = inputs[name].shape
            if len(got) != len(shape) or any(isinstance(s, int) and s != g for s, g in zip(shape, got, strict=True)):
                raise ValueError(f"{name} must have shape {shape}, not {got}")
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in inputs.items()}
        try:
            results = self._session.run(None, arrays)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise WeightsError(f"{self._graph} failed: {_first_line(error)}", EXPORT) from error
        return dict(zip(self.outputs, results, strict=True))


def open_session(graph: Path, threads: int) -> Any:
    """Return an ONNX Runtime session on the CPU for a graph that holds its own weights.

    Args:
        graph: the ONNX file.
        threads: for one run; 0 for one a core.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors come as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise WeightsError(f"{graph.name} cannot be read: {_first_line(error)}", "install the package again") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
