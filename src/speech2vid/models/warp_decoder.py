"""Our generation method ``warp``: a mouth shape moves the stills' own pixels.

Where the paper's decoder paints every pixel (Sect. 3.1), this one predicts, for each identity still, a flow field and
a soft mask, and an RGB residual for what no still shows (teeth, tongue, inner mouth). The image is the masked sum of
the warped stills and the residual: skin and hair stay sharp, and it can be applied at the photo's own resolution.

All geometry is in pixels of the 112 px aligned face. Only the lower face is generated: rows 48..111, columns 8..103.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speech2vid.constants import IDENTITY_STILLS, MOUTH_COUNT, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH

Features = tuple[Tensor, Tensor, Tensor]  # fine, middle, coarse
Layer = Callable[[Tensor, Tensor, Tensor], Tensor]  # of the map so far, flow and kernels

CHANNEL_GROUP = 16  # of float32, what a processor computes at once
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
    across = (grid[0, :, :1] - target[:, None, :, 0]).square()  # (N, w, 20)
    down = (grid[:, 0, 1:] - target[:, None, :, 1]).square()
    distance = (across[:, None] + down[:, :, None]).flatten(1, 2)  # (N, hw, 20)
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

    def forward(self, stills: Tensor, mouths: Tensor) -> Features:
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
        #: the channels at which each layer reads the identity's features
        self.reads = {
            "coarse": slice(0, 4 * width),
            "middle": slice(4 * width, 6 * width),
            "fine": slice(3 * width, 4 * width),
        }
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

    def forward(self, features: Features, mouths: Tensor, target: Tensor) -> WarpFields:
        """Predict the fields.

        Args:
            features: of :class:`WarpIdentityEncoder`, batch N (repeat them for the frames of one video).
            mouths: (N, K, 20, 2) mouths of the stills, px.
            target: (N, 20, 2) mouth wanted, px.
        """
        fine, middle, coarse = features
        code = self._code(mouths, target)[:, :, None, None].expand(-1, -1, *coarse.shape[2:])
        return self._fields(
            self.coarse(torch.cat([coarse, code], dim=1)),
            lambda x, flow, kernel: self.middle(torch.cat([x, middle, flow, kernel], dim=1)),
            lambda x, flow, kernel: self.fine(torch.cat([x, fine, flow, kernel], dim=1)),
            mouths,
            target,
        )

    def shares(self, features: Features) -> Features:
        """What the identity adds within each layer that reads its features: the same for all frames of a video.

        Convolution is linear: that of features next to other channels is the sum of both parts' convolutions.

        Args:
            features: of :class:`WarpIdentityEncoder`.

        Returns:
            for :meth:`frames`, in the same order: (1, 2 w, 32, 48), (1, 3 w, 16, 24), (1, 4 w, 8, 12).
        """
        fine, middle, coarse = features
        return (
            _share(self.fine[0], fine, self.reads["fine"]),
            _share(self.middle[0], middle, self.reads["middle"]),
            _share(self.coarse, coarse, self.reads["coarse"]),
        )

    def frames(self, shares: Features, mouths: Tensor, target: Tensor) -> WarpFields:
        """What :meth:`forward` predicts in evaluation mode, for N frames of one identity; up to float order.

        Args:
            shares: of :meth:`shares`.
            mouths: (1, K, 20, 2) px.
            target: (N, 20, 2) px.
        """
        fine, middle, coarse = shares
        mouths = mouths.expand(target.shape[0], -1, -1, -1)
        # The code is the same everywhere: in 3 × 3 places a convolution shows all it makes of it, borders and inside
        code = self._code(mouths, target)[:, :, None, None].expand(-1, -1, 3, 3)
        places = _without(self.coarse, [code], self.reads["coarse"])
        for axis in (2, 3):
            inside = [1] * (coarse.shape[axis] - 2)
            places = places.index_select(axis, torch.tensor([0, *inside, 2], device=target.device))

        def joined(layers: nn.Sequential, share: Tensor, name: str) -> Layer:
            def run(*inputs: Tensor) -> Tensor:
                out: Tensor = layers[1](torch.relu(_without(layers[0], list(inputs), self.reads[name]) + share))
                return out

            return run

        return self._fields(
            torch.relu(places + coarse),
            joined(self.middle, middle, "middle"),
            joined(self.fine, fine, "fine"),
            mouths,
            target,
        )

    def _code(self, mouths: Tensor, target: Tensor) -> Tensor:
        shift = (target[:, None] - mouths).flatten(1) / 4.0
        code: Tensor = self.code(torch.cat([(target - self.centre).flatten(1) / 16.0, shift], dim=1))
        return code

    def _fields(self, x: Tensor, middle: Layer, fine: Layer, mouths: Tensor, target: Tensor) -> WarpFields:
        """All that does not read the identity's features; ``x`` is of the coarse layer."""
        flow4, kernel4 = base_flow(target, mouths, self.grid4)
        x = middle(_double(x), flow4.flatten(1, 2) / 4.0, kernel4)
        flow2, kernel2 = base_flow(target, mouths, self.grid2)
        x = fine(_double(x), flow2.flatten(1, 2) / 4.0, kernel2)
        flow = (flow2.flatten(1, 2) + 4.0 * self.flow(x)) * self.fade
        inside = inside_mouth(target, self.grid)
        paint = self.paint(torch.cat([_double(self.narrow(x)), inside], dim=1))
        known, painted = paint[:, : self.stills], paint[:, self.stills : self.stills + 1]
        logits = torch.cat([known, painted + 10 * inside - 4], dim=1)
        weights = torch.exp(logits - logits.amax(dim=1, keepdim=True))  # a softmax that no engine transposes for
        masks = weights / weights.sum(dim=1, keepdim=True)
        residual = torch.sigmoid(4 * paint[:, self.stills + 1 :])
        return WarpFields(flow.reshape(-1, self.stills, 2, *flow.shape[2:]), masks, residual)


def _layers(block: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution, norm, _ = block.children()
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return convolution, norm


def _share(block: nn.Module, features: Tensor, read: slice) -> Tensor:
    """What features that a block reads at the channels ``read`` add to its normalised sum."""
    convolution, norm = _layers(block)
    scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
    return F.conv2d(features, convolution.weight[:, read], padding=1) * scale[:, None, None]


def _without(block: nn.Module, inputs: list[Tensor], read: slice) -> Tensor:
    """A block's normalised sum over all its inputs but those at the channels ``read``.

    The inputs are filled up to whole groups of channels, which engines compute faster, with some that weigh nothing.
    """
    convolution, norm = _layers(block)
    weights = [convolution.weight[:, : read.start], convolution.weight[:, read.stop :]]
    spare = (read.stop - read.start - convolution.in_channels) % CHANNEL_GROUP
    if spare:
        inputs = [*inputs, inputs[0][:, :spare]]
        weights.append(weights[0].new_zeros(convolution.out_channels, spare, *convolution.kernel_size))
    total: Tensor = norm(F.conv2d(torch.cat(inputs, dim=1), torch.cat(weights, dim=1), padding=1))
    return total


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def compose_output(fields: WarpFields, faces: Tensor) -> Tensor:
    """Sample the stills through the fields: the image of the region.

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
