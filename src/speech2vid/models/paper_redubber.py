"""The paper's re-dubbing network (Sect. 6.2, Fig. 14): the talker's two encoders, and a third for the context.

The context is the frame itself, its mouth hidden under the median colour of the face. The decoder looks back at the
context at every scale, and at the identity where the talker does, so that what it makes fits where it is put.
The paper gives no sizes for this network: those of the encoders it shares with the talker are the talker's, the others
are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from speech2vid.constants import (
    CANVAS_CROP_OFFSET_PX,
    CANVAS_CROP_PX,
    CANVAS_PX,
    CONTEXT_FACE_PX,
    FACE_PX,
    WINDOW_COEFFICIENTS,
    WINDOW_STEPS,
)
from speech2vid.models.audio_encoder import AudioEncoder
from speech2vid.models.config import NetworkConfig
from speech2vid.models.context_encoder import ContextEncoder, enlarge
from speech2vid.models.identity_encoder import IdentityEncoder, IdentityMaps
from speech2vid.models.network import Graph, Network, he_initialise
from speech2vid.models.paper_talker import WIDTHS, IdentityFeatures, shared_out

CONTEXT_CHANNELS = (48, 96, 192, 256, 512)  # at 112, 56, 28, 14, 7 px; at width 1, like all below
RISES = (256, 128, 64, 48, 32)  # to 14, 28, 56, 112, 224 px
IDENTITY_SKIPS = {0: ("conv2", 256), 1: ("pool1", 96)}  # rise → the identity encoder's map, and its channels
# Where a map's cells look on the 112 px face: centre of the first one, distance to the next one, px, and cells a side
CELLS = {"conv2": (9.0, 8.0, 12), "pool1": (5.0, 4.0, 26)}


@dataclass(frozen=True)
class RedubberConfig(NetworkConfig):
    """Settings of a re-dubbing network.

    Attributes:
        generation: ``audio``: from audio, as in the paper; ``warp``: from a mouth that the ``warp`` talker has painted.
        size: ``paper``, or ``compact`` with half of its channels everywhere.
        identity_images: stills of a person, 1 or 5; for ``audio``.
    """

    generation: Literal["warp", "audio"] = "warp"
    size: Literal["compact", "paper"] = "compact"
    identity_images: Literal[1, 5] = 5


class PaperRedubber(Network):
    """Windows (N, 1, 12, 35), context (N, 3, 224, 224), stills (B, 3·K, 112, 112) → faces (N, 3, 224, 224).

    All float32, images RGB in [0, 1]. N is B times a whole number, as for
    :class:`~speech2vid.models.paper_talker.PaperTalker`.
    """

    architecture = "paper_redubber"
    Config = RedubberConfig
    config: RedubberConfig

    def __init__(self, config: RedubberConfig | None = None) -> None:
        config = config or RedubberConfig(generation="audio")
        super().__init__(config)
        width = WIDTHS[config.size]
        self.audio_encoder = AudioEncoder(width)
        self.identity_encoder = IdentityEncoder(config.identity_images, width)
        self.context_encoder = ContextEncoder(3, [int(each * width) for each in CONTEXT_CHANNELS])
        he_initialise(self)
        codes = self.audio_encoder.code_size + self.identity_encoder.code_size
        self.decoder = _Decoder(codes, width)

    def encode_identity(self, stills: Tensor) -> IdentityFeatures:
        """Everything about B persons that depends neither on the audio nor on the frame."""
        identity = self.identity_encoder(stills)
        return {"code": identity.code, **self.decoder.prepare(identity)}

    def generate(self, features: IdentityFeatures, windows: Tensor, context: Tensor) -> Tensor:
        """Faces (N, 3, 224, 224) of the persons of ``features`` saying ``windows`` in ``context``."""
        if context.shape[2:] != (CONTEXT_FACE_PX, CONTEXT_FACE_PX):
            raise ValueError(
                f"context must be (N, 3, {CONTEXT_FACE_PX}, {CONTEXT_FACE_PX}), not {tuple(context.shape)}"
            )
        audio = self.audio_encoder(windows)
        spread = {name: shared_out(maps, len(windows)) for name, maps in features.items()}
        code = torch.cat([audio, spread.pop("code").expand(audio.shape[0], -1)], dim=1)
        faces: Tensor = self.decoder(code, self.context_encoder(context), spread)
        return faces

    def forward(self, windows: Tensor, context: Tensor, stills: Tensor) -> Tensor:
        return self.generate(self.encode_identity(stills), windows, context)

    def graphs(self) -> tuple[Graph, Graph]:
        """``identity``: once a video. ``frames``: N frames of one person."""
        like = self.audio_encoder.mfcc_mean
        stills = like.new_zeros(1, 3 * self.config.identity_images, FACE_PX, FACE_PX)
        windows = like.new_zeros(2, 1, WINDOW_COEFFICIENTS, WINDOW_STEPS)
        context = like.new_full((2, 3, CONTEXT_FACE_PX, CONTEXT_FACE_PX), 0.5)
        with torch.no_grad():  # only its sizes matter
            features = self.encode_identity(stills)

        def frames(given: dict[str, Tensor]) -> dict[str, Tensor]:
            known = {name: given[name] for name in features}
            return {"frames": self.generate(known, given["windows"], given["context"])}

        return (
            Graph("identity", lambda given: self.encode_identity(given["stills"]), {"stills": stills}),
            Graph(
                "frames",
                frames,
                {**features, "windows": windows, "context": context},
                {name: {0: "frames"} for name in ("windows", "context", "frames")},
            ),
        )


class _Decoder(nn.Module):
    """Codes (N, codes) and the context's maps → faces (N, 3, 224, 224) in [0, 1]. ReLU, no batch norm."""

    def __init__(self, codes: int, width: float) -> None:
        super().__init__()
        context = [int(each * width) for each in reversed(CONTEXT_CHANNELS)]
        rises = [int(each * width) for each in RISES]
        self.bottom = nn.Conv2d(codes + context[0], rises[0], 3, padding=1)
        skips = [*context[1:], 0]
        self.rises = nn.ModuleList(
            nn.Conv2d(below + skip, above, 3, padding=1)
            for below, skip, above in zip([rises[0], *rises[:-1]], skips, rises, strict=True)
        )
        self.identity_halves = nn.ModuleDict(
            {
                f"rise{number}": nn.Conv2d(int(channels * width), rises[number], 3, padding=1, bias=False)
                for number, (_, channels) in IDENTITY_SKIPS.items()
            }
        )
        self.picture = nn.Conv2d(rises[-1], 3, 3, padding=1)
        for number, (name, _) in IDENTITY_SKIPS.items():
            cells = CONTEXT_FACE_PX >> len(CONTEXT_CHANNELS) << number + 1
            self.register_buffer(f"register{number}", register_matrix(cells, *CELLS[name]), persistent=False)
        he_initialise(self)
        self.picture.weight.data.mul_(0.1)  # start near grey, where the sigmoid is steep

    def prepare(self, identity: IdentityMaps) -> dict[str, Tensor]:
        """Return the identity's share of the convolutions that read it: its maps, resampled into the context's frame.

        The stills are the 112 px face, the context is the 224 px face, which shows more: without this an eye of the
        stills would lie 14 px beside that of the context. Outside the 112 px face the maps are 0.
        """
        return {
            f"rise{number}": self.identity_halves[f"rise{number}"](self._in_register(getattr(identity, name), number))
            for number, (name, _) in IDENTITY_SKIPS.items()
        }

    def _in_register(self, maps: Tensor, number: int) -> Tensor:
        """Return maps (B, C, n, n) of the 112 px face as maps (B, C, m, m) of the 224 px face: bilinear."""
        resample: Tensor = getattr(self, f"register{number}")
        return resample @ maps @ resample.T

    def forward(self, code: Tensor, context: list[Tensor], prepared: Mapping[str, Tensor]) -> Tensor:
        coarse = context[-1]
        maps = self.bottom(torch.cat([coarse, code[:, :, None, None].expand(-1, -1, *coarse.shape[2:])], dim=1)).relu()
        for number, rise in enumerate(self.rises):
            below = [enlarge(maps), *context[-2 - number : len(context) - 1 - number]]
            maps = rise(torch.cat(below, dim=1))
            if f"rise{number}" in prepared:
                maps = maps + prepared[f"rise{number}"]
            maps = maps.relu()
        faces: Tensor = self.picture(maps).sigmoid()
        return faces


def register_matrix(cells: int, first_px: float, step_px: float, count: int) -> Tensor:
    """Return the matrix that resamples a row of cells on the 112 px face to a row of cells on the 224 px face.

    Linear between the cells' centres; 0 where a cell of the result looks beyond the 112 px face.

    Args:
        cells: of the result, which share the 224 px evenly.
        first_px, step_px, count: centre of the first given cell, distance to the next one, and their number.

    Returns:
        (cells, count) float32; rows sum to 1, or to 0.
    """
    context_px = (torch.arange(cells) + 0.5) * CONTEXT_FACE_PX / cells - 0.5
    canvas_px = (context_px + 0.5) * CANVAS_PX / CONTEXT_FACE_PX - 0.5
    face_px = (canvas_px + 0.5 - CANVAS_CROP_OFFSET_PX) * FACE_PX / CANVAS_CROP_PX - 0.5
    where = ((face_px - first_px) / step_px).clamp(0, count - 1)
    weights = (1 - (where[:, None] - torch.arange(count)).abs()).clamp(min=0)
    inside = (face_px >= -0.5) & (face_px <= FACE_PX - 0.5)
    return weights * inside[:, None]
