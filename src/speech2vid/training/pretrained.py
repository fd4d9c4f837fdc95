"""Pretrained weights that the paper talker's encoders start from.

Identity encoder: convolutions of ``train identity``, or VGG-M weights (Sect. 3.1). Audio encoder: of the task
``audio_encoder``.
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
from torch import Tensor, nn

from speech2vid.errors import MissingExtraError, WeightsError
from speech2vid.models.audio_encoder import AudioEncoder
from speech2vid.models.audio_trunk import AudioTrunk
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.identity_trunk import IdentityTrunk
from speech2vid.models.layers import ConvNormReLU
from speech2vid.runtime.weights import is_ours, read_weights

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
HINT = "give VGG-M face weights: conv1 … conv5, as MatConvNet's .mat or as safetensors with conv1.weight, conv1.bias …"

Layers = dict[str, dict[str, Tensor]]


def read_vgg(path: Path) -> Layers:
    """Return convolutions by name: ``weight`` (out, in, rows, columns), and ``norm.bias``, batch norm's initial bias.

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


def start_identity(encoder: IdentityEncoder, path: Path) -> None:
    """Give an encoder the convolutions of a trained network; its fully connected layers stay as they are.

    The first convolution reads one still there and K stills here: each still gets 1/K of it, so that K equal stills
    give what one did.

    Args:
        encoder: its input normalisation is kept, and the first convolution adapted to it.
        path: of ``train identity``, or VGG-M weights as MatConvNet's ``.mat`` or as safetensors.

    Raises:
        WeightsError: missing, damaged, of another network, or of another size.
        MissingExtraError: a ``.mat`` file, and SciPy is not installed.
    """
    layers = _ours(path) if path.suffix != ".mat" and is_ours(path) else read_vgg(path)
    for name in CONVOLUTIONS:
        block: ConvNormReLU = getattr(encoder, name)
        convolution, norm = block[0], block[1]
        assert isinstance(convolution, nn.Conv2d)
        found = layers[name]
        weight = found["weight"]
        if name == "conv1":
            weight = weight.repeat(1, encoder.images, 1, 1) / encoder.images
            if "scale" in found:  # learnt on differently scaled pixels
                weight = weight * (encoder.pixel_std / found["scale"].repeat(1, encoder.images, 1, 1))
        if weight.shape != convolution.weight.shape:
            wanted = tuple(convolution.weight.shape)
            raise WeightsError(
                f"{path}: {name} has shape {tuple(weight.shape)}, the identity encoder {wanted}",
                "use weights of the same size: VGG-M fits size = 'paper'",
            )
        with torch.no_grad():
            convolution.weight.copy_(weight)
            for key, value in found.items():
                if key.startswith("norm."):
                    getattr(norm, key.removeprefix("norm.")).copy_(value)


def _ours(path: Path) -> dict[str, dict[str, Tensor]]:
    _, arrays = read_weights(path, IdentityTrunk.architecture)
    layers: dict[str, dict[str, Tensor]] = {}
    for name in CONVOLUTIONS:
        start = f"encoder.{name}."
        layers[name] = {"weight": torch.from_numpy(arrays[f"{start}0.weight"]).float()}
        for key in ("weight", "bias", "running_mean", "running_var"):
            layers[name][f"norm.{key}"] = torch.from_numpy(arrays[f"{start}1.{key}"]).float()
    layers["conv1"]["scale"] = torch.from_numpy(arrays["encoder.pixel_std"]).float()
    return layers


def start_audio(encoder: AudioEncoder, path: Path) -> None:
    """Copy the trained encoder of a file of the task ``audio_encoder`` into ``encoder``, normalisation included.

    Raises:
        WeightsError: missing, damaged, of another network, or of another size.
    """
    _, arrays = read_weights(path, AudioTrunk.architecture)
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            found = torch.from_numpy(arrays[f"encoder.{name}"])
            if found.shape != tensor.shape:
                raise WeightsError(
                    f"{path}: {name} has shape {tuple(found.shape)}, the audio encoder {tuple(tensor.shape)}",
                    "train the audio encoder with the size of the talker",
                )
            tensor.copy_(found)
