"""The training loop, on a network so small that hundreds of steps take no time."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from processes import default_sigint
from speech2vid.errors import ConfigError, OutputError, TrainingError, TrainingStopped, WeightsError
from speech2vid.runtime.weights import read_weights
from speech2vid.training import checkpoint as state_module
from speech2vid.training.dataset import TrackSet
from speech2vid.training.distributed import Distributed, start_distributed
from speech2vid.training.ema import averaged
from speech2vid.training.logger import IMAGES, LOG, LOSSES
from speech2vid.training.loop import BEST, CHECKPOINT, train_task
from speech2vid.training.task import Batch, Item, Task, TaskConfig, Validation


@dataclass(frozen=True)
class LineConfig(TaskConfig):
    steps: int = 12
    batch: int = 8
    warmup: int = 0
    validate_every: int = 4
    width: int = 6


class Line(Task):
    """Learns y = 3 x₀ − x₁, with batch norm and dropout on the way."""

    name = "line"
    architecture = "line"
    samples = 40

    Config = LineConfig

    def __init__(self, config: LineConfig, dropout: float = 0.2, norm: bool = True) -> None:
        torch.manual_seed(config.seed)
        self.config, self.train = config, TrackSet([])
        middle = nn.BatchNorm1d(config.width) if norm else nn.Identity()
        self.network = nn.Sequential(
            nn.Linear(2, config.width), middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(config.width, 1)
        )
        self.weights = {"error": 1.0, "size": 0.01, "unused": 0.0}
        self.costs: list[float] | None = None
        self.validations = 0

    def draw(self, rng: np.random.Generator) -> Item:
        x = rng.standard_normal(2).astype(np.float32)
        return {"x": x, "y": np.float32([3 * x[0] - x[1]])}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        y = network(batch["x"])
        return {"error": (y - batch["y"]).abs().mean(), "size": y.square().mean(), "unused": y.sum() / 0}

    def validate(self, network: nn.Module) -> Validation:
        assert not network.training
        x = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
        cost = float((network(x) - torch.tensor([[1.0], [-1.0]])).abs().mean())
        if self.costs is not None:
            cost = self.costs[self.validations]
        self.validations += 1
        sheet = np.zeros((4, 4, 3), np.uint8)
        return Validation(
            {"anna": {"cost": cost, "other": 1.0}, "ben": {"cost": cost, "other": 3.0}},
            "cost",
            sheet=sheet,
            video=np.stack([sheet, sheet + 255]),
        )

    def network_config(self) -> dict[str, Any]:
        return {"width": self.network[0].out_features}


class Adversarial(Line):
    """The same with a discriminator of y, and a first layer with a higher learning rate."""

    def __init__(self, config: LineConfig) -> None:
        super().__init__(config)
        self.discriminator = nn.utils.parametrizations.spectral_norm(nn.Linear(1, 3))
        self.weights |= {"discriminator": 1.0, "adversarial": 0.1}
        self.lr_multipliers = {"0.": 3.0}

    def weights_at(self, step: int) -> dict[str, float]:
        return {**self.weights, "adversarial": 0.1 * min(1.0, step / 5)}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert self.discriminator is not None
        generated = network(batch["x"])
        self.discriminator.requires_grad_(False)
        adversarial = -self.discriminator(generated).mean()
        self.discriminator.requires_grad_(True)
        own = (
            self.discriminator(generated.detach()).square().mean()
            + (1 - self.discriminator(batch["y"])).square().mean()
        )
        return {**super().terms(network, batch), "discriminator": own, "adversarial": adversarial}


@pytest.fixture
def dist() -> Distributed:
    return Distributed(0, 1, torch.device("cpu"))


def losses(folder: Path) -> list[str]:
    return (folder / LOSSES).read_text().splitlines()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT is handled, also where the test run ignores it."""
    with default_sigint():
        yield


def stop_after(step: int) -> Callable[[str, int, int], None]:
    def on_step(task: str, done: int, steps: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [7, 8, 12])
