"""Our generation method ``warp``: a mouth shape moves the stills' own pixels.

Where the paper's decoder paints every pixel (Sect. 3.1), this one predicts, for each identity still, a flow field and
a soft mask, and an RGB residual for what no still shows (teeth, tongue, inner mouth). The picture is the masked sum of
the warped stills and the residual: skin and hair stay sharp, and it can be applied at the photo's own resolution.

All geometry is in pixels of the 112 px aligned face. Only the lower face is generated: rows 48..111, columns 8..103.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech2vid.constants import IDENTITY_STILLS, MOUTH_COUNT, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH

KERNEL_PX = 4.0  # reach of one mouth landmark in the base flow
FARTHEST = 20.0  # exp(-20) stands for all below: subnormal numbers make convolutions four times as slow


@dataclass(frozen=True)
class WarpFields:
    """What the decoder predicts for N frames and K stills.

    Attributes:
        flow: (N, K, 2, 32, 48) where an output pixel is sampled from in still k, minus the pixel itself; x, y in px.
            One cell is 2 × 2 px of the region; upsample bilinearly to the resolution of the output.
        masks: (N, K + 1, 64, 96) non-negative, sum 1; the last one is the residual's.
        residual: (N, 3, 64, 96) RGB in [0, 1].
    """

    flow: Tensor
    masks: Tensor
    residual: Tensor


def region_grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height, width, 2) x, y of the region's cells, as pixels of the 112 px face."""
    y = REGION_TOP + (torch.arange(height, device=device) + 0.5) * (REGION_HEIGHT / height) - 0.5
    x = REGION_LEFT + (torch.arange(width, device=device) + 0.5) * (REGION_WIDTH / width) - 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def base_flow(target: Tensor, sources: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Flow that carries each still's mouth landmarks to the target's, fading with the distance from the mouth.

    Args:
        target: (N, 20, 2) mouth wanted, px.
        sources: (N, K, 20, 2) mouths of the stills, px.
        grid: (h, w, 2) px.

    Returns:
        flow (N, K, 2, h, w) px and the landmark kernels (N, 20, h, w) in [0, 1].
    """
    h, w, _ = grid.shape
    distance = (grid.reshape(1, h * w, 1, 2) - target[:, None]).square().sum(-1)  # (N, hw, 20)
    kernel = torch.exp(-(distance / (2 * KERNEL_PX**2)).clamp(max=FARTHEST))
    weight = kernel / (kernel.sum(-1, keepdim=True) + 0.3)
    shift = sources - target[:, None]  # (N, K, 20, 2)
    flow = torch.einsum("npj,nkjc->nkcp", weight, shift).reshape(*shift.shape[:2], 2, h, w)
    sharp = kernel.clamp(min=1e-5).square().square()  # the same Gaussian at half the reach
    return flow, sharp.transpose(1, 2).reshape(-1, MOUTH_COUNT, h, w)


def inside_mouth(target: Tensor, grid: Tensor) -> Tensor:
    """How far each pixel lies between the inner lips.

    Args:
        target: (N, 20, 2) mouth, px; points 12..16 are the inner upper lip from left to right, 19..17 the lower one.
        grid: (h, w, 2) px.

    Returns:
        (N, 1, h, w) from 0 outside to 1 inside, soft over about a pixel.
    """
    x, y = grid[0, :, 0], grid[:, 0, 1]

    def lip(order: list[int]) -> Tensor:
        """Height of the piecewise linear lip at every column, (N, w)."""
        points = target[:, order]
        start, step = points[:, :-1, :, None], (points[:, 1:] - points[:, :-1])[..., None]
        along = ((x - start[:, :, 0]) / step[:, :, 0].clamp(min=0.1)).clamp(0, 1)
        return points[:, :1, 1] + (along * step[:, :, 1]).sum(1)

    top, bottom = lip([12, 13, 14, 15, 16])[:, None], lip([12, 19, 18, 17, 16])[:, None]
    rows = y[None, :, None]
    return (_beyond(x, target[:, 12, :1]) * _beyond(target[:, 16, :1], x))[:, None, None] * (
        _beyond(rows, top) * _beyond(bottom, rows)
    )[:, None]


def _beyond(a: Tensor, b: Tensor) -> Tensor:
    """1 where a > b, 0 where a < b, soft over a pixel; never subnormal, not even as a product of four."""
    return torch.sigmoid((2 * (a - b)).clamp(-FARTHEST, FARTHEST))


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class WarpIdentityEncoder(nn.Module):
    """Stills and where their mouths are → feature maps at 1/2, 1/4 and 1/8 of the region. Once a video.

    Input: stills (B, K, 3, 64, 96) RGB in [0, 1]; mouths (B, K, 20, 2) px.
    """

    def __init__(self, width: int, stills: int = IDENTITY_STILLS) -> None:
        super().__init__()
        self.fine = nn.Sequential(_block(stills * 5, width, 2), _block(width, width))
        self.middle = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width))
        self.coarse = nn.Sequential(_block(2 * width, 4 * width, 2), _block(4 * width, 4 * width))
        self.grid: Tensor
        self.register_buffer("grid", region_grid(REGION_HEIGHT, REGION_WIDTH), persistent=False)

    def forward(self, stills: Tensor, mouths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, k = stills.shape[:2]
        distance = (self.grid.reshape(1, 1, -1, 1, 2) - mouths[:, :, None]).square().sum(-1)
        lips = torch.stack([distance[..., :12].amin(-1), distance[..., 12:].amin(-1)], dim=2)  # outer, inner
        marks = torch.exp(-(lips / 4.0).clamp(max=FARTHEST)).reshape(b, k, 2, REGION_HEIGHT, REGION_WIDTH)
        fine = self.fine(torch.cat([stills - 0.5, marks], dim=2).flatten(1, 2))
        middle = self.middle(fine)
        return fine, middle, self.coarse(middle)


class WarpDecoder(nn.Module):
    """Identity features and a mouth shape → :class:`WarpFields`. Once a frame."""

    def __init__(self, width: int, stills: int = IDENTITY_STILLS) -> None:
        super().__init__()
        self.stills = stills
        geometry = MOUTH_COUNT + 2 * stills
        code = 4 * width
        self.code = nn.Sequential(
            nn.Linear(2 * MOUTH_COUNT * (stills + 1), 2 * code), nn.ReLU(inplace=True), nn.Linear(2 * code, code)
        )
        self.coarse = _block(4 * width + code, 4 * width)
        self.middle = nn.Sequential(_block(4 * width + 2 * width + geometry, 3 * width), _block(3 * width, 3 * width))
        self.fine = nn.Sequential(_block(3 * width + width + geometry, 2 * width), _block(2 * width, 2 * width))
        self.flow = nn.Conv2d(2 * width, 2 * stills, 3, 1, 1)
        self.narrow = nn.Conv2d(2 * width, 24, 1)
        self.paint = nn.Sequential(_block(24 + 1, 24), nn.Conv2d(24, stills + 4, 3, 1, 1))
        nn.init.zeros_(self.flow.weight)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]
        self.centre: Tensor
        self.grid: Tensor
        self.grid2: Tensor
        self.grid4: Tensor
        self.fade: Tensor
        self.register_buffer("centre", region_grid(1, 1).reshape(2), persistent=False)
        self.register_buffer("grid", region_grid(REGION_HEIGHT, REGION_WIDTH), persistent=False)
        self.register_buffer("grid2", region_grid(REGION_HEIGHT // 2, REGION_WIDTH // 2), persistent=False)
        self.register_buffer("grid4", region_grid(REGION_HEIGHT // 4, REGION_WIDTH // 4), persistent=False)
        y = (torch.arange(REGION_HEIGHT // 2) + 0.5) / (REGION_HEIGHT // 2)
        x = (torch.arange(REGION_WIDTH // 2) + 0.5) / (REGION_WIDTH // 2)
        fade = (x / 0.12).clamp(max=1) * ((1 - x) / 0.12).clamp(max=1)
        self.register_buffer("fade", fade[None] * (y / 0.12).clamp(max=1)[:, None], persistent=False)

    def forward(self, features: tuple[Tensor, Tensor, Tensor], mouths: Tensor, target: Tensor) -> WarpFields:
        """Predict the fields.

        Args:
            features: of :class:`WarpIdentityEncoder`, batch N (repeat them for the frames of one video).
            mouths: (N, K, 20, 2) mouths of the stills, px.
            target: (N, 20, 2) mouth wanted, px.
        """
        fine, middle, coarse = features
        shift = (target[:, None] - mouths).flatten(1) / 4.0
        code = self.code(torch.cat([(target - self.centre).flatten(1) / 16.0, shift], dim=1))
        x = self.coarse(torch.cat([coarse, code[:, :, None, None].expand(-1, -1, *coarse.shape[2:])], dim=1))
        flow4, kernel4 = base_flow(target, mouths, self.grid4)
        x = _double(x)
        x = self.middle(torch.cat([x, middle, flow4.flatten(1, 2) / 4.0, kernel4], dim=1))
        flow2, kernel2 = base_flow(target, mouths, self.grid2)
        x = self.fine(torch.cat([_double(x), fine, flow2.flatten(1, 2) / 4.0, kernel2], dim=1))
        flow = (flow2.flatten(1, 2) + 4.0 * self.flow(x)) * self.fade
        inside = inside_mouth(target, self.grid)
        paint = self.paint(torch.cat([_double(self.narrow(x)), inside], dim=1))
        known, painted = paint[:, : self.stills], paint[:, self.stills : self.stills + 1]
        masks = torch.softmax(torch.cat([known, painted + 10 * inside - 4], dim=1), dim=1)
        residual = torch.sigmoid(4 * paint[:, self.stills + 1 :])
        return WarpFields(flow.reshape(-1, self.stills, 2, *flow.shape[2:]), masks, residual)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def compose(fields: WarpFields, faces: Tensor) -> Tensor:
    """Sample the stills through the fields: the picture of the region.

    Args:
        fields: for N frames.
        faces: (N, K, 3, 112, 112) RGB in [0, 1].

    Returns:
        (N, 3, 64, 96) RGB in [0, 1].
    """
    k = fields.flow.shape[1]
    size = faces.shape[-1]
    grid = region_grid(REGION_HEIGHT, REGION_WIDTH, faces.device)
    flow = _double(fields.flow.flatten(1, 2)).reshape(-1, k, 2, REGION_HEIGHT, REGION_WIDTH)
    where = grid + flow.permute(0, 1, 3, 4, 2)  # (N, K, 64, 96, 2) px
    where = (where * 2 + 1) / size - 1
    warped = F.grid_sample(
        faces.flatten(0, 1), where.flatten(0, 1), mode="bilinear", padding_mode="border", align_corners=False
    ).reshape(-1, k, 3, REGION_HEIGHT, REGION_WIDTH)
    layers = torch.cat([warped, fields.residual[:, None]], dim=1)
    return (layers * fields.masks[:, :, None]).sum(1)


def merge_copies(fields: WarpFields, same: Tensor) -> tuple[WarpFields, Tensor]:
    """Give the copies of one still one common flow, the mean by their masks, as when they are sampled only once.

    Args:
        fields: for N frames.
        same: (N, K, K), 1 where two slots hold the same still, else 0.

    Returns:
        the fields with common flows, and (N, 64, 96) how undecided each pixel is between different stills: the entropy
        of the masks, 0 where one still (or the residual) has all.
    """
    k = fields.flow.shape[1]
    cells = F.avg_pool2d(fields.masks[:, :k], 2)
    moved = torch.einsum("nij,njchw->nichw", same, fields.flow * cells[:, :, None])
    flow = moved / torch.einsum("nij,njhw->nihw", same, cells).clamp(min=1e-6)[:, :, None]
    known = torch.einsum("nij,njhw->nihw", same, fields.masks[:, :k])
    groups = torch.cat([known, fields.masks[:, k:]], dim=1)
    undecided = -(fields.masks * (groups + 1e-6).log()).sum(1)
    return WarpFields(flow, fields.masks, fields.residual), undecided
