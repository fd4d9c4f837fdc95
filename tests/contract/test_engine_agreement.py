"""ONNX and torch engines give the same frames from the same weight file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from speech2vid.errors import WeightsError
from speech2vid.models.config import NetworkConfig
from speech2vid.models.network import Graph, Network
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
from speech2vid.models.sharpener import Sharpener, SharpenerConfig
from speech2vid.runtime import torch as checkpoint
from speech2vid.runtime.onnx import OnnxNetwork
from speech2vid.runtime.torch import TorchNetwork
from speech2vid.training.export import export_graphs

RANDOM = np.random.default_rng(0)
STILLS = RANDOM.random((1, 15, 112, 112), dtype=np.float32)
WINDOWS = RANDOM.standard_normal((3, 1, 12, 35), dtype=np.float32)


def random_talker(seed: int, **settings: object) -> PaperTalker:
    """Randomly initialised, batch norm statistics too, and far enough from grey to differ visibly."""
    torch.manual_seed(seed)
    network = PaperTalker(PaperTalkerConfig.from_dict({"size": "compact", **settings})).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
    network.face_decoder.conv9[1].weight.data.mul_(10)
    return network


def export(folder: Path, network: PaperTalker, *, half: bool) -> tuple[Path, Path, Path]:
    weights = folder / "paper_talker.safetensors"
    checkpoint.save(network, weights, half=half)
    identity, frames = export_graphs(weights, PaperTalker)
    return weights, identity, frames


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return export(tmp_path_factory.mktemp("exported"), random_talker(0), half=True)


@pytest.mark.parametrize(
    ("settings", "half"),
    [
        ({}, True),
        ({}, False),
        ({"generation": "transposed", "skips": "v201"}, True),
        ({"skips": "none", "identity_images": 1}, True),
    ],
    ids=str,
)
def test_talker(tmp_path: Path, settings: dict[str, object], half: bool) -> None:
    network = random_talker(0, **settings)
    weights, *graphs = export(tmp_path, network, half=half)
    loaded, _ = checkpoint.load(weights, PaperTalker)
    stills = STILLS[:, : 3 * loaded.config.identity_images]
    results = []
    for identity, frames in (
        [OnnxNetwork(graph, weights, threads=1) for graph in graphs],
        [TorchNetwork(loaded, name) for name in ("identity", "frames")],
    ):
        features = identity({"stills": stills})
        results.append([frames({**features, "windows": WINDOWS[:count]})["frames"] for count in (1, 3)])
    for from_onnx, from_torch in zip(*results, strict=True):
        assert from_onnx.shape == from_torch.shape
        assert from_torch.std() > 0.02
        assert np.abs(from_onnx - from_torch).max() <= 1e-3
    assert np.abs(results[0][1][0] - results[0][1][1]).max() > 0.01  # the audio matters


def test_sharpener_at_any_size(tmp_path: Path) -> None:
    network = Sharpener(SharpenerConfig(layers=3, channels=8)).eval()
    torch.nn.init.normal_(network.residual.weight, std=0.1)
    weights = tmp_path / "sharpener.safetensors"
    checkpoint.save(network, weights)
    (graph,) = export_graphs(weights, Sharpener)
    ours, theirs = OnnxNetwork(graph, weights, threads=1), TorchNetwork(network, "sharpen")
    for size in ((1, 3, 109, 109), (2, 3, 20, 31)):
        faces = RANDOM.random(size, dtype=np.float32)
        sharpened = ours({"frames": faces})["sharpened"]
        assert sharpened.shape == size
        assert 0 <= sharpened.min() < sharpened.max() <= 1
        assert np.abs(sharpened - faces).max() > 0.01
        assert np.abs(sharpened - theirs({"frames": faces})["sharpened"]).max() <= 1e-3


def test_graphs_are_small_and_hold_no_weights(exported: tuple[Path, Path, Path]) -> None:
    weights, *graphs = exported
    assert weights.stat().st_size > 10_000_000
    pointed: set[str] = set()
    for graph in graphs:
        assert graph.stat().st_size < 100_000
        model = onnx.load(graph, load_external_data=False)
        for tensor in model.graph.initializer:
            assert tensor.data_location == onnx.TensorProto.EXTERNAL, tensor.name
            pointed.add(tensor.name.removeprefix("network.").removesuffix(".stored"))
        onnx.checker.check_model(str(graph), full_check=True)
    state = random_talker(0).state_dict()
    assert pointed == {name for name in state if not name.endswith("num_batches_tracked")}


def test_weights_may_lie_in_another_folder(exported: tuple[Path, Path, Path], tmp_path: Path) -> None:
    weights, identity, _ = exported
    moved = tmp_path / "elsewhere" / weights.name
    moved.parent.mkdir()
    moved.write_bytes(weights.read_bytes())
    graph = tmp_path / identity.name
    graph.write_bytes(identity.read_bytes())
    here, there = OnnxNetwork(identity, weights, threads=1), OnnxNetwork(graph, moved, threads=1)
    assert np.array_equal(here({"stills": STILLS})["code"], there({"stills": STILLS})["code"])


def test_graph_of_other_weights_is_refused(exported: tuple[Path, Path, Path], tmp_path: Path) -> None:
    weights, identity, _ = exported
    others = tmp_path / weights.name
    checkpoint.save(random_talker(1), others, half=True)
    with pytest.raises(WeightsError, match=r"was not made for .*export"):
        OnnxNetwork(identity, others, threads=1)


@dataclass(frozen=True)
class LayersConfig(NetworkConfig):
    frozen_size: bool = False


class Layers(Network):
    """Kinds of layers that the talker has not, and a constant that is no weight."""

    architecture = "layers"
    Config = LayersConfig
    config: LayersConfig
    ramp: torch.Tensor

    def __init__(self, config: LayersConfig) -> None:
        super().__init__(config)
        self.linear = torch.nn.Linear(6, 4)
        self.conv = torch.nn.Conv1d(4, 4, 3)
        self.register_buffer("ramp", torch.linspace(-1, 1, 4), persistent=False)

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rows = self.linear(inputs["rows"])  # (N, T, 4): a matrix product, not a Gemm
        rows = rows.reshape(int(rows.shape[0]), -1, 4) if self.config.frozen_size else rows
        maps = self.conv(rows.transpose(1, 2) + self.ramp[:, None])[:, None]
        grid = torch.stack(torch.meshgrid(self.ramp, self.ramp, indexing="xy"), dim=-1)
        grid = 0.7 * grid + inputs["shift"][:, None, None]
        return {"maps": maps, "sampled": functional.grid_sample(maps, grid, align_corners=False)}

    def graphs(self) -> tuple[Graph]:
        example = {"rows": torch.randn(2, 7, 6), "shift": 0.3 * torch.randn(2, 2)}
        free = {"shift": {0: "n"}, "sampled": {0: "n"}, "rows": {0: "n", 1: "time"}, "maps": {0: "n", 3: "valid"}}
        return (
            Graph("all", self.run, example, {**free, "rows": {0: "items", 1: "time"}, "maps": {0: "items", 3: "t"}}),
        )


@pytest.mark.parametrize("half", [False, True])
def test_any_network_can_be_exported(tmp_path: Path, half: bool) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "layers.safetensors"
    checkpoint.save(Layers(LayersConfig()), weights, half=half)
    (graph,) = export_graphs(weights, Layers)
    loaded, _ = checkpoint.load(weights, Layers)
    ours, theirs = OnnxNetwork(graph, weights, threads=1), TorchNetwork(loaded, "all")
    inputs = {
        "rows": RANDOM.standard_normal((5, 9, 6), dtype=np.float32),
        "shift": RANDOM.standard_normal((5, 2), dtype=np.float32),
    }
    for name, array in ours(inputs).items():
        expected = theirs(inputs)[name]
        assert expected.std() > 0.1
        assert array.shape == expected.shape
        assert np.abs(array - expected).max() <= 1e-3


def test_export_refuses_code_whose_sizes_freeze_in_the_trace(tmp_path: Path) -> None:
    weights = tmp_path / "layers.safetensors"
    checkpoint.save(Layers(LayersConfig(frozen_size=True)), weights)
    with pytest.raises(RuntimeError, match="constants in the trace"):
        export_graphs(weights, Layers)
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_damaged_and_missing_files(exported: tuple[Path, Path, Path], tmp_path: Path) -> None:
    weights, identity, _ = exported
    with pytest.raises(WeightsError, match=r"none\.onnx does not exist"):
        OnnxNetwork(tmp_path / "none.onnx", weights)
    with pytest.raises(WeightsError, match=r"none\.safetensors does not exist"):
        OnnxNetwork(identity, tmp_path / "none.safetensors")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(identity.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"cut\.onnx cannot be loaded"):
        OnnxNetwork(cut, weights)
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(weights.read_bytes())
    with pytest.raises(WeightsError, match=r"cannot be loaded with .*renamed"):
        OnnxNetwork(identity, renamed)


def test_wrong_inputs_are_refused(exported: tuple[Path, Path, Path]) -> None:
    weights, identity, _ = exported
    network = OnnxNetwork(identity, weights, threads=1)
    with pytest.raises(ValueError, match="takes"):
        network({"still": STILLS})
    with pytest.raises(ValueError, match="stills must have shape"):
        network({"stills": STILLS[:, :3]})
    loaded, _ = checkpoint.load(weights, PaperTalker)
    with pytest.raises(ValueError, match="has no graph"):
        TorchNetwork(loaded, "frame")
    with pytest.raises(ValueError, match="takes"):
        TorchNetwork(loaded, "identity")({"still": STILLS})