def test_a_signal_saves_a_checkpoint_that_continues_bit_for_bit(
    number: int, step: int, dist: Distributed, tmp_path: Path
) -> None:
    """Between validations, at one, and at the last step."""

    def at_step(task: str, done: int, steps: int) -> None:
        if done == step - 1:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    train_task(Line(LineConfig()), tmp_path / "whole", dist)
    with pytest.raises(TrainingStopped, match=f"line stopped at step {step} of 12.*--resume") as stopped:
        train_task(Line(LineConfig()), tmp_path / "broken", dist, on_step=at_step)
    assert stopped.value.signal == number
    assert signal.getsignal(number) is before
    assert read_weights(tmp_path / "broken" / CHECKPOINT)[0].config["progress"]["step"] == step
    train_task(Line(LineConfig()), tmp_path / "broken", dist, resume=True)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    for name in (CHECKPOINT, BEST):
        ours, theirs = read_weights(tmp_path / "broken" / name), read_weights(tmp_path / "whole" / name)
        assert ours[0].sha256 == theirs[0].sha256, name


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_stops_at_once(dist: Distributed, tmp_path: Path) -> None:
    class Slow(Line):
        def validate(self, network: nn.Module) -> Validation:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("still running")

    with pytest.raises(KeyboardInterrupt):
        train_task(Slow(LineConfig()), tmp_path, dist)


def test_an_ignored_ctrl_c_stays_ignored(dist: Distributed, tmp_path: Path) -> None:
    """As in a background job of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train_task(Line(LineConfig()), tmp_path, dist, on_step=lambda *each: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(losses(tmp_path)) == 1 + 12


def test_ema_follows_the_network_and_grows_longer(dist: Distributed, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    mean = averaged(network, 0.9)
    expected = None
    for update in range(400):
        with torch.no_grad():
            network[0].weight.fill_(float(update))
            network[1].num_batches_tracked.fill_(update)
        mean.update_parameters(network)
        keep = min(0.9, update / (update + 20))
        expected = float(update) if expected is None else keep * expected + (1 - keep) * update
    assert mean.module[0].weight.item() == pytest.approx(expected, rel=1e-4)
    assert mean.module[1].num_batches_tracked.item() == 399
    assert not mean.training
    assert not mean.module.training


@pytest.mark.parametrize("kind", [Line, Adversarial])
@pytest.mark.parametrize("settings", [{}, {"optimiser": "sgd", "learning_rate": 0.01, "ema": 0.0, "accumulate": 2}])
def test_a_resumed_training_repeats_an_unbroken_one(
    kind: type[Line], settings: dict[str, Any], dist: Distributed, tmp_path: Path
) -> None:
    config = LineConfig(**settings)
    train_task(kind(config), tmp_path / "whole", dist)
    with pytest.raises(KeyboardInterrupt):
        train_task(kind(config), tmp_path / "broken", dist, on_step=stop_after(7))
    torch.manual_seed(99)
    train_task(kind(config), tmp_path / "broken", dist, resume=True)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 1 + config.steps
    for name in (CHECKPOINT, BEST):
        ours, theirs = read_weights(tmp_path / "broken" / name), read_weights(tmp_path / "whole" / name)
        assert ours[0].sha256 == theirs[0].sha256, name


def test_the_discriminator_is_trained_and_kept_in_the_checkpoint_only(dist: Distributed, tmp_path: Path) -> None:
    task = Adversarial(LineConfig(steps=8))
    assert task.discriminator is not None
    before = {name: tensor.detach().clone() for name, tensor in task.discriminator.named_parameters()}
    best = train_task(task, tmp_path, dist)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in task.discriminator.named_parameters())
    _, kept = read_weights(tmp_path / CHECKPOINT)
    for name, tensor in task.discriminator.state_dict().items():
        np.testing.assert_array_equal(kept[f"discriminator.{name}"], tensor.numpy())
    assert "optimiser.exp_avg.discriminator.bias" in kept
    assert set(read_weights(best)[1]) == set(task.network.state_dict())
    train_task(Line(LineConfig()), tmp_path / "line", dist)
    with pytest.raises(WeightsError, match="does not fit the discriminator"):
        train_task(Adversarial(LineConfig(steps=16)), tmp_path / "line", dist, resume=True)


def test_lr_multipliers_and_the_fixed_rate_of_the_discriminator(dist: Distributed, tmp_path: Path) -> None:
    """AdamW's first update of any weight that has a gradient is as large as its learning rate."""
    task = Adversarial(LineConfig(steps=1, warmup=2, weight_decay=0.0, learning_rate=0.01, decay=0.0))
    assert task.discriminator is not None
    watched = {"0.weight": 0.015, "4.bias": 0.005, "discriminator": 0.01}

    def values() -> dict[str, Tensor]:
        assert task.discriminator is not None
        own = dict(task.network.named_parameters())
        return {"0.weight": own["0.weight"], "4.bias": own["4.bias"], "discriminator": task.discriminator.bias}

    before = {name: tensor.detach().clone() for name, tensor in values().items()}
    train_task(task, tmp_path, dist)
    for name, tensor in values().items():
        assert (tensor - before[name]).abs().max().item() == pytest.approx(watched[name], rel=1e-3), name


