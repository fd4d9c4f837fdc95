"""The warp talker computes the identity's part once a video: the same fields as all of it for every frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech2vid.constants import REGION_HEIGHT, REGION_WIDTH
from speech2vid.models.warp_decoder import base_flow, region_grid
from speech2vid.models.warp_talker import FEATURES, WarpTalker, WarpTalkerConfig


def drawn_network(width: int) -> WarpTalker:
    """Random weights, batch norm statistics and last layers too."""
    torch.manual_seed(0)
    network = WarpTalker(WarpTalkerConfig(width=width)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        nn.init.normal_(network.decoder.flow.weight, std=0.05)
    return network


def drawn_mouths(*shape: int) -> Tensor:
    return torch.tensor([56.0, 80.0]) + 6 * torch.randn(*shape, 20, 2)


@torch.no_grad()
def test_the_identitys_shares_give_the_fields_of_the_whole_network() -> None:
    for width in (8, 12):  # channels are filled up to whole groups of 16 here and there
        network = drawn_network(width)
        stills, mouths, targets = torch.rand(1, 5, 3, REGION_HEIGHT, REGION_WIDTH), drawn_mouths(1, 5), drawn_mouths(3)
        whole = network(stills, mouths, targets[None])
        shares = network.decoder.shares(network.encoder(stills, mouths))
        split = network.decoder.frames(shares, mouths, targets)
        for name in ("flow", "masks", "residual"):
            found, wanted = getattr(split, name), getattr(whole, name)
            assert wanted.std() > 0.02
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_frames_graph_leaves_out_what_the_identity_adds() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = drawn_network(32)
    stills, mouths, targets = torch.rand(1, 5, 3, REGION_HEIGHT, REGION_WIDTH), drawn_mouths(1, 5), drawn_mouths(1)
    identity, frames = network.graphs()
    features = identity.run({"stills": stills, "mouths": mouths})
    assert tuple(features) == FEATURES
    with FlopCounterMode(display=False) as split:
        frames.run({**features, "mouths": mouths, "targets": targets})
    with FlopCounterMode(display=False) as whole:
        network.decoder(network.encoder(stills, mouths), mouths, targets)
    with FlopCounterMode(display=False) as encoder:
        network.encoder(stills, mouths)
    assert split.get_total_flops() < 0.85 * (whole.get_total_flops() - encoder.get_total_flops())


def test_base_flow_is_that_of_distances_in_the_plane() -> None:
    target, sources, grid = drawn_mouths(2), drawn_mouths(2, 5), region_grid(16, 24)
    flow, kernel = base_flow(target, sources, grid)
    distance = (grid.reshape(1, -1, 1, 2) - target[:, None]).square().sum(-1)
    near = torch.exp(-(distance / 32.0).clamp(max=20.0))
    weight = near / (near.sum(-1, keepdim=True) + 0.3)
    wanted = torch.einsum("npj,nkjc->nkcp", weight, sources - target[:, None]).reshape(2, 5, 2, 16, 24)
    torch.testing.assert_close(flow, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kernel.flatten(2), near.clamp(min=1e-5).pow(4).transpose(1, 2), rtol=1e-4, atol=1e-6)
