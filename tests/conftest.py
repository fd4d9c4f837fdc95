"""Fixtures every kind of test may use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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


@pytest.fixture(scope="session")
def drawn_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights that need no training: the lower lip follows how loud the voice is, by geometry alone.

    The decoder's learned part is silenced, which leaves the flow that carries the still's lips to the wanted ones; the
    closed mouth is taken to be the still's own; the voice network adds up log-mel energies.
    """
    import torch
    from torch import Tensor, nn

    from speech2vid.audio.logmel import LogMelStream
    from speech2vid.constants import FACE_PX, MOUTH_COUNT, MOUTH_POINTS
    from speech2vid.models.checkpoint import save
    from speech2vid.models.config import NetworkConfig
    from speech2vid.models.export import export_graphs
    from speech2vid.models.network import Graph, Network
    from speech2vid.models.warp_talker import WarpTalker, WarpTalkerConfig

    bands = LogMelStream().flush().shape[1]

    @dataclass(frozen=True)
    class VoiceConfig(NetworkConfig):
        window_rows: int = 13

    class Voice(Network):
        architecture = "voice"
        Config = VoiceConfig

        def __init__(self, config: VoiceConfig | None = None) -> None:
            super().__init__(config or VoiceConfig())
            self.sum = nn.Conv1d(bands, 2 * MOUTH_COUNT, 13, 4)

        def graphs(self) -> tuple[Graph, ...]:
            free = {"logmel": {1: "rows"}, "deltas": {1: "frames"}}
            return (Graph("shapes", self.run, {"logmel": torch.zeros(1, 45, bands)}, free),)

        def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            moved = self.sum(inputs["logmel"].transpose(1, 2)).transpose(1, 2)
            return {"deltas": moved.unflatten(2, (MOUTH_COUNT, 2))}

    folder = tmp_path_factory.mktemp("drawn_weights")
    torch.manual_seed(0)
    talker = WarpTalker(WarpTalkerConfig(width=8)).eval()
    with torch.no_grad():
        talker.decoder.paint.bias.zero_()
        talker.decoder.paint.bias[-16:-12] = -10.0  # the residual's mask
        talker.rest.weight.zero_()
        for coordinate in range(2 * MOUTH_COUNT):
            talker.rest.weight[coordinate, 2 * MOUTH_POINTS.start + coordinate] = FACE_PX
    save(talker, folder / "warp_talker.safetensors")
    export_graphs(folder / "warp_talker.safetensors", WarpTalker)
    voice = Voice().eval()
    with torch.no_grad():
        voice.sum.weight.zero_()
        voice.sum.bias.zero_()
        for point in (5, 6, 7, 8, 9, 10, 11, 17, 18, 19):  # the lower lip: down 1 px a neper
            voice.sum.weight[2 * point + 1, :, 5:8] = 1.0 / (3 * bands)
            voice.sum.bias[2 * point + 1] = 3.0
    save(voice, folder / "voice.safetensors")
    export_graphs(folder / "voice.safetensors", Voice)
    return folder
