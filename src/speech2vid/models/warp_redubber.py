"""Our re-dubbing network: a mouth that the ``warp`` talker has painted is made to fit the face it is laid into.

The paper's network paints the whole face from codes (Sect. 6.2). Here the mouth is there already, sharp, made of the
person's own pixels, but from another moment: another pose, light and chin. The network sees it next to the context, the
frame whose lower face is hidden, and says how it must be moved and tinted, and what to paint where that is not enough.
Flow and tint are coarse: what is sharp stays sharp.

Everything is on the 128 × 160 px part of the 224 px face (``constants.BLEND_TOP`` …).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.constants import BLEND_HEIGHT, BLEND_WIDTH
from speech2vid.models.config import NetworkConfig
from speech2vid.models.context_encoder import ContextEncoder, Rise, enlarge
from speech2vid.models.layers import ConvNormReLU
from speech2vid.models.network import Graph, Network
from speech2vid.models.paper_redubber import RedubberConfig
from speech2vid.models.paper_talker import WIDTHS

CHANNELS = (32, 80, 144, 192)  # at 1/2, 1/4, 1/8, 1/16, at width 1
NARROW = 8  # at full size
FLOW_PX, TINT = 4.0, 0.25  # what an output of 1 means
UNSURE, UNKNOWN = -3.0, 3.0  # logit of the painting's share where a moved pixel is at hand, and what is added elsewhere
INPUTS = {"context": 3, "painted": 3, "known": 1, "region": 1, "mouth": 2}


@dataclass(frozen=True)
class BlendFields:
    """What is predicted for N faces.

    Attributes:
        flow: (N, 2, 32, 40): an output pixel is sampled from this far away in the painted face; x, y, px of the 224 px
            face.
        tint: (N, 3, 32, 40) RGB, added to it.
        share: (N, 1, 128, 160) in [0, 1], how much of the image is ``fresh`` instead.
        fresh: (N, 3, 128, 160) RGB in [0, 1].
    """

    flow: Tensor
    tint: Tensor
    share: Tensor
    fresh: Tensor


class WarpRedubber(Network):
    """Parts of faces, all float32 (N, C, 128, 160), by name → :class:`BlendFields`.

    Inputs: ``context`` RGB in [0, 1], the lower face hidden; ``painted`` RGB in [0, 1], with the new mouth; ``known`` 1
    where ``painted`` can be used, 0 where not; ``region`` 1 where the result will be shown; ``mouth`` the areas within
    the outer and within the inner lips that are wanted.
    """

    architecture: ClassVar[str] = "warp_redubber"
    Config: ClassVar[type[NetworkConfig]] = RedubberConfig
    config: RedubberConfig

    def __init__(self, config: RedubberConfig | None = None) -> None:
        config = config or RedubberConfig()
        super().__init__(config)
        fine, middle, coarse, bottom = (int(each * WIDTHS[config.size]) for each in CHANNELS)
        self.context_encoder = ContextEncoder(sum(INPUTS.values()), (fine, middle, coarse, bottom))
        self.bottom = Rise(bottom, coarse, coarse)
        self.middle = Rise(coarse, middle, middle)
        self.fine = Rise(middle, fine, fine)
        self.moved = nn.Conv2d(middle, 5, 3, padding=1)
        self.narrow = nn.Conv2d(fine, NARROW, 1)
        self.painting = nn.Sequential(
            ConvNormReLU(NARROW + INPUTS["mouth"], NARROW, 3, padding=1), nn.Conv2d(NARROW, 4, 3, padding=1)
        )
        for last in (self.moved, self.painting[-1]):
            nn.init.zeros_(last.get_parameter("weight"))
            nn.init.zeros_(last.get_parameter("bias"))

    def forward(self, context: Tensor, painted: Tensor, known: Tensor, region: Tensor, mouth: Tensor) -> BlendFields:
        fine, middle, coarse, bottom = self.context_encoder(torch.cat([context, painted, known, region, mouth], dim=1))
        x = self.middle(self.bottom(bottom, coarse), middle)
        moved = self.moved(x)
        painting = self.painting(torch.cat([enlarge(self.narrow(self.fine(x, fine))), mouth], dim=1))
        share = torch.sigmoid(painting[:, :1] + UNSURE + UNKNOWN * (1.0 - known))
        fresh = torch.sigmoid(4.0 * painting[:, 1:])
        return BlendFields(FLOW_PX * moved[:, :2], TINT * moved[:, 2:], share, fresh)

    def graphs(self) -> tuple[Graph, ...]:
        """``frames``: N faces."""
        like = self.moved.weight
        example = {
            name: like.new_full((2, channels, BLEND_HEIGHT, BLEND_WIDTH), 0.5) for name, channels in INPUTS.items()
        }
        names = (*INPUTS, "flow", "tint", "share", "fresh")
        return (Graph("frames", self._frames, example, {name: {0: "frames"} for name in names}),)

    def _frames(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        fields: BlendFields = self(**{name: inputs[name] for name in INPUTS})
        return {"flow": fields.flow, "tint": fields.tint, "share": fields.share, "fresh": fields.fresh}


def blend(fields: BlendFields, painted: Tensor) -> Tensor:
    """What the fields make of painted faces, both (N, 3, 128, 160) RGB in [0, 1]; not yet laid into the source."""
    height, width = painted.shape[2:]
    flow = enlarge(fields.flow, 4).permute(0, 2, 3, 1)
    y = torch.arange(height, device=painted.device, dtype=painted.dtype)
    x = torch.arange(width, device=painted.device, dtype=painted.dtype)
    where = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + flow
    where = (where * 2.0 + 1.0) / where.new_tensor([width, height]) - 1.0
    moved = functional.grid_sample(painted, where, mode="bilinear", padding_mode="border", align_corners=False)
    return (1.0 - fields.share) * (moved + enlarge(fields.tint, 4)) + fields.share * fields.fresh
