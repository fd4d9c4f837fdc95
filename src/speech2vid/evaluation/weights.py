"""A folder or a weight file → the generator it holds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from speech2vid.errors import MissingExtraError, WeightsError
from speech2vid.evaluation.generation import Generator, WarpGenerator
from speech2vid.evaluation.sharpening import Sharpen, onnx_sharpener, torch_sharpener
from speech2vid.evaluation.window_talker import OnnxTalker, TorchTalker, WindowGenerator
from speech2vid.files import package_weights
from speech2vid.inference.mouth_motion import Silence
from speech2vid.inference.talkers.warp import TALKER as WARP
from speech2vid.inference.talkers.warp import TalkerNetworks
from speech2vid.runtime.weights import read_header

TALKER, SHARPENER = "paper_talker", "sharpener"  # architectures, and stems of their weight files in a folder


def load_generator(
    weights: Path | None = None,
    *,
    name: str | None = None,
    silence: Silence = "hold",
    device: str = "auto",
    threads: int = 0,
) -> Generator:
    """The talker of a weight folder or file.

    Args:
        weights: a folder with the files of a warp talker (``warp_talker``, ``voice``) or of the paper's (``talker``),
            or the latter's weight file, also ``…/best.safetensors`` of a training; None: the package's folder.
        name: what the tables call it; that of the folder or file by default.
        silence: of a warp talker: what the mouth does where nobody speaks, as in ``talk``.
        device: of a warp talker: ``auto``, ``cpu`` or ``cuda``.
        threads: for one call; 0 for one a core.

    Raises:
        WeightsError: missing, damaged, or the weights of something that makes no faces.
        MissingExtraError: a weight file without graphs needs the extra ``train``.
    """
    if weights is None:
        return WarpGenerator(TalkerNetworks(None, device, threads), silence, name or "package")
    name = name or _name_of(weights)
    if weights.is_file():
        return WindowGenerator(_window_talker(weights, threads), name)
    found = [stem for stem in (WARP, TALKER) if (weights / f"{stem}.safetensors").is_file()]
    if not found:
        raise WeightsError(
            f"{weights} holds no {WARP}.safetensors and no {TALKER}.safetensors",
            "give a folder of weights of a talker, such as OUT/weights of a training, or its weight file",
        )
    if len(found) > 1:
        raise WeightsError(f"{weights} holds two talkers", f"give {weights / TALKER}.safetensors, or leave one in it")
    if found == [WARP]:
        return WarpGenerator(TalkerNetworks(weights, device, threads), silence, name)
    return WindowGenerator(_window_talker(weights / f"{TALKER}.safetensors", threads), name)


def load_sharpener(weights: Path, threads: int = 0) -> Sharpen:
    """The sharpening network of a weight folder or file. Errors as for :func:`load_generator`."""
    path = weights / f"{SHARPENER}.safetensors" if weights.is_dir() else weights
    _require(path, SHARPENER)
    if path.with_name(f"{path.stem}.sharpen.onnx").is_file():
        return onnx_sharpener(path, threads)
    _require_torch(path)
    return torch_sharpener(path)


def fingerprint_of(weights: Path | None) -> str:
    """What tells these weights from others: the checksums of the files, in the order of their names."""
    folder = weights or package_weights()
    files = [folder] if folder.is_file() else sorted(folder.glob("*.safetensors"))
    return " ".join(read_header(file).sha256[:16] for file in files)


def _window_talker(path: Path, threads: int) -> OnnxTalker | TorchTalker:
    _require(path, TALKER)
    if path.with_name(f"{path.stem}.frames.onnx").is_file():
        return OnnxTalker(path, threads)
    _require_torch(path)
    return TorchTalker.load(path)


def _require(path: Path, architecture: str) -> None:
    found = read_header(path).architecture
    if found == WARP and architecture == TALKER:
        raise WeightsError(f"{path} is half of a talker: it needs the voice beside it", "give its folder")
    if found != architecture:
        raise WeightsError(
            f"{path} holds a {found}, not a {architecture}",
            f"give the weights of a {architecture}, or a folder of them",
        )


def _require_torch(path: Path) -> None:
    if find_spec("torch") is None:
        raise MissingExtraError(
            f"{path} has no graphs beside it, and PyTorch, which could run it alone, is not installed",
            "write them with speech2vid export, or install the extra: pip install 'speech2vid[train]'",
        )


def _name_of(weights: Path) -> str:
    """Of ``runs/paper/weights`` or ``runs/paper/talker/best.safetensors``: paper."""
    folder = weights.resolve().parent if weights.is_file() else weights.resolve()
    return next((part for part in reversed(folder.parts) if part not in ("weights", TALKER)), folder.name)
