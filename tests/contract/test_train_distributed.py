"""Training on several processes: the losses of one, no race between tasks, one checkpoint at a signal."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.runtime.weights import read_weights

pytestmark = pytest.mark.slow

CONFIG = """
[mouth_landmarks]
steps = 5
batch = 4
width = 4
validate_every = 3

[warp_talker]
steps = 5
batch = 4
frames = 2
validate_every = 3
[warp_talker.network]
width = 4

[audio_to_mouth]
steps = 5
batch = 4
frames = 16
phone_model = "none"
av_offsets = "none"
validate_every = 3
[audio_to_mouth.network]
width = 16
dropout = 0.0

[identity]
steps = 5
batch = 4
validate_every = 3
[identity.network]
size = "small"

[audio_encoder]
steps = 5
batch = 4
frames = 8
teacher = "keypoints"
validate_every = 3
[audio_encoder.network]
size = "small"

[paper_talker]
steps = 5
batch = 8
accumulate = 2
frames = 2
loss = "content"
identity_init = "identity"
audio_init = "audio_encoder"
validate_every = 3
[paper_talker.network]
size = "small"

[sharpener]
steps = 5
batch = 4
validate_every = 3
[sharpener.network]
layers = 3
channels = 8
"""
TASKS = ("mouth_landmarks", "warp_talker", "audio_to_mouth", "identity", "audio_encoder", "paper_talker", "sharpener")
RELATIVE, ABSOLUTE = 1e-4, 1e-5  # floats are added in another order; the adversarial term is a sum near 0
TERM = 1e-3  # of single terms: batch norm and the discriminator let the order of additions grow with every step


def start(store: Path, out: Path, processes: int, *words: object) -> list[subprocess.Popen[str]]:
    """Start the processes of a training as torchrun does, one thread each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        command = "from speech2vid.cli import main; main()"
        arguments = ["train", "talker", "--data", store, "--out", out, "--device", "cpu", *words]
        running.append(
            subprocess.Popen(
                [sys.executable, "-W", "error::FutureWarning", "-c", command, *map(str, arguments)],
                env={**os.environ, **{name: str(value) for name, value in place.items()}},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return running


def train(store: Path, out: Path, processes: int, *words: object) -> None:
    for each in start(store, out, processes, *words):
        _, errors = each.communicate(timeout=1200)
        assert each.returncode == 0, errors


@pytest.mark.promise
def test_two_processes_are_one(drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    store = drawn_store(tmp_path / "store")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    for count in (1, 2):
        train(store, tmp_path / str(count), count, "--config", config)
    for task in TASKS:
        files = [tmp_path / str(count) / task / "losses.tsv" for count in (1, 2)]
        one, two = (np.loadtxt(file, skiprows=1) for file in files)
        assert one.shape[0] == 5
        scores = [name == "adversarial" for name in files[0].read_text().split("\n", 1)[0].split("\t")]
        np.testing.assert_allclose(two[:, 1], one[:, 1], rtol=RELATIVE, atol=ABSOLUTE, err_msg=task)
        absolute = np.where(scores, TERM, ABSOLUTE)
        assert (np.abs(two - one) <= absolute + TERM * np.abs(one)).all(), (task, two - one)
        headers = [read_weights(tmp_path / str(count) / task / "best.safetensors") for count in (1, 2)]
        for name, tensor in headers[0][1].items():
            if name.endswith(("running_mean", "running_var")) and ".phones." not in name:  # of both halves together
                np.testing.assert_allclose(headers[1][1][name], tensor, rtol=0.1, atol=2e-2, err_msg=f"{task} {name}")
        assert len(list((tmp_path / "2" / task).glob("events.*"))) == 1, "only the first process writes"


def short(task: str, **settings: object) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{task}.{name}={value}")]


def test_four_processes_train_the_shipped_recipe_three_times(
    drawn_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The documented command, at toy length: no process may read the best weights before they are written."""
    if importlib.util.find_spec("torch.distributed.run") is None:
        pytest.skip("needs torchrun")
    store = drawn_store(tmp_path / "store")
    words = [
        *short("mouth_landmarks", steps=2, validate_every=1, batch=4, width=4),
        *short("warp_talker", steps=2, validate_every=1, frames=2),
        *short("warp_talker.network", width=4),
        *short("audio_to_mouth", steps=2, validate_every=1),
        *short("audio_to_mouth.network", width=16),
    ]
    for number in range(3):
        out = tmp_path / str(number)
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4", "--rdzv-backend", "c10d"]
        command += ["--rdzv-endpoint", "localhost:0", "--no-python", sys.executable, "-c"]
        command += [
            "from speech2vid.cli import main; main()",
            "train",
            "talker",
            "--data",
            str(store),
            "--out",
            str(out),
        ]
        result = subprocess.run(
            [*command, "--device", "cpu", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert "error:" not in result.stderr
        names = {path.name for path in (out / "weights").iterdir()}
        assert {"warp_talker.safetensors", "audio_to_mouth.safetensors"} <= names
        assert len([line for line in result.stdout.splitlines() if line.endswith(".safetensors")]) == 2


@pytest.mark.promise
def test_a_batch_that_cannot_be_divided_is_reported_before_the_first_task(
    drawn_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    store = drawn_store(tmp_path / "store")
    for each in start(store, tmp_path / "out", 2, "--config", "toy", "--set", "audio_to_mouth.batch=5"):
        _, errors = each.communicate(timeout=300)
        assert each.returncode == 1
        assert "audio_to_mouth.batch = 5 cannot be divided among 2 processes" in errors
        assert "--set audio_to_mouth.batch=6" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.promise
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_one_stopped_process_stops_all_at_the_same_step(drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    """SIGTERM to one process: all end, the checkpoint is of the last logged step, and the training can be resumed."""
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    words = ["--config", "toy", *short("mouth_landmarks", steps=100_000, validate_every=100_000, decay=0)]
    running = start(store, out, 2, *words)
    losses = out / "mouth_landmarks" / "losses.tsv"
    while not losses.is_file() and all(each.poll() is None for each in running):
        time.sleep(0.1)
    running[1].send_signal(signal.SIGTERM)
    for each in running:
        _, errors = each.communicate(timeout=300)
        assert each.returncode == 128 + signal.SIGTERM, errors
        assert "training of mouth_landmarks stopped at step" in errors
        assert "hint: resume with the same command and --resume" in errors
    header, _ = read_weights(out / "mouth_landmarks" / "checkpoint.safetensors")
    step = header.config["progress"]["step"]
    assert losses.read_text().splitlines()[-1].split("\t")[0] == str(step)
    resumed = [*words[:2], *short("mouth_landmarks", steps=step + 1, validate_every=100_000, decay=0), "--resume"]
    train(store, out, 2, *resumed)
    assert losses.read_text().splitlines()[-1].split("\t")[0] == str(step + 1)
