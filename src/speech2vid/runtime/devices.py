"""The devices that networks run on, by the same names for ONNX Runtime, PyTorch and training."""

from __future__ import annotations

from collections.abc import Mapping

from speech2vid.errors import ConfigError
from speech2vid.runtime.onnx import onnx_runtime

AUTO, CPU = "auto", "cpu"
PROVIDERS = {"cuda": "CUDAExecutionProvider", CPU: "CPUExecutionProvider"}


def choose_device(requested: str, available: Mapping[str, bool], *, instead: str, unknown: str = "") -> str:
    """Return the device to use.

    Args:
        requested: ``auto``, or the name of a device, which may carry a number as in ``cuda:1``.
        available: device → whether this machine has it, best first; the processor comes last.
        instead: what would make the device available, for the hint.
        unknown: hint for a name that is not in ``available``; the list of the choices by default.

    Raises:
        ConfigError: an unknown device, or one that this machine lacks.
    """
    if requested == AUTO:
        return next(kind for kind, found in available.items() if found)
    kind = requested.partition(":")[0]
    if kind not in available:
        raise ConfigError(f"there is no device {requested!r}", unknown or f"choose from: auto, {', '.join(available)}")
    if not available[kind]:
        raise ConfigError(f"device {requested} is not available here", f"choose the device cpu, or {instead}")
    return requested


def onnx_providers(device: str = AUTO) -> list[str]:
    """Return ONNX Runtime's execution providers for a device, first choice first; the processor is always among them.

    Raises:
        ConfigError: as :func:`choose_device`.
    """
    installed = onnx_runtime().get_available_providers()
    chosen = choose_device(
        device,
        {name: provider in installed for name, provider in PROVIDERS.items()},
        instead="install onnxruntime-gpu",
        unknown="ONNX Runtime has no MPS: add --engine torch" if device == "mps" else "",
    )
    return list(dict.fromkeys((PROVIDERS[chosen.partition(":")[0]], PROVIDERS[CPU])))
