"""VGG-M weights that a user brings: MatConvNet's ``.mat``, or safetensors (Sect. 3.1).

No package carries them, and their licence is not ours to pass on. Wanted are ``conv1`` … ``conv5``; what else the file
holds is left out.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from speech2vid.errors import MissingExtraError, WeightsError

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
HINT = "give VGG-M face weights: conv1 … conv5, as MatConvNet's .mat or as safetensors with conv1.weight, conv1.bias …"

Layers = dict[str, dict[str, Tensor]]


def read_vgg(path: Path) -> Layers:
    """Convolutions by name: ``weight`` (out, in, rows, columns), and what batch norm starts with (``norm.bias``).

    Its input is 0–255 RGB less a mean: ``scale`` of conv1 is 1.

    Raises:
        WeightsError: missing, unreadable, or without one of the convolutions.
        MissingExtraError: a ``.mat`` file, and SciPy is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", HINT)
    found = _matconvnet(path) if path.suffix == ".mat" else _safetensors(path)
    layers: Layers = {}
    for name in CONVOLUTIONS:
        if name not in found:
            raise WeightsError(f"{path} has no layer {name}, only: {', '.join(sorted(found)) or 'none'}", HINT)
        weight, bias = found[name]
        layers[name] = {"weight": weight, "norm.bias": bias}
    layers["conv1"]["scale"] = torch.ones(1, 3, 1, 1)
    return layers


def _safetensors(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file, or it is damaged: {error}", HINT) from error
    found = {}
    for key, weight in tensors.items():
        name, _, what = key.rpartition(".")
        if what == "weight" and weight.dim() == 4:
            bias = tensors.get(f"{name}.bias", weight.new_zeros(len(weight)))
            found[name.rpartition(".")[2]] = (weight.float(), bias.float())
    return found


def _matconvnet(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """``layers`` is a cell array of structs with ``name`` and ``weights`` {filters, biases} (or, older, both by name).

    Filters are (rows, columns, in, out).
    """
    if find_spec("scipy") is None:
        raise MissingExtraError(f"{path} is a MATLAB file, which SciPy reads", "pip install scipy")
    from scipy.io import loadmat

    try:
        content = loadmat(str(path), squeeze_me=False, struct_as_record=False)
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise WeightsError(f"{path} is not a MATLAB file of version 5, or it is damaged: {error}", HINT) from error
    network = content["net"][0, 0] if "net" in content else content
    layers = network["layers"] if isinstance(network, dict) else getattr(network, "layers", None)
    found = {}
    for cell in np.ravel(layers) if layers is not None else ():
        layer = np.ravel(cell)[0]
        values: list[NDArray[Any]] = [np.asarray(each) for each in np.ravel(getattr(layer, "weights", ()))]
        if not values and hasattr(layer, "filters"):
            values = [np.asarray(layer.filters), np.asarray(layer.biases)]
        if len(values) >= 2 and values[0].ndim == 4:
            weight = torch.from_numpy(np.ascontiguousarray(values[0].transpose(3, 2, 0, 1), np.float32))
            found[str(np.ravel(layer.name)[0])] = (weight, torch.from_numpy(values[1].astype(np.float32).ravel()))
    return found
