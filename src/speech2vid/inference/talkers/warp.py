"""The warp talker as numpy → numpy: which networks there are, where they lie, how they are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import IDENTITY_STILLS, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.files import package_weights
from speech2vid.runtime.onnx import Arrays, OnnxNetwork, onnx_runtime
from speech2vid.runtime.weights import WeightsHeader, read_weights
from speech2vid.types import Floats

BATCH = 16  # frames computed at once

TALKER, AUDIO_TO_MOUTH = "warp_talker", "audio_to_mouth"  # stems of the weight files
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class RunnableGraph(Protocol):
    """A graph of a network, ready to run, on whatever engine: named arrays in, named arrays out."""

    @property
    def header(self) -> WeightsHeader:
        """Of the weight file."""
        ...

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run the graph; float32."""
        ...


@dataclass(frozen=True)
class Fields:
    """What is predicted for N frames.

    Attributes:
        flow: (N, K, 2, 32, 48) float32: an output pixel is sampled from this far away in still k; x, y, px of the
            aligned face. One cell is 2 × 2 px.
        masks: (N, K + 1, 64, 96) float32, non-negative, sum 1; the last one is the residual's.
        residual: (N, 3, 64, 96) float32 RGB in [0, 1].
    """

    flow: Floats
    masks: Floats
    residual: Floats


class TalkerNetworks:
    """The talker's graphs, loaded.

    Args:
        folder: holds the weight files and their graphs; None for those of the package.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: for one call; 0 for one a core.
        load: another engine than ONNX Runtime: weight file and name of a graph → the graph; it knows the device.

    Raises:
        WeightsError: a file is missing or damaged.
        ConfigError: no such device here.
    """

    def __init__(
        self,
        folder: Path | None = None,
        device: str = "auto",
        threads: int = 0,
        *,
        load: Callable[[Path, str], RunnableGraph] | None = None,
    ) -> None:
        folder = folder or package_weights()
        if load is None:
            providers = list(dict.fromkeys((provider(device), PROVIDERS["cpu"])))

            def load(weights: Path, name: str) -> RunnableGraph:
                return OnnxNetwork(weights.with_suffix(f".{name}.onnx"), weights, threads, providers)

        def graph(stem: str, name: str) -> RunnableGraph:
            return load(folder / f"{stem}.safetensors", name)

        self._identity, self._frames = graph(TALKER, "identity"), graph(TALKER, "frames")
        self.audio_to_mouth = graph(AUDIO_TO_MOUTH, "mouth_motion")
        header, tensors = read_weights(folder / f"{TALKER}.safetensors")
        self.sha256 = header.sha256
        try:
            self.neutral_weight: Floats = tensors["rest.weight"].astype(np.float32)
            self.speech: Floats = tensors["speech"].astype(np.float32)
        except KeyError as error:
            raise WeightsError(f"{folder / TALKER}.safetensors lacks the tensor {error}", "export it again") from error

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the tensors, by network."""
        return {TALKER: self._frames.header.sha256, AUDIO_TO_MOUTH: self.audio_to_mouth.header.sha256}

    def identity(self, faces: NDArray[np.uint8], mouths: Floats) -> Arrays:
        """Features of a person: aligned faces (5, 112, 112, 3) RGB, their mouths (5, 20, 2) px → maps by name."""
        rows, columns = slice(REGION_TOP, REGION_TOP + REGION_HEIGHT), slice(REGION_LEFT, REGION_LEFT + REGION_WIDTH)
        stills = faces[:, rows, columns].transpose(0, 3, 1, 2).astype(np.float32) / 255
        assert len(stills) == IDENTITY_STILLS
        return self._identity({"stills": stills[None], "mouths": mouths[None]})

    def frames(self, features: Arrays, mouths: Floats, targets: Floats) -> Fields:
        """Fields for mouth shapes (N, 20, 2) px."""
        out = self._frames({**features, "mouths": mouths[None], "targets": targets})
        return Fields(out["flow"], out["masks"], out["residual"])


def provider(device: str) -> str:
    available = onnx_runtime().get_available_providers()
    if device == "auto":
        return PROVIDERS["cuda"] if PROVIDERS["cuda"] in available else PROVIDERS["cpu"]
    if device not in PROVIDERS:
        hint = "it needs --engine torch" if device == "mps" else f"choose from: auto, {', '.join(PROVIDERS)}"
        raise ConfigError(f"there is no device {device!r} for ONNX Runtime", hint)
    if PROVIDERS[device] not in available:
        raise ConfigError(f"device {device} is not available here", "use --device cpu, or install onnxruntime-gpu")
    return PROVIDERS[device]
