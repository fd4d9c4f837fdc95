"""Weight files, one safetensors file a network, and the sets that they come in. Never pickle.

A weight file is a standard safetensors file whose metadata says what the tensors are: format version, architecture,
config, training data, metrics, licence, and a SHA-256 over the tensors. Matrices may be stored as float16; computing is
float32. A :class:`WeightSet` is a folder of such files: one that is shipped, or the ``weights`` of a training.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from speech2vid.constants import PAPER_LANDMARKS
from speech2vid.errors import WeightsError
from speech2vid.files import atomic_write, package_weights

FORMAT_VERSION = 1
MAX_HEADER_BYTES = 16 << 20
# names in weight files of earlier versions → today's
ARCHITECTURES = {
    "shape_predictor": "audio_to_mouth",
    "shape_reader": "mouth_landmarks",
    "talker": "paper_talker",
    "redubber": "paper_redubber",
}
SETTINGS = {"sound_width": "audio_width"}
AGAIN = "install the package again, or fetch the file again"
DEFAULT, PAPER = "default", "paper"  # the shipped sets
SHIPPED_SETS = {DEFAULT: ".", PAPER: "paper"}  # name → folder within the package's folder of weights
SUFFIX = ".safetensors"

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class WeightsHeader:
    """What a weight file says of itself.

    Attributes:
        architecture: name of the network, ``talker``.
        config: settings the network is built from, JSON values.
        data: one line on what it was trained on.
        metrics: name → value, measured on the validation split.
        licence: licence of the weights, an SPDX name where there is one.
        sha256: over the stored tensors (names, types, shapes, bytes); filled in by :func:`write_weights`.
        format_version: of this file's layout.
        landmarker: name and version of the landmarker of the training data; dlib's where a file has no such entry, ""
            for a network that was trained without landmarks.
    """

    architecture: str
    config: Mapping[str, Any]
    data: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    sha256: str = ""
    format_version: int = FORMAT_VERSION
    landmarker: str = PAPER_LANDMARKS


class Span(NamedTuple):
    """Where a tensor's bytes lie: from ``offset`` of the whole file, ``length`` bytes, little-endian, row-major."""

    dtype: str  # safetensors' name: F16, F32, I64
    shape: tuple[int, ...]
    offset: int
    length: int


def digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256, hexadecimal, over all tensors in the order of their names."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        sha.update(f"{name}\0{array.dtype.str}\0{tensors[name].shape}\0".encode())
        sha.update(array.data)
    return sha.hexdigest()


def write_weights(path: Path, header: WeightsHeader, tensors: Mapping[str, NDArray[Any]]) -> WeightsHeader:
    """Write the file whole or not at all; returns the header with the digest it was given."""
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(
                f"{path}: {name} contains values that are not finite", "the training diverged, or float16 is too small"
            )
    header = replace(
        header,
        config=dict(header.config),
        metrics=dict(header.metrics),
        sha256=digest(arrays),
        format_version=FORMAT_VERSION,
    )
    metadata = {
        "format_version": str(header.format_version),
        "architecture": header.architecture,
        "config": json.dumps(header.config),
        "data": header.data,
        "metrics": json.dumps(header.metrics),
        "licence": header.licence,
        "landmarker": header.landmarker,
        "sha256": header.sha256,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, save(arrays, metadata))
    return header


def read_weights(path: Path, architecture: str | None = None) -> tuple[WeightsHeader, Tensors]:
    """Read and verify a weight file.

    Args:
        path: the file.
        architecture: refuse the file unless it is of this network.

    Returns:
        the header, and the tensors as stored (float16 where it was written so).

    Raises:
        WeightsError: missing, unreadable, truncated, altered, of a newer format, or of another architecture.
    """
    blob = _read(path)
    header = _parse_header(path, blob)
    if architecture is not None and header.architecture != architecture:
        raise WeightsError(
            f"{path} holds a {header.architecture}, not a {architecture}", f"give the weight file of a {architecture}"
        )
    try:
        tensors = load(blob)
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or truncated: {error}", AGAIN) from error
    if digest(tensors) != header.sha256:
        raise WeightsError(f"{path}: the tensors do not match the checksum in the header", AGAIN)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} contains values that are not finite", AGAIN)
    return header, tensors


