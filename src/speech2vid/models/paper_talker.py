"""The talker (Fig. 4): stills of a person and a window of speech → the person's face saying it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from speech2vid.constants import FACE_PX, WINDOW_COEFFICIENTS, WINDOW_STEPS
from speech2vid.models.audio_encoder import AudioEncoder
from speech2vid.models.config import NetworkConfig
from speech2vid.models.face_decoder import FaceDecoder, TransposedConv, UpsampleConv
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.network import Graph, Network, he_initialise

WIDTHS = {"paper": 1.0, "compact": 0.5, "small": 0.25}
RISES: dict[str, type[UpsampleConv] | type[TransposedConv]] = {"upsample": UpsampleConv, "transposed": TransposedConv}

IdentityFeatures = dict[str, Tensor]
"""All that generation needs of B persons, by name: ``code`` and the decoder's prepared maps, first axis B."""


@dataclass(frozen=True)
class PaperTalkerConfig(NetworkConfig):
    """Settings of the paper's talker.

    Attributes:
        size: ``paper``; ``compact`` with half of its channels everywhere, ``small`` with a quarter.
        skips: ``paper`` (two), ``v201`` (three, the 2017 release) or ``none``.
        identity_images: stills of a person, 1 or 5.
        generation: how maps grow: bilinear upsampling and convolution, or transposed convolution (Table 2).
        decoder_norm: batch norm in the decoder up to the first skip (:class:`FaceDecoder`); ``v201`` has none.
    """

    size: Literal["paper", "compact", "small"] = "paper"
    skips: Literal["paper", "v201", "none"] = "paper"
    identity_images: Literal[1, 5] = 5
    generation: Literal["upsample", "transposed"] = "upsample"
    decoder_norm: bool = False


class PaperTalker(Network):
    """Windows (N, 1, 12, 35) and stills (B, 3·K, 112, 112) in [0, 1] → faces (N, 3, 109, 109) in [0, 1], all float32.

    N is B times a whole number T: the first T windows belong to the first person, and so on. What depends on a person
    only is computed once: ``generate(encode_identity(stills), windows)``.
    """

    architecture = "paper_talker"
    Config = PaperTalkerConfig
    config: PaperTalkerConfig

    def __init__(self, config: PaperTalkerConfig) -> None:
        super().__init__(config)
        width = WIDTHS[config.size]
        self.audio_encoder = AudioEncoder(width)
        self.identity_encoder = IdentityEncoder(config.identity_images, width)
        he_initialise(self)
        self.face_decoder = FaceDecoder(width, config.skips, RISES[config.generation], config.decoder_norm)

    def encode_identity(self, stills: Tensor) -> IdentityFeatures:
        """Everything about B persons that does not depend on the audio."""
        identity = self.identity_encoder(stills)
        return {"code": identity.code, **self.face_decoder.prepare(identity)}

    def generate(self, features: IdentityFeatures, windows: Tensor) -> Tensor:
        """Faces (N, 3, 109, 109) of the persons of ``features`` saying ``windows`` (N, 1, 12, 35)."""
        audio = self.audio_encoder(windows)
        spread = {name: shared_out(maps, len(windows)) for name, maps in features.items()}
        identity = spread.pop("code").expand(audio.shape[0], -1)
        faces: Tensor = self.face_decoder(torch.cat([audio, identity], dim=1), spread)
        return faces

    def forward(self, windows: Tensor, stills: Tensor) -> Tensor:
        return self.generate(self.encode_identity(stills), windows)

    def graphs(self) -> tuple[Graph, Graph]:
        like = self.audio_encoder.mfcc_mean
        stills = like.new_zeros(1, 3 * self.config.identity_images, FACE_PX, FACE_PX)
        windows = like.new_zeros(2, 1, WINDOW_COEFFICIENTS, WINDOW_STEPS)
        with torch.no_grad():  # only its sizes matter
            features = self.encode_identity(stills)
        return (
            Graph("identity", lambda given: self.encode_identity(given["stills"]), {"stills": stills}),
            Graph(
                "frames",
                lambda given: {"frames": self.generate({name: given[name] for name in features}, given["windows"])},
                {**features, "windows": windows},
                {"windows": {0: "frames"}, "frames": {0: "frames"}},
            ),
        )


def shared_out(maps: Tensor, count: int) -> Tensor:
    """Repeat each person's maps for its windows; a single person's broadcast by themselves."""
    persons = maps.shape[0]
    if persons == 1 or persons == count:
        return maps
    if count % persons:
        raise ValueError(f"{count} windows cannot be shared among {persons} persons")
    return maps.repeat_interleave(count // persons, dim=0)
