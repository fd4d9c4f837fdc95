"""The VGG-M trunk that learns faces first: what the talker's identity encoder starts from (Sect. 3.1).

The paper takes its convolutions from a face-recognition VGG-M. Here the same trunk learns to give the embeddings of
dlib's network; or a user brings VGG weights (:mod:`speech2vid.models.vgg_file`). Fully connected layers start anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from speech2vid.constants import FACE_PX
from speech2vid.errors import WeightsError
from speech2vid.models.config import NetworkConfig
from speech2vid.models.face_recognition import EMBEDDING_SIZE
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.layers import ConvNormReLU
from speech2vid.models.network import Graph, Network, he_initialise
from speech2vid.models.talker import WIDTHS
from speech2vid.models.vgg_file import CONVOLUTIONS, read_vgg
from speech2vid.weightfile import is_ours, read_weights


@dataclass(frozen=True)
class IdentityTrunkConfig(NetworkConfig):
    """Settings: ``size`` must be that of the talker that starts from it."""

    size: Literal["paper", "compact", "small"] = "paper"


class IdentityTrunk(Network):
    """Faces (N, 3, 112, 112) float32 RGB in [0, 1] → embeddings (N, 128) like those of dlib's network."""

    architecture = "identity"
    Config = IdentityTrunkConfig
    config: IdentityTrunkConfig

    def __init__(self, config: IdentityTrunkConfig) -> None:
        super().__init__(config)
        self.encoder = IdentityEncoder(1, WIDTHS[config.size])
        he_initialise(self)
        self.embed = nn.Linear(self.encoder.code_size, EMBEDDING_SIZE)

    def forward(self, faces: Tensor) -> Tensor:
        embedding: Tensor = self.embed(self.encoder(faces).code)
        return embedding

    def graphs(self) -> tuple[Graph]:
        faces = self.embed.weight.new_zeros(2, 3, FACE_PX, FACE_PX)
        free = {0: "faces"}
        run = Graph("embed", lambda given: {"embeddings": self(given["faces"])}, {"faces": faces}, {})
        return (Graph(run.name, run.run, run.example, {"faces": free, "embeddings": free}),)


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
