"""The paper's talker against its tables (Fig. 4, Sect. 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.errors import ConfigError
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig

AUDIO_SIZES = {
    "conv1": (64, 12, 35),
    "conv2": (128, 12, 35),
    "pool2": (128, 11, 17),
    "conv3": (256, 11, 17),
    "conv4": (256, 11, 17),
    "conv5": (256, 11, 17),
    "pool5": (256, 5, 8),
    "fc6": (512, 1, 1),
    "fc7": (256, 1, 1),
}
IDENTITY_SIZES = {
    "conv1": (96, 53, 53),
    "pool1": (96, 26, 26),
    "conv2": (256, 12, 12),
    "pool2": (256, 6, 6),
    "conv3": (512, 6, 6),
    "conv4": (512, 6, 6),
    "conv5": (512, 6, 6),
    "fc6": (512, 1, 1),
    "fc7": (256, 1, 1),
}
DECODER_SIZES = {
    "fc": (128, 1, 1),
    "up1": (128, 2, 2),
    "up2": (256, 4, 4),
    "up3": (512, 6, 6),
    "up4": (256, 12, 12),
    "up5": (256, 24, 24),
    "conv5": (96, 26, 26),
    "up6": (96, 53, 53),
    "up7": (64, 107, 107),
    "conv8": (32, 108, 108),
    "conv9": (3, 109, 109),
}
TABLES = {"audio_encoder": AUDIO_SIZES, "identity_encoder": IDENTITY_SIZES, "face_decoder": DECODER_SIZES}


def talker(**settings: object) -> PaperTalker:
    torch.manual_seed(0)
    return PaperTalker(PaperTalkerConfig.from_dict(settings)).eval()


def parameters_m(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@contextmanager
def observed(network: nn.Module) -> Iterator[tuple[dict[str, tuple[int, ...]], dict[str, int]]]:
    """Output size without the batch axis, and multiply-accumulates, of every module that runs meanwhile."""
    sizes: dict[str, tuple[int, ...]] = {}
    macs: dict[str, int] = {}
    hooks = []
    for name, module in network.named_modules():

        def note(module: nn.Module, _: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor):
                sizes[name] = tuple(output.shape[1:])
                if isinstance(module, nn.Conv2d):
                    macs[name] = output[0, 0].numel() * module.weight.numel()

        hooks.append(module.register_forward_hook(note))
    yield sizes, macs
    for hook in hooks:
        hook.remove()


def gmac(macs: dict[str, int], start: str = "") -> float:
    return sum(count for name, count in macs.items() if name.startswith(start)) / 1e9


def inputs(images: int = 5, count: int = 1, persons: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    windows = torch.randn(count, 1, 12, 35, generator=generator)
    return windows, torch.rand(persons, 3 * images, 112, 112, generator=generator)


def test_parameter_counts_are_the_papers() -> None:
    network = talker()
    assert parameters_m(network.audio_encoder) == pytest.approx(6.9, abs=0.05)
    assert parameters_m(network.identity_encoder) == pytest.approx(16.2, abs=0.05)
    assert parameters_m(network.face_decoder) == pytest.approx(4.9, abs=0.05)


def test_work_is_the_papers_and_less_with_a_cached_identity() -> None:
    network = talker()
    windows, stills = inputs()
    with torch.no_grad(), observed(network) as (_, whole):
        network(windows, stills)
    assert gmac(whole, "audio_encoder") == pytest.approx(0.31, abs=0.005)
    assert gmac(whole, "identity_encoder") == pytest.approx(0.51, abs=0.005)
    assert gmac(whole, "face_decoder") == pytest.approx(2.64, abs=0.005)
    with torch.no_grad():
        features = network.encode_identity(stills)
        with observed(network) as (_, frame):
            network.generate(features, windows)
    assert gmac(frame) == pytest.approx(2.38, abs=0.005)


@pytest.mark.parametrize("generation", ["upsample", "transposed"])
@pytest.mark.parametrize("skips", ["paper", "v201", "none"])
@pytest.mark.parametrize("size", ["paper", "compact"])
def test_every_layer_has_the_size_of_the_table(size: str, skips: str, generation: str) -> None:
    network = talker(size=size, skips=skips, generation=generation)
    with torch.no_grad(), observed(network) as (sizes, _):
        network(*inputs())
    for part, table in TABLES.items():
        for layer, (channels, *area) in table.items():
            wanted = channels if size == "paper" or layer == "conv9" else channels // 2
            assert sizes[f"{part}.{layer}"] == (wanted, *area), f"{part}.{layer}"


def test_transposed_variant_has_as_many_parameters() -> None:
    assert parameters_m(talker(generation="transposed")) == parameters_m(talker())


def test_skips_read_the_named_maps() -> None:
    assert talker(skips="none").face_decoder.skips == {}
    assert talker(skips="paper").face_decoder.skips == {"up5": "conv2", "up6": "pool1"}
    assert talker(skips="v201").face_decoder.skips == {"up5": "conv2", "up6": "pool1", "up7": "conv1"}


@pytest.mark.parametrize("generation", ["upsample", "transposed"])
def test_split_convolution_equals_the_one_over_concatenated_maps(generation: str) -> None:
    network = talker(size="compact", skips="v201", generation=generation).double()
    decoder = network.face_decoder
    windows, stills = (tensor.double() for tensor in inputs())
    with torch.no_grad():
        identity = network.identity_encoder(stills)
        maps = torch.cat([network.audio_encoder(windows), identity.code], dim=1)[:, :, None, None]
        for name in ("fc", "up1", "up2", "up3", "up4", "up5", "conv5", "up6", "up7", "conv8", "conv9"):
            layer = getattr(decoder, name)
            if name in decoder.skips:
                own, other = layer.conv, decoder.identity_halves[name].conv
                axis = 0 if generation == "transposed" else 1
                own.weight = nn.Parameter(torch.cat([own.weight, other.weight], dim=axis))
                own.in_channels += other.in_channels
                maps = torch.cat([maps, getattr(identity, decoder.skips[name])], dim=1)
            maps = layer(maps) if name == "conv9" else functional.relu(layer(maps))
        concatenated = maps.sigmoid()
        split = talker(size="compact", skips="v201", generation=generation).double()(windows, stills)
    assert split.std() > 0.001
    torch.testing.assert_close(split, concatenated, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("images", [1, 5])
def test_one_identity_serves_a_batch_of_windows(images: int) -> None:
    network = talker(size="compact", identity_images=images)
    windows, stills = inputs(images, count=3)
    with torch.no_grad():
        shared = network.generate(network.encode_identity(stills), windows)
        alone = torch.cat([network(window[None], stills) for window in windows])
    assert shared.shape == (3, 3, 109, 109)
    assert 0 <= shared.min() < shared.max() <= 1
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-5)


def test_windows_are_shared_out_among_persons_in_order() -> None:
    network = talker(size="compact")
    windows, stills = inputs(count=4, persons=2)
    with torch.no_grad():
        together = network(windows, stills)
        second = network(windows[2:], stills[1:])
        with pytest.raises(ValueError, match="3 windows"):
            network(windows[:3], stills)
    torch.testing.assert_close(together[2:], second, rtol=1e-4, atol=1e-5)
    assert (together[:2] - second).abs().max() > 1e-4


def test_normalisation_is_part_of_the_model() -> None:
    network = talker(size="compact")
    windows, stills = inputs()
    with torch.no_grad():
        plain = network(windows, stills)
        network.audio_encoder.set_normalisation(torch.full((12,), 3.0), torch.full((12,), 2.0))
        network.identity_encoder.set_normalisation(torch.tensor([127.5, 127.5, 127.5 + 25.5]), torch.full((3,), 64.0))
        shifted = stills + 0.1 * torch.tensor([0.0, 0, 1]).repeat(5)[None, :, None, None]
        same = network(windows * 2 + 3, shifted)
    torch.testing.assert_close(plain, same, rtol=1e-4, atol=1e-5)
    assert {"audio_encoder.mfcc_mean", "identity_encoder.pixel_std"} <= network.state_dict().keys()


def test_wrong_input_sizes_are_refused() -> None:
    network = talker(size="compact")
    windows, stills = inputs()
    with pytest.raises(ValueError, match=r"windows must be"):
        network(windows[..., :34], stills)
    with pytest.raises(ValueError, match=r"stills must be"):
        network(windows, stills[:, :3])


def test_a_training_step_reaches_every_parameter() -> None:
    network = talker(size="compact", skips="v201").train()
    windows, stills = inputs(count=4, persons=2)
    (network(windows, stills) - 0.7).abs().mean().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0] == []


def test_config_names_the_nearest_setting() -> None:
    with pytest.raises(ConfigError, match="did you mean 'identity_images'"):
        PaperTalkerConfig.from_dict({"identity_image": 5})
    with pytest.raises(ConfigError, match="did you mean 'compact'"):
        PaperTalkerConfig.from_dict({"size": "compct"})
    with pytest.raises(ConfigError, match="1, 5"):
        PaperTalkerConfig.from_dict({"identity_images": 3})
    assert PaperTalkerConfig.from_dict(PaperTalkerConfig(size="compact").to_dict()) == PaperTalkerConfig(size="compact")
