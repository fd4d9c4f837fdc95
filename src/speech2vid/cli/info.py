"""``speech2vid info``: versions, devices, weights with hashes, licences."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import typer

from speech2vid import __version__
from speech2vid.cli.licences import LICENCES
from speech2vid.cli.output import JsonFlag, print_json, print_table

PACKAGES = ("numpy", "onnxruntime", "av", "opencv-python-headless", "dlib-bin", "safetensors", "pillow", "torch")
NOT_INSTALLED = "not installed"


def info(as_json: JsonFlag = False) -> None:
    """Show versions, devices, weights with their hashes, and licences."""
    record = collect()
    if as_json:
        print_json(record)
        return
    machine = f"{record['platform']}, {record['cpu_cores']} cores"
    typer.echo(f"speech2vid {record['version']} on Python {record['python']}, {machine}")
    print_table("Packages", ("name", "version"), list(record["packages"].items()))
    print_table("Devices", ("engine", "runs on"), [(name, ", ".join(on)) for name, on in record["devices"].items()])
    weights = [(w["file"], f"{w['bytes'] / 1e6:.2f}", w["sha256"]) for w in record["weights"]]
    print_table("Weights", ("file", "MB", "sha256"), weights)
    licences = [(entry["part"], entry["terms"], entry["note"]) for entry in record["licences"]]
    print_table("Licences", ("part", "terms", "note"), licences)


def collect() -> dict[str, Any]:
    """Return everything that ``info`` shows, as JSON values."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu_cores": os.cpu_count(),
        "devices": _devices(),
        "weights": [describe_weights(path) for path in weight_files()],
        "licences": [entry._asdict() for entry in LICENCES],
    }


def weight_files() -> list[Path]:
    """Return the bundled weight files, sorted by name."""
    folder = Path(str(resources.files("speech2vid") / "weights"))
    return sorted(path for path in folder.glob("*") if path.suffix in {".safetensors", ".onnx"})


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
