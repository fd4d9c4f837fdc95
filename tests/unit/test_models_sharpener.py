"""The sharpening network against the facts of Sect. 3.3."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speech2vid.errors import ConfigError
from speech2vid.models.sharpener import Sharpener, SharpenerConfig


def test_sizes_are_those_of_v114() -> None:
    sharpener = Sharpener(SharpenerConfig())
    convolutions = [layer for layer in sharpener.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64] * 9 + [3]
    weights = sum(layer.weight.numel() for layer in convolutions)
    assert sum(parameter.numel() for parameter in sharpener.parameters()) == pytest.approx(0.30e6, abs=0.005e6)
    assert weights * 109 * 109 == pytest.approx(3.5e9, abs=0.05e9)  # multiply-accumulates: size is kept throughout


def test_starts_as_the_identity_and_adds_its_output() -> None:
    sharpener = Sharpener(SharpenerConfig())
    faces = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(sharpener(faces), faces)
        sharpener.residual.bias.fill_(0.25)
        torch.testing.assert_close(sharpener(faces), faces + 0.25)


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(ConfigError, match="type int"):
        SharpenerConfig.from_dict({"layers": "10"})
