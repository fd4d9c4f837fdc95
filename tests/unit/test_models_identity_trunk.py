"""What the identity encoder starts from: a distilled trunk, or a user's VGG-M weights in two formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from speech2vid.errors import WeightsError
from speech2vid.models.identity_encoder import IdentityEncoder
from speech2vid.models.identity_trunk import IdentityTrunk, IdentityTrunkConfig
from speech2vid.runtime.torch import save
from speech2vid.training.pretrained import start_identity

SHAPES = {
    "conv1": (96, 3, 7, 7),
    "conv2": (256, 96, 5, 5),
    "conv3": (512, 256, 3, 3),
    "conv4": (512, 512, 3, 3),
    "conv5": (512, 512, 3, 3),
}


@pytest.fixture(scope="module")
def made_up() -> dict[str, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    return {name: (0.01 * torch.randn(shape), torch.rand(shape[0])) for name, shape in SHAPES.items()}


def write_mat(path: Path, layers: dict[str, tuple[Tensor, Tensor]], older: bool) -> None:
    from scipy.io import savemat

    cells = np.empty((1, 2 * len(layers)), object)
    for number, (name, (weight, bias)) in enumerate(layers.items()):
        filters, biases = weight.permute(2, 3, 1, 0).numpy(), bias[None].numpy()
        if older:
            values = {"filters": filters, "biases": biases}
        else:
            pair = np.empty((1, 2), object)
            pair[0, 0], pair[0, 1] = filters, biases
            values = {"weights": pair}
        cells[0, 2 * number] = {"name": name, "type": "conv", **values}
        cells[0, 2 * number + 1] = {"name": f"relu{number}", "type": "relu"}
    savemat(path, {"layers": cells, "meta": {"note": "made up"}} if older else {"net": {"layers": cells}})


def is_in(encoder: IdentityEncoder, layers: dict[str, tuple[Tensor, Tensor]]) -> None:
    """K equal stills give what one gives to the weights as they were learnt, on 0–255 pixels."""
    for name, (weight, bias) in layers.items():
        block = getattr(encoder, name)
        convolution, norm = block[0], block[1]
        expected = weight
        if name == "conv1":
            expected = (weight * encoder.pixel_std[:, :3]).repeat(1, encoder.images, 1, 1) / encoder.images
        torch.testing.assert_close(convolution.weight.detach(), expected)
        torch.testing.assert_close(norm.bias.detach(), bias)


@pytest.mark.parametrize("form", ["mat", "older mat", "safetensors"])
def test_vgg_weights_in_any_form(form: str, made_up: dict[str, tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    path = tmp_path / f"vgg.{form.split()[-1]}"
    if form == "safetensors":
        layers = {**made_up, "fc6": (torch.zeros(2, 2), torch.zeros(2))}
        save_file(
            {
                f"features.{name}.{what}": value
                for name, pair in layers.items()
                for what, value in zip(("weight", "bias"), pair, strict=True)
            },
            path,
        )
    else:
        write_mat(path, made_up, older=form == "older mat")
    encoder = IdentityEncoder(5)
    encoder.set_normalisation(torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 60.0, 70.0]))
    before = encoder.fc6[0].weight.clone()
    start_identity(encoder, path)
    is_in(encoder, made_up)
    assert torch.equal(encoder.fc6[0].weight, before), "fully connected layers stay"


def test_a_trained_trunk_gives_the_encoder_its_eyes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = IdentityTrunk(IdentityTrunkConfig(size="small"))
    trunk.encoder.set_normalisation(torch.tensor([90.0, 95.0, 99.0]), torch.tensor([50.0, 60.0, 70.0]))
    trunk.train()(torch.rand(4, 3, 112, 112))  # batch norm sees something
    save(trunk.eval(), tmp_path / "identity.safetensors")
    encoder = IdentityEncoder(5, 0.25).eval()
    encoder.set_normalisation(torch.tensor([90.0, 95.0, 99.0]), torch.tensor([25.0, 30.0, 35.0]))
    start_identity(encoder, tmp_path / "identity.safetensors")
    face = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        theirs, ours = trunk.encoder(face), encoder(face.repeat(1, 5, 1, 1))
    torch.testing.assert_close(ours.conv2, theirs.conv2, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_named(made_up: dict[str, tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    encoder = IdentityEncoder(1, 0.5)
    with pytest.raises(WeightsError, match=r"none\.mat does not exist"):
        start_identity(encoder, tmp_path / "none.mat")
    damaged = tmp_path / "damaged.mat"
    damaged.write_bytes(b"MATLAB" + bytes(300))
    with pytest.raises(WeightsError, match=r"damaged\.mat"):
        start_identity(encoder, damaged)
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        start_identity(encoder, tmp_path / "damaged.safetensors")
    save_file({f"{name}.weight": weight for name, (weight, _) in made_up.items()}, tmp_path / "whole.safetensors")
    with pytest.raises(WeightsError, match=r"conv1 has shape \(96, 3, 7, 7\), the identity encoder \(48, 3, 7, 7\)"):
        start_identity(encoder, tmp_path / "whole.safetensors")
    save_file({"conv1.weight": made_up["conv1"][0]}, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match="has no layer conv2, only: conv1"):
        start_identity(encoder, tmp_path / "part.safetensors")
    from speech2vid.models.sharpener import Sharpener, SharpenerConfig

    save(Sharpener(SharpenerConfig(layers=2, channels=4)), tmp_path / "sharpener.safetensors")
    with pytest.raises(WeightsError, match="holds a sharpener, not a identity"):
        start_identity(encoder, tmp_path / "sharpener.safetensors")
