"""Weight files and graphs from a stranger: refused with a reason, and nothing in them is run or read from elsewhere."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from sandbox import run

from speech2vid.inference.talkers.base import load_talker
from speech2vid.runtime.onnx import OnnxNetwork
from speech2vid.runtime.weights import WeightsHeader, digest, read_header, read_weights, tensor_spans, write_weights

SHIPPED = Path(str(resources.files("speech2vid") / "weights"))
ABOUT = {"format_version": "1", "architecture": "voice", "config": "{}", "data": "", "metrics": "{}", "licence": ""}


def file(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def with_tensor(entry: dict, data: bytes = bytes(16), **about: str) -> bytes:
    return file({"__metadata__": {**ABOUT, "sha256": "0" * 64, **about}, "a": entry}, data)


def not_finite() -> bytes:
    """A file whose checksum is right and whose values are not."""
    from safetensors.numpy import save

    tensors = {"a": np.array([1.0, np.nan], np.float32)}
    return save(tensors, {**ABOUT, "sha256": digest(tensors)})


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def zip_bomb() -> bytes:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(256 << 20))
    return blob.getvalue()


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda trap: b"",
    "seven bytes": lambda trap: b"1234567",
    "header of 2^63": lambda trap: file({}, length=1 << 63),
    "header of 2^64 - 1": lambda trap: file({}, length=(1 << 64) - 1),
    "header longer than the file": lambda trap: file({}, length=1000),
    "header of 20 MB": lambda trap: file(b"{" + b" " * (20 << 20) + b"}"),
    "deep JSON": lambda trap: file(b"[" * 200_000),
    "deep config": lambda trap: with_tensor(ENTRY, config="[" * 200_000),
    "JSON that is a number": lambda trap: file(1),
    "no metadata": lambda trap: file({"a": ENTRY}, bytes(16)),
    "metadata is a list": lambda trap: file({"__metadata__": []}),
    "config is a list": lambda trap: with_tensor(ENTRY, config="[]"),
    "format from the future": lambda trap: with_tensor(ENTRY, format_version="999999"),
    "format is no number": lambda trap: with_tensor(ENTRY, format_version="one"),
    "negative offset": lambda trap: with_tensor({**ENTRY, "data_offsets": [-16, 0]}),
    "offset beyond the end": lambda trap: with_tensor({**ENTRY, "data_offsets": [1 << 40, (1 << 40) + 16]}),
    "offsets the wrong way": lambda trap: with_tensor({**ENTRY, "data_offsets": [16, 0]}),
    "shape too large for its bytes": lambda trap: with_tensor({**ENTRY, "shape": [1 << 40]}),
    "shape that overflows": lambda trap: with_tensor({**ENTRY, "shape": [1 << 33, 1 << 33]}),
    "negative shape": lambda trap: with_tensor({**ENTRY, "shape": [-4]}),
    "unknown type": lambda trap: with_tensor({**ENTRY, "dtype": "OBJECT"}),
    "wrong checksum": lambda trap: with_tensor(ENTRY),
    "not finite": lambda trap: not_finite(),
    "pickle": lambda trap: pickle.dumps(Trap(trap)),
    "zip bomb": lambda trap: zip_bomb(),
    "shipped weights cut short": lambda trap: (SHIPPED / "audio_to_mouth.safetensors").read_bytes()[:-1000],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_weight_files(what: str, tmp_path: Path) -> None:
    path, trap = tmp_path / "audio_to_mouth.safetensors", tmp_path / "trap"
    path.write_bytes(HOSTILE[what](trap))
    end = run(lambda: read_weights(path, "voice"), extra_mb=400)
    assert end.kind == "error", end
    assert "audio_to_mouth.safetensors" in end.said
    header = run(lambda: read_header(path), extra_mb=400)
    assert header.clean, header
    assert not trap.exists()


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/dev/null"])
def test_what_is_no_file(path: str) -> None:
    assert run(lambda: read_weights(Path(path)), extra_mb=200).kind == "error"


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    good = (SHIPPED / "audio_to_mouth.safetensors").read_bytes()
    path = tmp_path / "audio_to_mouth.safetensors"
    rng = np.random.default_rng(0)
    for _ in range(40):
        content = bytearray(good)
        at = int(rng.integers(0, 3000) if rng.random() < 0.5 else rng.integers(0, len(content)))
        content[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        end = run(lambda: read_weights(path), extra_mb=400)
        assert end.clean, (at, end)


def folder_with(tmp_path: Path, **replaced: bytes) -> Path:
    """The shipped talker with some files replaced: names with "__" for "."."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in SHIPPED.iterdir():
        if path.name.startswith(("audio_to_mouth", "warp_talker")):
            shutil.copy(path, folder)
    for name, content in replaced.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x08" * 50, pickle.dumps([]), zip_bomb()], ids=["empty", "noise", "pickle", "zip"]
)
def test_graphs_that_are_none(content: bytes, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, audio_to_mouth__mouth_motion__onnx=content)
    assert run(lambda: load_talker(folder)).kind == "error"