def is_ours(path: Path) -> bool:
    """Whether a file has the header that this package writes; False for any other file, and where there is none."""
    try:
        read_header(path)
    except WeightsError:
        return False
    return True


def read_header(path: Path) -> WeightsHeader:
    """The header alone, without reading or verifying the tensors. Raises WeightsError as :func:`read_weights` does."""
    with _open(path) as file:
        size = file.read(8)
        return _parse_header(path, size + file.read(_header_length(path, size, path.stat().st_size)))


def tensor_spans(path: Path) -> dict[str, Span]:
    """Where each tensor lies in the file, by name: what an ONNX graph needs to point into it."""
    with _open(path) as file:
        size = file.read(8)
        length = _header_length(path, size, path.stat().st_size)
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    start = 8 + length
    return {
        name: Span(entry["dtype"], tuple(entry["shape"]), start + begin, end - begin)
        for name, entry in entries.items()
        for begin, end in [entry["data_offsets"]]
    }


def _open(path: Path) -> Any:
    if path.exists() and not path.is_file():
        raise WeightsError(
            f"{path} is not a file", "give a weight file, or a folder of weight files where the option takes one"
        )
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist", "check the path, or reinstall speech2vid") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}", "check the path and its permissions") from error


def _read(path: Path) -> bytes:
    with _open(path) as file:
        blob: bytes = file.read()
    return blob


def _header_length(path: Path, size: bytes, file_bytes: int) -> int:
    if len(size) == 8:
        (length,) = struct.unpack("<Q", size)
        if 2 <= length <= min(file_bytes - 8, MAX_HEADER_BYTES):
            return int(length)
    raise WeightsError(f"{path} is not a weight file, or it is truncated", AGAIN)


def _parse_header(path: Path, blob: bytes) -> WeightsHeader:
    length = _header_length(path, blob[:8], len(blob))
    try:
        metadata = json.loads(blob[8 : 8 + length])["__metadata__"]
        version = int(metadata["format_version"])
        if version > FORMAT_VERSION:
            raise WeightsError(f"{path} has weight format {version}, newer than {FORMAT_VERSION}", "update speech2vid")
        config, metrics = json.loads(metadata["config"]), json.loads(metadata["metrics"])
        if not isinstance(config, dict) or not isinstance(metrics, dict):
            raise TypeError("config and metrics are objects")
        return WeightsHeader(
            architecture=ARCHITECTURES.get(metadata["architecture"], metadata["architecture"]),
            config={SETTINGS.get(str(key), str(key)): value for key, value in config.items()},
            data=metadata["data"],
            metrics=metrics,
            licence=metadata["licence"],
            sha256=metadata["sha256"],
            format_version=version,
            landmarker=metadata.get("landmarker", PAPER_LANDMARKS),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path} has no speech2vid header", "use a weight file written by speech2vid") from error


