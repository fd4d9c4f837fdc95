"""``speech2vid info``: versions, devices, weights with hashes, licences."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from speech2vid import __version__
from speech2vid.cli.licences import LICENCES
from speech2vid.cli.output import JsonFlag, print_json, print_table
from speech2vid.cli.talk import Weights

PACKAGES = ("numpy", "onnxruntime", "av", "opencv-python-headless", "dlib-bin", "safetensors", "pillow", "torch")
NOT_INSTALLED = "not installed"


def info(weights: Weights = None, as_json: JsonFlag = False) -> None:
    """Show versions, devices, weights with their hashes, and licences.

    With --weights it also lists which networks come from these weights and which from the default set.
    """
    record = collect(weights)
    if as_json:
        print_json(record)
        return
    machine = f"{record['platform']}, {record['cpu_cores']} cores"
    typer.echo(f"speech2vid {record['version']} on Python {record['python']}, {machine}")
    print_table("Packages", ("name", "version"), list(record["packages"].items()))
    print_table("Devices", ("engine", "runs on"), [(name, ", ".join(on)) for name, on in record["devices"].items()])
    files = [(w["set"], w["file"], f"{w['bytes'] / 1e6:.2f}", w["sha256"]) for w in record["weights"]]
    print_table("Weights", ("set", "file", "MB", "sha256"), files)
    if record["networks"]:
        used = [(network["architecture"], network["set"], network["file"]) for network in record["networks"]]
        print_table(f"Networks with --weights {weights}", ("network", "set", "file"), used)
    licences = [(entry["part"], entry["terms"], entry["note"]) for entry in record["licences"]]
    print_table("Licences", ("part", "terms", "note"), licences)


def collect(weights: str | None = None) -> dict[str, Any]:
    """Return everything that ``info`` shows, as plain values."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu_cores": os.cpu_count(),
        "devices": _devices(),
        "weights": [{"set": name, **describe_weights(path)} for name, path in weight_files()],
        "networks": [] if weights is None else networks_of(weights),
        "licences": [entry._asdict() for entry in LICENCES],
    }


def weight_files() -> list[tuple[str, Path]]:
    """Return the bundled weight files: name of the set and file, sorted by name."""
    from speech2vid.runtime.weights import installed_sets

    suffixes = {".safetensors", ".onnx"}
    return [
        (each.name, path)
        for each in installed_sets()
        for path in sorted(each.source.iterdir())
        if path.suffix in suffixes
    ]


def networks_of(weights: str) -> list[dict[str, str]]:
    """Return which file each network comes from with these weights: their own, or that of the default set."""
    from speech2vid.runtime.registry import ARCHITECTURES
    from speech2vid.runtime.weights import weight_set

    found = weight_set(weights)
    files = {name: found.find(name) for name in ARCHITECTURES}
    return [
        {"architecture": name, "set": found.origin(name), "file": str(path)}
        for name, path in files.items()
        if path is not None
    ]


def describe_weights(path: Path) -> dict[str, Any]:
    """Return the name, size and SHA-256 of a weight file, and the content of its header."""
    record = {"file": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    if path.suffix != ".safetensors":
        return record
    from speech2vid.runtime.weights import read_header

    header = read_header(path)
    return {
        **record,
        "architecture": header.architecture,
        "config": header.config,
        "data": header.data,
        "metrics": header.metrics,
        "licence": header.licence,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _devices() -> dict[str, list[str]]:
    from speech2vid.runtime.onnx import onnx_runtime

    local = [name for name in onnx_runtime().get_available_providers() if name != "AzureExecutionProvider"]
    return {"onnx": [name.removesuffix("ExecutionProvider") for name in local]}
