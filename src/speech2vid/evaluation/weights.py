"""Weights → the generator that they hold, and the sharpening network."""

from __future__ import annotations

from pathlib import Path

from speech2vid.errors import WeightsError
from speech2vid.evaluation.generation import Generator
from speech2vid.inference.options import AnyPath, Silence
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import load_talker
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.registry import ARCHITECTURES
from speech2vid.runtime.weights import DEFAULT, SHIPPED_SETS, weight_set


def load_generator(
    weights: AnyPath | None = None,
    *,
    generator: str = "",
    name: str | None = None,
    silence: Silence = "hold",
    device: str = "auto",
    threads: int = 0,
) -> Generator:
    """Return the talker of a set of weights, to be measured.

    Args:
        weights, generator, device, threads: as :func:`speech2vid.load_talker`.
        name: what the tables call it; that of the set, the training's folder or the generator by default.
        silence: policy for silence, ``hold`` or ``follow``, as in ``talk``.

    Raises:
        WeightsError: missing, damaged, or weights of which nothing generates faces.
        ConfigError: an unknown generator or device.
        MissingExtraError: a weight file without graphs needs the extra ``train``.
    """
    found = weight_set(weights)
    talker = load_talker(found, generator=generator, device=device, threads=threads)
    if talker.hashes:
        found.require_use(list(talker.hashes), "evaluate")
    return Generator(talker, silence, name or _name_of(weights, generator), generator)


def load_sharpener(weights: AnyPath, threads: int = 0, device: str = "auto") -> Sharpener:
    """Return the sharpening network of a set of weights.

    Raises:
        WeightsError: the set holds none of its own, or it is damaged.
    """
    found = weight_set(weights)
    if "sharpener" not in found.own:
        held = ", ".join(found.own) or "no weights"
        raise WeightsError(
            f"{found.name} holds {held}, not a sharpener", "give the weights of a sharpener, or a folder of them"
        )
    return Sharpener(found, graph_loader(device, threads))


def fingerprint_of(weights: AnyPath | None) -> str:
    """Return what tells these weights from others: the checksums of the files, in the order of their names."""
    return weight_set(weights).fingerprint()


def _name_of(weights: AnyPath | None, generator: str) -> str:
    """Return ``paper`` for ``runs/paper/weights`` and for ``runs/paper/paper_talker/best.safetensors``."""
    if weights is None or str(weights) in SHIPPED_SETS:
        return generator or str(weights or DEFAULT)
    path = Path(weights).resolve()
    folder = path.parent if path.is_file() else path
    return next((part for part in reversed(folder.parts) if part not in ("weights", *ARCHITECTURES)), folder.name)