def test_loss_weights_may_grow(dist: Distributed, tmp_path: Path) -> None:
    train_task(Adversarial(LineConfig()), tmp_path, dist)
    rows = [dict(zip(losses(tmp_path)[0].split("\t"), row.split("\t"), strict=True)) for row in losses(tmp_path)[1:]]
    for step, adversarial in ((0, 0.0), (1, 0.02), (9, 0.1)):
        row = {name: float(value) for name, value in rows[step].items()}
        loss = row["error"] + 0.01 * row["size"] + row["discriminator"] + adversarial * row["adversarial"]
        assert row["loss"] == pytest.approx(loss, rel=1e-5)


def test_another_seed_is_another_training(dist: Distributed, tmp_path: Path) -> None:
    for seed in (0, 1):
        train_task(Line(LineConfig(seed=seed)), tmp_path / str(seed), dist)
    assert losses(tmp_path / "0")[1] != losses(tmp_path / "1")[1]


def test_losses_fall_and_are_logged(dist: Distributed, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    config = LineConfig(steps=300, learning_rate=0.03, validate_every=100, ema=0.9)
    best = train_task(Line(config, dropout=0.0), tmp_path, dist, on_step=lambda *each: steps.append(each))
    header, _ = read_weights(best, "line")
    assert header.metrics["cost"] < 0.2
    assert header.metrics["other"] == 2.0
    assert header.config == {"width": 6}
    assert steps[-1] == ("line", 300, 300)
    assert len(steps) == 300
    log = (tmp_path / LOG).read_text()
    assert "waiting for data" in log
    assert "ben: cost" in log
    assert sorted(path.name for path in (tmp_path / IMAGES).iterdir())[-2:] == [
        "step-0000300.gif",
        "step-0000300.png",
    ]
    with PillowImage.open(tmp_path / IMAGES / "step-0000300.gif") as video:
        assert (video.n_frames, video.info["duration"]) == (2, 40)
    (events,) = tmp_path.glob("events.out.tfevents.*")
    board = EventAccumulator(str(events)).Reload()
    tags = board.Tags()
    assert set(tags["images"]) == {"val", "val_video"}
    assert {"train/error", "train/learning_rate", "speed/waiting_for_data", "val/cost"} <= set(tags["scalars"])
    assert [event.step for event in board.Images("val_video")] == [100, 200, 300]
    rows = [row.split("\t") for row in losses(tmp_path)]
    assert rows[0] == ["step", "loss", "error", "size"]
    assert float(rows[1][1]) == pytest.approx(float(rows[1][2]) + 0.01 * float(rows[1][3]))


def test_accumulated_parts_give_the_gradient_of_the_whole_batch(dist: Distributed, tmp_path: Path) -> None:
    for parts in (1, 4):
        train_task(Line(LineConfig(accumulate=parts), dropout=0.0, norm=False), tmp_path / str(parts), dist)
    one, four = ([float(row.split("\t")[1]) for row in losses(tmp_path / str(parts))[1:]] for parts in (1, 4))
    assert one == pytest.approx(four, rel=1e-4)


def test_the_best_weights_are_kept_and_patience_ends(dist: Distributed, tmp_path: Path) -> None:
    task = Line(LineConfig(steps=100, patience=2))
    task.costs = [3.0, 1.0, 2.0, 1.5, 0.1]
    best = train_task(task, tmp_path, dist)
    assert read_weights(best)[0].metrics["cost"] == 1.0
    progress = read_weights(tmp_path / CHECKPOINT)[0].config["progress"]
    assert (progress["step"], progress["stale"]) == (16, 2)
    again = Line(LineConfig(steps=100, patience=2))
    train_task(again, tmp_path, dist, resume=True)
    assert again.validations == 0


def test_steps_follow_from_epochs(dist: Distributed, tmp_path: Path) -> None:
    train_task(Line(LineConfig(steps=0, epochs=2.0, validate_every=0)), tmp_path, dist)  # 40 samples in batches of 8
    assert len(losses(tmp_path)) == 1 + 10
    assert [path.name for path in sorted((tmp_path / IMAGES).glob("*.png"))] == [
        "step-0000005.png",
        "step-0000010.png",
    ]


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_checkpoint(
    dist: Distributed, tmp_path: Path
) -> None:
    class Bursts(Line):
        def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
            terms = super().terms(network, batch)
            return {**terms, "size": terms["size"] * (float("nan") if self.validations else 1.0)}

    with pytest.raises(TrainingError, match=r"loss of task line is nan at step 5 \(term size\).*--resume"):
        train_task(Bursts(LineConfig()), tmp_path, dist)
    assert read_weights(tmp_path / CHECKPOINT)[0].config["progress"]["step"] == 4
    train_task(Line(LineConfig()), tmp_path, dist, resume=True)
    assert len(losses(tmp_path)) == 1 + 12


def test_a_validation_that_is_not_finite_ends_the_training(dist: Distributed, tmp_path: Path) -> None:
    task = Line(LineConfig())
    task.costs = [1.0, float("nan")]
    with pytest.raises(TrainingError, match="validation of task line gave nan at step 8"):
        train_task(task, tmp_path, dist)
    assert read_weights(tmp_path / CHECKPOINT)[0].config["progress"]["step"] == 4


def test_a_full_disk_is_reported_and_keeps_the_checkpoint(
    dist: Distributed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = state_module.write_weights

    def full(path: Path, *rest: Any) -> Any:
        if path.name == CHECKPOINT and path.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *rest)

    monkeypatch.setattr(state_module, "write_weights", full)
    with pytest.raises(OutputError, match=r"checkpoint.safetensors cannot be written: No space left.*--resume"):
        train_task(Line(LineConfig()), tmp_path, dist)
    assert read_weights(tmp_path / CHECKPOINT)[0].config["progress"]["step"] == 4


def test_a_folder_that_cannot_be_created_is_reported(dist: Distributed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        train_task(Line(LineConfig()), tmp_path / "file" / "line", dist)


def test_another_network_cannot_be_resumed(dist: Distributed, tmp_path: Path) -> None:
    train_task(Line(LineConfig()), tmp_path, dist)
    with pytest.raises(ConfigError, match="width = 6, the config says 7"):
        train_task(Line(LineConfig(width=7)), tmp_path, dist, resume=True)
    other = Line(LineConfig())
    other.name = "curve"  # type: ignore[misc]
    with pytest.raises(WeightsError, match="checkpoint of line, not a checkpoint of curve"):
        train_task(other, tmp_path, dist, resume=True)


def test_other_settings_may_change_and_the_log_says_so(dist: Distributed, tmp_path: Path) -> None:
    train_task(Line(LineConfig()), tmp_path, dist)
    train_task(Line(LineConfig(steps=16, learning_rate=1e-4)), tmp_path, dist, resume=True)
    assert "learning_rate is now 0.0001; it was 0.001" in (tmp_path / LOG).read_text()
    assert len(losses(tmp_path)) == 1 + 16


@pytest.mark.filterwarnings("ignore:.*no-op")
@pytest.mark.parametrize(
    "device",
    ["meta", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here"))],
)
def test_a_checkpoint_loads_on_another_device(device: str, dist: Distributed, tmp_path: Path) -> None:
    """Weights and what the optimiser remembers of each go where the network is; its step count stays on the CPU.

    ``meta`` has no values, but is another device everywhere; where there is CUDA, the next loss is the CPU's.
    """
    train_task(Line(LineConfig(steps=4)), tmp_path, dist)

    def carried_on(on: str) -> tuple[nn.Module, torch.optim.Optimizer]:
        task = Line(LineConfig(steps=4), dropout=0.0)
        task.network.to(on)
        optimiser = torch.optim.AdamW(task.network.parameters())
        mean = averaged(task.network, 0.9)
        state = state_module.State("line", task.config, {"network": task.network}, mean, optimiser)
        state.load(tmp_path / CHECKPOINT)
        assert state.progress.step == 4
        return task.network, optimiser

    network, optimiser = carried_on(device)
    assert len(optimiser.state) == len(list(network.parameters()))
    for parameter, remembered in optimiser.state.items():
        assert parameter.device.type == device
        assert remembered["exp_avg"].device.type == remembered["exp_avg_sq"].device.type == device
        assert remembered["step"].device.type == "cpu"
    if device != "meta":
        x = torch.rand(8, 2)
        there, here_network = network.eval()(x.to(device)).cpu(), carried_on("cpu")[0].eval()(x)
        torch.testing.assert_close(there, here_network, rtol=1e-3, atol=1e-4)


def test_a_truncated_checkpoint_is_named(dist: Distributed, tmp_path: Path) -> None:
    train_task(Line(LineConfig()), tmp_path, dist)
    blob = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(blob[:-20])
    with pytest.raises(WeightsError, match=CHECKPOINT):
        train_task(Line(LineConfig()), tmp_path, dist, resume=True)


def test_weights_to_start_from(dist: Distributed, tmp_path: Path) -> None:
    best = train_task(Line(LineConfig()), tmp_path / "first", dist)
    task = Line(LineConfig(steps=1, learning_rate=0.0, seed=5, start=str(best)), dropout=0.0)
    train_task(task, tmp_path / "second", dist)
    _, before = read_weights(best)
    _, after = read_weights(tmp_path / "second" / BEST)
    np.testing.assert_array_equal(before["4.weight"], after["4.weight"])
    task.architecture = "curve"  # type: ignore[misc]
    with pytest.raises(WeightsError, match="holds a line, not a curve"):
        train_task(task, tmp_path / "third", dist)


def test_half_as_precise_multiplications_leave_the_weights_precise(dist: Distributed, tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Watched(Line):
        def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
            seen.append(network[0](batch["x"]).dtype)
            return super().terms(network, batch)

    for precision in ("float32", "bfloat16"):
        train_task(Watched(LineConfig(precision=precision), dropout=0.0), tmp_path / precision, dist)
    assert seen == [torch.float32] * 12 + [torch.bfloat16] * 12
    weights = read_weights(tmp_path / "bfloat16" / BEST)[1]
    assert all(array.dtype != np.float16 for array in weights.values())
    exact, rough = (
        np.loadtxt(tmp_path / precision / LOSSES, skiprows=1)[:, 1] for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(rough, exact, rtol=0.05)
    assert not np.array_equal(rough, exact)


def test_a_batch_must_have_equal_shares() -> None:
    two = Distributed(1, 2, torch.device("cpu"))
    assert two.share(6) == slice(3, 6)
    with pytest.raises(ConfigError, match="divided among 2"):
        two.share(5)


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="choose from: auto, cuda, cpu"), start_distributed("gpu"):
        pass