@dataclass(frozen=True)
class WeightSet:
    """The networks of a folder of weight files, or of one file; what it lacks comes from the default set.

    Attributes:
        name: of a shipped set, or the path that was given.
        source: the folder, or the weight file.
    """

    name: str
    source: Path

    @property
    def is_default(self) -> bool:
        """Whether this is the default set."""
        return self.name == DEFAULT

    @cached_property
    def own(self) -> dict[str, Path]:
        """Return the set's own weight files by architecture.

        A file that bears the name of an architecture is taken for one of it, whatever it holds: if it is damaged, the
        user hears of it when it is loaded. Of other files the header decides.
        """
        if self.source.is_file():
            return {read_header(self.source).architecture: self.source}
        found: dict[str, Path] = {}
        for path in sorted(self.source.glob(f"*{SUFFIX}")):
            try:
                architecture = read_header(path).architecture
            except WeightsError:
                architecture = path.stem
            if architecture not in found or path.stem == architecture:
                found[architecture] = path
        return found

    def find(self, architecture: str) -> Path | None:
        """Return the weight file of a network: the set's own, else that of the default set, else None."""
        path = self.own.get(architecture) or self._by_stem(architecture)
        if path is None and not self.is_default:
            return weight_set().find(architecture)
        return path

    def path(self, architecture: str) -> Path:
        """Return the weight file of a network as :meth:`find`.

        Raises:
            WeightsError: neither this set nor the default one holds the network.
        """
        path = self.find(architecture)
        if path is not None:
            return path
        if self.is_default:
            raise WeightsError(f"{self.source / (architecture + SUFFIX)} does not exist", AGAIN)
        raise WeightsError(
            f"{self.name} holds no {architecture}, nor does the default set",
            f"give a folder with {architecture}{SUFFIX}, such as the weights of a training of it",
        )

    def origin(self, architecture: str) -> str:
        """Return the name of the set that a network comes from."""
        path = self.find(architecture)
        return self.name if path is not None and path.parent == self._folder else DEFAULT

    def borrowed(self, architectures: Collection[str]) -> list[str]:
        """Return which of these networks come from the default set although other weights are in use."""
        return [] if self.is_default else [each for each in architectures if self.origin(each) != self.name]

    def require_use(self, architectures: Collection[str], command: str) -> None:
        """Raise a WeightsError unless at least one of the networks that run is the set's own."""
        if self.is_default or any(self.origin(each) == self.name for each in architectures):
            return
        holds = f"{', '.join(self.own)}, which {command} does not use" if self.own else "no weight file"
        raise WeightsError(
            f"{self.name} contains {holds}",
            f"give weights that {command} uses, such as the folder weights/ of a training, or leave out --weights",
        )

    def fingerprint(self) -> str:
        """Return the beginnings of the checksums of the set's own files, in the order of their names."""
        paths = [self.source] if self.source.is_file() else sorted(self.source.glob(f"*{SUFFIX}"))
        return " ".join(read_header(path).sha256[:16] for path in paths)

    @property
    def _folder(self) -> Path:
        return self.source.parent if self.source.is_file() else self.source

    def _by_stem(self, architecture: str) -> Path | None:
        """Return a file that bears the name of an architecture but holds another network."""
        path = self.source / f"{architecture}{SUFFIX}"
        return path if path.is_file() else None


def weight_set(weights: str | PathLike[str] | WeightSet | None = None) -> WeightSet:
    """Return the set that ``--weights`` names.

    Args:
        weights: the name of a shipped set (``default``, ``paper``), a folder of weight files, or one file; None for the
            default set. ``./paper`` is a folder of that name.

    Raises:
        WeightsError: the set is not part of this installation, or the path does not exist.
    """
    if isinstance(weights, WeightSet):
        return weights
    name = DEFAULT if weights is None else str(weights)
    if name in SHIPPED_SETS:
        folder = shipped_weights(name)
        if name != DEFAULT and not any(folder.glob(f"*{SUFFIX}")):
            raise WeightsError(
                f"the weight set {name!r} is not part of this installation",
                "train these networks (docs/training.md) and give the folder, or leave out --weights",
            )
        return WeightSet(name, folder)
    path = Path(name)
    if not path.exists():
        raise WeightsError(
            f"{name} does not exist", f"give {' or '.join(SHIPPED_SETS)}, a folder of weight files, or a file"
        )
    return WeightSet(name, path)


def shipped_weights(name: str = DEFAULT) -> Path:
    """Return the folder of a shipped set; it need not exist."""
    return package_weights() / SHIPPED_SETS[name]


def installed_sets() -> list[WeightSet]:
    """Return the shipped sets that are part of this installation, the default one first."""
    folders = {name: shipped_weights(name) for name in SHIPPED_SETS}
    return [WeightSet(name, folder) for name, folder in folders.items() if any(folder.glob(f"*{SUFFIX}"))]