def test_graphs_and_weights_that_do_not_belong_together(tmp_path: Path) -> None:
    other = (SHIPPED / "audio_to_mouth.safetensors").read_bytes()
    end = run(lambda: load_talker(folder_with(tmp_path, warp_talker__safetensors=other)))
    assert end.kind == "error", end


@pytest.fixture
def crafted(tmp_path: Path) -> Callable[..., Path]:
    """Write a graph that claims to belong to a small weight file: ``crafted(nodes, initialisers)``."""
    from onnx import TensorProto, helper

    header = write_weights(tmp_path / "a.safetensors", WeightsHeader("a", {}), {"a": np.zeros(4, np.float32)})

    def write(nodes: list, initialisers: list, opsets: list | None = None) -> Path:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *(opsets or [])], ir_version=9)
        helper.set_model_props(model, {"weights_sha256": header.sha256})
        path = tmp_path / "a.g.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def outside(location: str, length: int = 16, offset: int = 0):
    from onnx import TensorProto, helper

    tensor = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def open_graph(graph: Path) -> None:
    network = OnnxNetwork(graph, graph.with_name("a.safetensors"))
    network({"x": np.zeros(4, np.float32)})


def test_a_crafted_graph_can_be_right(crafted) -> None:
    """Else the next tests would prove nothing."""
    from onnx import helper

    spans = tensor_spans(Path(crafted([], [])).with_name("a.safetensors"))
    good = outside("a.safetensors", 16, spans["a"].offset)
    end = run(lambda: open_graph(crafted([helper.make_node("Add", ["x", "w"], ["y"])], [good])))
    assert end.kind == "done", end


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", "link.bin", "nowhere.bin", "", "http://127.0.0.1:9/x"],
)
def test_graphs_cannot_read_other_files(location: str, crafted, tmp_path: Path) -> None:
    from onnx import helper

    (tmp_path.parent / "secret.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    (tmp_path / "link.bin").symlink_to(tmp_path.parent / "secret.bin")
    graph = crafted([helper.make_node("Add", ["x", "w"], ["y"])], [outside(location)])
    end = run(lambda: open_graph(graph))
    assert end.kind == "error", end


@pytest.mark.parametrize(("offset", "length"), [(-16, 16), (1 << 40, 16), (0, 1 << 40), ((1 << 63) - 8, 16)])
def test_graphs_cannot_read_beyond_their_weights(offset: int, length: int, crafted) -> None:
    from onnx import helper

    graph = crafted([helper.make_node("Add", ["x", "w"], ["y"])], [outside("a.safetensors", length, offset)])
    assert run(lambda: open_graph(graph)).kind == "error"


def test_graphs_with_operators_of_their_own(crafted) -> None:
    from onnx import helper

    node = helper.make_node("Evil", ["x"], ["y"], domain="com.example")
    assert run(lambda: open_graph(crafted([node], [], [helper.make_opsetid("com.example", 1)]))).kind == "error"


def test_a_graph_that_asks_for_a_terabyte(crafted) -> None:
    from onnx import TensorProto, helper

    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [1 << 38])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    end = run(lambda: open_graph(crafted(nodes, [shape])))
    assert end.kind == "error", end
