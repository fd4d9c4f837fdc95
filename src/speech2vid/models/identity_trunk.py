"""The VGG-M trunk that learns faces first: what the talker's identity encoder starts from (Sect. 3.1).

The paper takes its convolutions from a face-recognition VGG-M. Here the same trunk learns to give the embeddings of
dlib's network; or a user brings VGG weights (:mod:`speech2vid.training.pretrained`). Fully connected
layers start anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from speech2vid.constants import FACE_PX
from speech2vid.models.config import NetworkConfig
from speech2vid.models.face_recognition import EMBEDDING_SIZE
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.network import Graph, Network, he_initialise
from speech2vid.models.paper_talker import WIDTHS


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
