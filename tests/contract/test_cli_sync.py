"""``speech2vid sync``: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sync network that knows nothing."""
    from speech2vid.models.sync import SyncConfig, SyncNetwork
    from speech2vid.runtime.torch import save
    from speech2vid.training.export import export_graphs

    folder = tmp_path_factory.mktemp("untrained")
    torch.manual_seed(0)
    network = SyncNetwork(SyncConfig(width=8, audio_width=16, embedding=8)).eval()
    network.likelihoods.weights.fill_(1.0)
    save(network, folder / "sync.safetensors")
    export_graphs(folder / "sync.safetensors", SyncNetwork)
    return folder


@pytest.fixture(scope="module")
def clip(face_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=55)


def test_json_has_the_keys_others_rely_on(speech2vid, clip: Path, untrained: Path) -> None:
    result = speech2vid("sync", clip, "--weights", untrained, "--json")
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert record.keys() == {"offset_frames", "offset_s", "frame_rate_hz", "confidence", "sure", "curve", "windows"}
    assert record["frame_rate_hz"] == 25
    assert record["offset_frames"] == round(record["offset_s"] * 25)
    assert list(record["curve"]) == [str(offset) for offset in range(-15, 16)]
    top = max(record["curve"], key=record["curve"].__getitem__)
    assert abs(record["offset_s"] * 25 - int(top)) <= 1
    assert record["windows"][0].keys() == {"start_s", "offset_s", "confidence"}


def test_an_unsure_offset_is_said_and_not_fixed(speech2vid, clip: Path, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "fixed.mp4"
    result = speech2vid("sync", clip, "--weights", untrained, "--fix", out)
    assert result.returncode == 1
    assert "confidence" in result.stdout
    note, error, hint = result.stderr.splitlines()
    assert note.startswith("note: confidence")
    assert "fixed.mp4 was not written" in error
    assert hint.startswith("hint: ")
    assert not out.exists()


def test_no_face_and_no_audio_say_so(
    speech2vid, face_clip: Callable[..., Path], untrained: Path, tmp_path: Path
) -> None:
    nobody = face_clip(tmp_path / "nobody.mp4", frames=30, hidden=range(30))
    silent = face_clip(tmp_path / "silent.mp4", frames=30, audio=None)
    for path, reason in ((nobody, "no face in"), (silent, "no audio stream"), (tmp_path / "none.mp4", "not exist")):
        result = speech2vid("sync", path, "--weights", untrained)
        assert result.returncode == 1
        assert reason in result.stderr
        assert "Traceback" not in result.stderr


def test_missing_weights_say_so(speech2vid, clip: Path, tmp_path: Path) -> None:
    result = speech2vid("sync", clip, "--weights", tmp_path)
    assert result.returncode == 1
    assert "contains no weight file" in result.stderr
