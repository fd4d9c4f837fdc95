"""Weight files: what is written comes back, and what is wrong with a file is said."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from speech2vid.errors import ConfigError, WeightsError
from speech2vid.models.paper_talker import PaperTalker
from speech2vid.models.sharpener import Sharpener, SharpenerConfig
from speech2vid.runtime import torch as checkpoint
from speech2vid.runtime.weights import WeightsHeader, read_header, read_weights, tensor_spans, write_weights

CONFIG = SharpenerConfig(layers=3, channels=4)


@pytest.fixture
def sharpener() -> Sharpener:
    torch.manual_seed(0)
    network = Sharpener(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


@pytest.fixture
def file(sharpener: Sharpener, tmp_path: Path) -> Path:
    path = tmp_path / "sharpener.safetensors"
    checkpoint.save(sharpener, path, data="noise", metrics={"mse": 2.5}, licence="CC-BY-4.0")
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Write the file again with some tensors changed (None: left out), checksum and all."""
    header, tensors = read_weights(path)
    tensors.update({name.replace("__", "."): value for name, value in changes.items()})  # type: ignore[misc]
    write_weights(path, header, {name: value for name, value in tensors.items() if value is not None})


def test_round_trip(sharpener: Sharpener, file: Path) -> None:
    loaded, header = checkpoint.load(file, Sharpener)
    assert loaded.config == CONFIG
    assert not loaded.training
    assert (header.architecture, header.data, header.metrics, header.licence) == (
        "sharpener",
        "noise",
        {"mse": 2.5},
        "CC-BY-4.0",
    )
    assert header == read_header(file)
    for name, tensor in sharpener.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    with safe_open(file, "pt") as plain:  # any safetensors reader can open it
        assert set(plain.keys()) == set(sharpener.state_dict())


def test_half_storage_keeps_vectors_exact_and_computes_in_float32(sharpener: Sharpener, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    checkpoint.save(sharpener, path, half=True)
    _, tensors = read_weights(path)
    assert tensors["residual.weight"].dtype == np.float16
    loaded, _ = checkpoint.load(path, Sharpener)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert torch.equal(loaded.residual.bias, sharpener.residual.bias)
    assert torch.equal(loaded.residual.weight, sharpener.residual.weight.half().float())


def test_spans_find_the_bytes(sharpener: Sharpener, file: Path) -> None:
    blob = file.read_bytes()
    spans = tensor_spans(file)
    assert spans.keys() == sharpener.state_dict().keys()
    for name, tensor in sharpener.state_dict().items():
        span = spans[name]
        array = np.frombuffer(blob, "<f4", offset=span.offset, count=span.length // 4).reshape(span.shape)
        assert np.array_equal(array, tensor.numpy())


def test_missing_file(tmp_path: Path) -> None:
    for read in (read_weights, read_header, tensor_spans):
        with pytest.raises(WeightsError, match="does not exist"):
            read(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_file(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="truncated"):
        read_weights(file)


def test_altered_tensor(file: Path) -> None:
    blob = bytearray(file.read_bytes())
    blob[-5] ^= 1
    file.write_bytes(blob)
    with pytest.raises(WeightsError, match="checksum"):
        read_weights(file)


def test_swapped_names_are_an_alteration(file: Path) -> None:
    blob = file.read_bytes()
    swapped = blob.replace(b'"hidden.0.bias"', b'"swap"').replace(b'"hidden.1.bias"', b'"hidden.0.bias"')
    swapped = swapped.replace(b'"swap"', b'"hidden.1.bias"')
    assert len(swapped) == len(blob)
    file.write_bytes(swapped)
    with pytest.raises(WeightsError, match="checksum"):
        read_weights(file)


def test_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("these are not the weights you are looking for")
    with pytest.raises(WeightsError, match="not a weight file"):
        read_weights(text)
    bare = tmp_path / "bare.safetensors"
    header = json.dumps({"__metadata__": {"format": "pt"}}).encode()
    bare.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match="no speech2vid header"):
        read_weights(bare)


def test_newer_format(file: Path) -> None:
    blob = file.read_bytes()
    file.write_bytes(blob.replace(b'"format_version":"1"', b'"format_version":"9"'))
    with pytest.raises(WeightsError, match="format 9, newer"):
        read_weights(file)


def test_wrong_architecture(file: Path) -> None:
    with pytest.raises(WeightsError, match="holds a sharpener, not a paper_talker"):
        checkpoint.load(file, PaperTalker)


def test_unknown_lacking_and_misshapen_tensors(file: Path) -> None:
    rewrite(file, hidden__1__wait=np.zeros((1,), np.float32))
    with pytest.raises(WeightsError, match=r"unknown tensor hidden\.1\.wait .*nearest is hidden\.1\.weight"):
        checkpoint.load(file, Sharpener)
    rewrite(file, hidden__1__wait=None, hidden__1__bias=None)
    with pytest.raises(WeightsError, match=r"has no tensor hidden\.1\.bias"):
        checkpoint.load(file, Sharpener)
    rewrite(file, hidden__1__bias=np.zeros((5,), np.float32))
    with pytest.raises(WeightsError, match=r"hidden\.1\.bias has shape \(5,\), not \(4,\)"):
        checkpoint.load(file, Sharpener)


def test_unknown_setting_in_the_config(file: Path) -> None:
    header, tensors = read_weights(file)
    write_weights(file, WeightsHeader("sharpener", {**header.config, "layer": 3}), tensors)
    with pytest.raises(ConfigError, match="did you mean 'layers'"):
        checkpoint.load(file, Sharpener)


def test_values_that_are_not_finite_are_not_written(sharpener: Sharpener, file: Path) -> None:
    before = file.read_bytes()
    with torch.no_grad():
        sharpener.residual.weight[0, 0, 0, 0] = 1e6  # too large for float16
    with pytest.raises(WeightsError, match=r"residual\.weight contains values that are not finite"):
        checkpoint.save(sharpener, file, half=True)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_names_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    write_weights(path, WeightsHeader("shape_predictor", {"sound_width": 3}), {"a": np.zeros(2, np.float32)})
    header, _ = read_weights(path, "audio_to_mouth")
    assert (header.architecture, header.config) == ("audio_to_mouth", {"audio_width": 3})
