"""The ``warp`` talker: identity encoder and decoder of our own generation method, and the closed mouth of a still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from speech2vid.constants import (
    IDENTITY_STILLS,
    LANDMARKS,
    MOUTH_COUNT,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
)
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network
from speech2vid.models.warp_decoder import WarpDecoder, WarpFields, WarpIdentityEncoder

FEATURES = ("fine", "middle", "coarse")


@dataclass(frozen=True)
class WarpTalkerConfig(NetworkConfig):
    """``width``: channels at half the region's resolution. ``stills``: how many identity images it takes."""

    width: int = 32
    stills: int = IDENTITY_STILLS


class WarpTalker(Network):
    """Stills of a face and a mouth shape → :class:`~speech2vid.models.warp_decoder.WarpFields`.

    Attributes:
        rest: linear map from a still's 136 aligned landmark coordinates / 112 and a constant 1 to the 40 coordinates
            of that person's closed mouth, px; ``rest.weight`` (40, 137).
        speech: (20, 2) px, where the mouth is on average in speech, relative to rest, over the training speakers.
    """

    architecture: ClassVar[str] = "warp_talker"
    Config: ClassVar[type[NetworkConfig]] = WarpTalkerConfig
    config: WarpTalkerConfig

    def __init__(self, config: WarpTalkerConfig | None = None) -> None:
        config = config or WarpTalkerConfig()
        super().__init__(config)
        self.encoder = WarpIdentityEncoder(config.width, config.stills)
        self.decoder = WarpDecoder(config.width, config.stills)
        self.rest = nn.Linear(2 * LANDMARKS + 1, 2 * MOUTH_COUNT, bias=False)
        self.speech: Tensor
        self.register_buffer("speech", torch.zeros(MOUTH_COUNT, 2))

    def forward(self, stills: Tensor, mouths: Tensor, targets: Tensor) -> WarpFields:
        """Stills (B, K, 3, 64, 96), mouths (B, K, 20, 2) px, T targets each (B, T, 20, 2) px → fields of B·T frames."""
        frames = targets.shape[1]
        features = tuple(each.repeat_interleave(frames, 0) for each in self.encoder(stills, mouths))
        fields: WarpFields = self.decoder(features, mouths.repeat_interleave(frames, 0), targets.flatten(0, 1))
        return fields

    def graphs(self) -> tuple[Graph, ...]:
        """``identity``: once a video, with all that its features add to the decoder. ``frames``: N frames of it."""
        device = self.rest.weight.device
        k = self.config.stills
        centre = torch.tensor([REGION_LEFT + REGION_WIDTH / 2, REGION_TOP + REGION_HEIGHT / 2], device=device)
        stills = torch.full((1, k, 3, REGION_HEIGHT, REGION_WIDTH), 0.5, device=device)
        mouths = centre.expand(1, k, MOUTH_COUNT, 2).clone()
        with torch.no_grad():
            features = self._identity({"stills": stills, "mouths": mouths})
        targets = centre.expand(2, MOUTH_COUNT, 2).clone()
        return (
            Graph("identity", self._identity, {"stills": stills, "mouths": mouths}),
            Graph(
                "frames",
                self._frames,
                {**features, "mouths": mouths, "targets": targets},
                {name: {0: "frames"} for name in ("targets", "flow", "masks", "residual")},
            ),
        )

    def _identity(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        features = self.encoder(inputs["stills"], inputs["mouths"])
        return dict(zip(FEATURES, self.decoder.shares(features), strict=True))

    def _frames(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        fine, middle, coarse = (inputs[name] for name in FEATURES)
        fields = self.decoder.frames((fine, middle, coarse), inputs["mouths"], inputs["targets"])
        return {"flow": fields.flow, "masks": fields.masks, "residual": fields.residual}
