"""The commands ``train`` and ``export``: help without torch, one-line errors, exit codes, signals, progress."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import start

WITHOUT = """
import importlib.abc, sys
class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {gone!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {gone!r} else find(name, package)
from speech2vid.cli import main
main()
"""


def run_without(gone: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(gone=gone), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["train", "export"])
def test_help_needs_no_torch(command: str) -> None:
    result = run_without(("torch", "onnx", "tensorboard"), command, "--help")
    assert result.returncode == 0, result.stderr
    assert "extra" in result.stdout
    assert "--out" in result.stdout


@pytest.mark.parametrize("arguments", [["train", "talker", "--data", "a", "--out", "b"], ["export", "--out", "b"]])
def test_without_the_extra_it_says_how_to_get_it(arguments: list[str]) -> None:
    result = run_without(("torch",), *arguments)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"error: {arguments[0]} needs torch",
        "hint: install the extra: pip install 'speech2vid[train]'",
    ]


def test_only_what_can_be_trained(speech2vid, tmp_path: Path) -> None:
    result = speech2vid("train", "everything", "--data", tmp_path, "--out", tmp_path)
    assert result.returncode == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--config", "papper"], "unknown config papper"),
        (["--config", "toy"], "not a complete sample store"),
        (["--config", "toy", "--resume"], "contains no training to resume"),
        (["--config", "toy", "--set", "warp_talker.stesp=2"], "has no setting 'stesp'"),
        (["--config", "toy", "--set", "sync.steps=2"], "the config does not train sync"),
    ],
)
def test_a_reason_in_one_line(speech2vid, tmp_path: Path, options: list[str], reason: str) -> None:
    result = speech2vid("train", "talker", "--data", tmp_path / "none", "--out", tmp_path / "out", *options)
    assert result.returncode == 1
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if "train → " not in line]  # progress of a slow machine
    assert reason in lines[0]
    assert lines[1].startswith("hint: ")
    assert len(lines) == 2


def test_export_copies_and_makes_graphs(speech2vid, drawn_talker: Path, tmp_path: Path) -> None:
    result = speech2vid("export", "--weights", drawn_talker, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    names = ["warp_talker.frames.onnx", "warp_talker.identity.onnx", "warp_talker.safetensors"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert sorted(Path(line).name for line in result.stdout.splitlines()) == names
    assert (tmp_path / "out" / names[2]).read_bytes() == drawn_talker.read_bytes()


def test_export_of_what_it_cannot(speech2vid, tmp_path: Path, checkpoint_file: Path) -> None:
    result = speech2vid("export", "--weights", tmp_path, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert "no weight file" in result.stderr
    result = speech2vid("export", "--weights", checkpoint_file, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert "holds a sandwich, which has no graphs" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def drawn_talker(tmp_path: Path) -> Path:
    from speech2vid.models.warp_talker import WarpTalker, WarpTalkerConfig
    from speech2vid.runtime.torch import save

    path = tmp_path / "in" / "warp_talker.safetensors"
    save(WarpTalker(WarpTalkerConfig(width=4)).eval(), path)
    return path


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Path:
    import numpy as np

    from speech2vid.runtime.weights import WeightsHeader, write_weights

    path = tmp_path / "in" / "other.safetensors"
    write_weights(path, WeightsHeader("sandwich", {}), {"bread": np.zeros(2, np.float32)})
    return path


@pytest.mark.slow
@pytest.mark.promise
def test_stopped_and_carried_on(speech2vid, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    """All of it at toy size: a store becomes weights that talk; a training is not overwritten; one stopped goes on."""
    from speech2vid.inference.talkers.base import load_talker

    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    arguments = ("train", "talker", "--data", store, "--out", out, "--config", "toy", "--device", "cpu")
    result = speech2vid(*arguments, timeout_s=300)
    assert result.returncode == 0, result.stderr
    generated = {Path(line).name for line in result.stdout.splitlines()}
    exported = {"warp_talker.safetensors", "warp_talker.frames.onnx"}
    exported |= {"audio_to_mouth.safetensors", "audio_to_mouth.mouth_motion.onnx"}
    assert exported <= generated
    networks = load_talker(out / "weights", device="cpu")
    assert networks.audio_to_mouth.header.data.startswith("6 tracks of 3 speakers")
    assert "opening_correlation" in networks.audio_to_mouth.header.metrics

    again = speech2vid(*arguments)
    assert again.returncode == 1
    assert "holds a training already" in again.stderr

    (out / "audio_to_mouth" / "checkpoint.safetensors").unlink()  # as if it had been stopped before the last stage
    before = (out / "warp_talker" / "losses.tsv").read_bytes()
    resumed = speech2vid(*arguments, "--resume", timeout_s=300)
    assert resumed.returncode == 0, resumed.stderr
    assert (out / "warp_talker" / "losses.tsv").read_bytes() == before
    assert (out / "audio_to_mouth" / "checkpoint.safetensors").is_file()


@pytest.mark.slow
def test_the_papers_own_network_trains(speech2vid, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(
        '[paper_talker]\nsteps = 2\nbatch = 2\nframes = 2\n[paper_talker.network]\nsize = "compact"\nskips = "none"\n'
    )
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    result = speech2vid(
        "train", "talker", "--data", store, "--out", out, "--config", config, "--device", "cpu", timeout_s=300
    )
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (out / "weights").iterdir()}
    assert names == {"paper_talker.safetensors", "paper_talker.identity.onnx", "paper_talker.frames.onnx"}


@pytest.mark.slow
@pytest.mark.promise
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint(number: int, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    words = ["train", "talker", "--data", store, "--out", out, "--config", "toy", "--device", "cpu"]
    words += ["--set", "mouth_landmarks.steps=100000", "--set", "mouth_landmarks.validate_every=100000"]
    code = "import speech2vid.cli.output as output; output.LOG_EVERY_S = 0.2\nfrom speech2vid.cli import main; main()"
    losses = out / "mouth_landmarks" / "losses.tsv"
    with start(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:  # progress of a run without a terminal
            lines.append(line)
            if " steps, about " in line:
                process.send_signal(number)
                break
        _, errors = process.communicate(timeout=120)
    assert any("train → " in line and ": mouth_landmarks: " in line and " of 100,000 steps" in line for line in lines)
    assert process.returncode == 128 + number, errors
    assert "error: training of mouth_landmarks stopped at step" in errors
    assert "hint: resume with the same command and --resume" in errors
    assert (out / "mouth_landmarks" / "checkpoint.safetensors").is_file()
    assert losses.is_file()


@pytest.mark.slow
def test_overrides_reach_the_training(speech2vid, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    words = ["train", "sharpener", "--data", store, "--out", out, "--device", "cpu", "--set", "sharpener.steps=3"]
    words += ["--set", "sharpener.network.channels=8", "--set", "sharpener.network.layers=3"]
    result = speech2vid(*words, timeout_s=300)
    assert result.returncode == 0, result.stderr
    assert len((out / "sharpener" / "losses.tsv").read_text().splitlines()) == 1 + 3
