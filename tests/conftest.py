"""Fixtures every kind of test may use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(str(resources.files("speech2vid") / "assets"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def photo() -> Path:
    """A photo with one frontal face, free to use."""
    return ASSETS / "astronaut.jpg"


@pytest.fixture(scope="session")
def speech() -> Path:
    """A few seconds of synthetic speech."""
    return ASSETS / "demo_speech.wav"


@pytest.fixture(scope="session")
def speech2vid() -> Run:
    """Run the program in a process of its own, as a person would: ``speech2vid("talk", "--face", …)``."""

    def run(*arguments: str | Path, timeout_s: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from speech2vid.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, **options)  # type: ignore[call-overload]

    return run
