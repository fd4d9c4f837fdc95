"""The re-dubbing networks: sizes, what they start from, that every weight learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from speech2vid.faces.align import canonical_points, context_from_face
from speech2vid.geometry import transform_points
from speech2vid.models.context_encoder import ContextEncoder
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.paper_redubber import CELLS, PaperRedubber, RedubberConfig, register_matrix
from speech2vid.models.warp_redubber import INPUTS, BlendFields, WarpRedubber, blend


def inputs(count: int) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.rand(count, channels, 128, 160) for name, channels in INPUTS.items()}


def test_the_context_is_seen_at_every_scale() -> None:
    maps = ContextEncoder(3, (4, 6, 8)).eval()(torch.rand(2, 3, 32, 64))
    assert [tuple(each.shape) for each in maps] == [(2, 4, 16, 32), (2, 6, 8, 16), (2, 8, 4, 8)]
    with pytest.raises(ValueError, match="3 channels, not 4"):
        ContextEncoder(3, (4,))(torch.rand(1, 4, 8, 8))


@pytest.mark.parametrize("images", [1, 5])
def test_the_papers_network_makes_whole_faces(images: int) -> None:
    torch.manual_seed(0)
    network = PaperRedubber(RedubberConfig("audio", "compact", images)).eval()
    stills, windows, context = (
        torch.rand(2, 3 * images, 112, 112),
        torch.randn(4, 1, 12, 35),
        torch.rand(4, 3, 224, 224),
    )
    with torch.no_grad():
        faces = network(windows, context, stills)
        second = network.generate(network.encode_identity(stills[1:]), windows[2:], context[2:])
    assert faces.shape == (4, 3, 224, 224)
    assert 0 <= faces.min() < faces.max() <= 1
    torch.testing.assert_close(faces[2:], second, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        moved = network(windows, context.roll(1, 0), stills), network(windows.roll(1, 0), context, stills)
    assert all((each - faces).abs().max() > 1e-3 for each in moved)  # both are listened to


def test_every_weight_of_the_papers_network_learns() -> None:
    torch.manual_seed(0)
    network = PaperRedubber(RedubberConfig("audio", "compact"))
    generated = network(torch.randn(2, 1, 12, 35), torch.rand(2, 3, 224, 224), torch.rand(2, 15, 112, 112))
    generated.square().mean().backward()
    assert not [name for name, each in network.named_parameters() if each.grad is None or not each.grad.abs().sum()]


@pytest.mark.parametrize(("name", "cells"), [("conv2", 14), ("pool1", 28)])
def test_identity_maps_lie_where_the_context_shows_the_same_point(name: str, cells: int) -> None:
    first, step, count = CELLS[name]
    matrix = register_matrix(cells, first, step, count)
    centres_px = (matrix @ (first + step * torch.arange(count))).numpy()  # of the 112 px face, for each result's cell
    inner = (matrix.sum(dim=1).numpy() > 0.5) & (centres_px > first) & (centres_px < first + step * (count - 1))
    assert inner.sum() > 0.6 * cells
    context_px = (np.arange(cells) + 0.5) * 224 / cells - 0.5
    expected = transform_points(context_from_face(), np.stack([centres_px, centres_px], axis=1))[:, 0]
    np.testing.assert_allclose(expected[inner], context_px[inner], atol=1e-3)
    stretched = 2 * canonical_points(112)  # what plain scaling would do to the landmarks
    apart = np.linalg.norm(transform_points(context_from_face(), canonical_points(112)) - stretched, axis=1)
    assert apart.max() > 8


def test_cells_of_the_identity_encoder_look_where_they_are_said_to() -> None:
    torch.manual_seed(0)
    encoder = IdentityEncoder(1, 0.25).eval()
    for name, (first, step, count) in CELLS.items():
        stills = torch.rand(1, 3, 112, 112, requires_grad=True)
        maps = getattr(encoder(stills), name)
        assert maps.shape[-1] == count
        middle = count // 2
        maps[0, :, middle, middle].square().sum().backward()
        assert stills.grad is not None
        rows = stills.grad.abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
        assert (rows.min() + rows.max()) / 2 == first + step * middle


def test_another_size_is_refused() -> None:
    network = PaperRedubber(RedubberConfig("audio", "compact", 1)).eval()
    with pytest.raises(ValueError, match=r"\(N, 3, 224, 224\), not \(1, 3, 112, 112\)"):
        network(torch.zeros(1, 1, 12, 35), torch.zeros(1, 3, 112, 112), torch.zeros(1, 3, 112, 112))


def test_sizes_in_parameters() -> None:
    count = {
        size: sum(each.numel() for each in PaperRedubber(RedubberConfig("audio", size)).parameters())
        for size in ("compact", "paper")
    }
    assert count["compact"] < 0.3 * count["paper"]
    assert 25e6 < count["paper"] < 40e6


def test_ours_begins_with_the_painted_mouth_as_it_is() -> None:
    network, given = WarpRedubber().eval(), inputs(2)
    given["known"] = torch.ones_like(given["known"])
    with torch.no_grad():
        fields = network(**given)
        generated = blend(fields, given["painted"])
    assert fields.flow.shape == (2, 2, 32, 40)
    assert fields.flow.abs().max() == fields.tint.abs().max() == 0
    share = fields.share.unique()
    assert len(share) == 1
    assert share.item() < 0.06
    torch.testing.assert_close(generated, given["painted"] * (1 - share) + 0.5 * share)


def test_where_nothing_is_known_it_paints_more() -> None:
    given = inputs(1)
    given["known"] = torch.zeros_like(given["known"])
    with torch.no_grad():
        assert WarpRedubber().eval()(**given).share.min() > 0.4


def test_every_weight_of_ours_learns() -> None:
    network, given = WarpRedubber(), inputs(2)
    with torch.no_grad():  # the last layers start at zero, where nothing reaches the others
        for last in (network.moved, network.painting[-1]):
            last.weight.normal_(std=0.1)
    blend(network(**given), given["painted"]).square().mean().backward()
    assert not [name for name, each in network.named_parameters() if each.grad is None or not each.grad.abs().sum()]


def test_the_flow_says_where_a_pixel_comes_from() -> None:
    painted = torch.rand(1, 3, 128, 160)
    still = torch.zeros(1, 2, 32, 40)
    still[:, 0] += 3.0
    none = torch.zeros(1, 1, 128, 160)
    fields = BlendFields(still, torch.zeros(1, 3, 32, 40), none, torch.zeros(1, 3, 128, 160))
    torch.testing.assert_close(blend(fields, painted)[..., :-3], painted[..., 3:], atol=1e-4, rtol=0)
