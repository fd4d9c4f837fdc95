"""The talker's audio encoder with a mouth-motion head, trained first: the talker's audio encoder starts from it.

The paper trains its audio encoder from random weights. On a small corpus the pixels of a face say little about sound;
mouth motion says much, and an encoder that predicts it is trained in minutes (docs/paper.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from speech2vid.constants import WINDOW_COEFFICIENTS, WINDOW_STEPS
from speech2vid.models.audio_encoder import AudioEncoder
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network, he_initialise
from speech2vid.models.paper_talker import WIDTHS


@dataclass(frozen=True)
class AudioTrunkConfig(NetworkConfig):
    """Settings of the audio trunk.

    Attributes:
        size: must be that of the talker that starts from it.
        components: principal components of mouth motion that are predicted.
    """

    size: Literal["paper", "compact", "small"] = "paper"
    components: int = 8


class AudioTrunk(Network):
    """MFCC windows (N, 1, 12, 35) float32 → principal components of mouth motion (N, K) float32, unit variance.

    The buffer ``opening`` (K,) holds the lip opening, px, of a unit of each component.
    """

    architecture = "audio_encoder"
    Config = AudioTrunkConfig
    config: AudioTrunkConfig
    opening: Tensor

    def __init__(self, config: AudioTrunkConfig) -> None:
        super().__init__(config)
        self.encoder = AudioEncoder(WIDTHS[config.size])
        he_initialise(self)
        self.head = nn.Linear(self.encoder.code_size, config.components)
        self.register_buffer("opening", torch.zeros(config.components))

    def forward(self, windows: Tensor) -> Tensor:
        components: Tensor = self.head(self.encoder(windows))
        return components

    def graphs(self) -> tuple[Graph]:
        windows = self.opening.new_zeros(2, 1, WINDOW_COEFFICIENTS, WINDOW_STEPS)
        free = {0: "frames"}
        return (
            Graph(
                "motion",
                lambda given: {"components": self(given["windows"])},
                {"windows": windows},
                {"windows": free, "components": free},
            ),
        )
