"""The training loop: every task, on one process or many, is trained here."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from speech2vid.errors import ConfigError, TrainingError, TrainingStopped
from speech2vid.losses import total
from speech2vid.training.checkpoint import Progress, State, write
from speech2vid.training.dataloader import BatchLoader
from speech2vid.training.distributed import Distributed
from speech2vid.training.ema import averaged
from speech2vid.training.logger import TrainingLogger
from speech2vid.training.task import Batch, Task, TaskConfig

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
LOG_EVERY = 20  # steps
MOMENTUM = 0.9
DISCRIMINATOR_BETAS = (0.5, 0.9)  # of AdamW: its targets change with each step
OnStep = Callable[[str, int, int], None]  # task, steps done, steps in all


def train_task(
    task: Task, folder: Path, dist: Distributed, *, resume: bool = False, on_step: OnStep | None = None
) -> Path:
    """Train a task to its end.

    SIGINT and SIGTERM are noted while it runs: after the current step all processes stop, and a checkpoint is saved.
    A second SIGINT stops at once.

    Args:
        folder: for checkpoint, best weights, log and images of this task.
        resume: continue from the checkpoint there, if there is one.
        on_step: called after each step.

    Returns:
        the file of the best weights: their EMA at the best validation. All processes can read it.

    Raises:
        TrainingStopped: a signal came; the checkpoint is saved.
        TrainingError: a loss is not finite. The last checkpoint is whole.
        OutputError: a file cannot be written.
        ConfigError, WeightsError: the checkpoint is of another training, or damaged.
    """
    config, network = task.config, task.network
    _set_precision(config, dist)
    task.load_start()
    mean = averaged(network, config.ema)
    networks = {"network": network, **({"discriminator": task.discriminator} if task.discriminator else {})}
    terms_wanted = [name for name, weight in task.weights.items() if weight]
    objective = dist.parallel(_Objective(task, terms_wanted))
    optimiser = _optimiser(task)
    state = State(task.name, config, networks, mean, optimiser)
    checkpoint, best = folder / CHECKPOINT, folder / BEST
    resumed = resume and checkpoint.is_file()
    changes = state.load(checkpoint) if resumed else []
    progress = state.progress

    per_epoch = math.ceil(task.samples / config.batch)
    steps = config.steps or math.ceil(config.epochs * per_epoch)
    validate_every = config.validate_every or per_epoch
    scheduler = _scheduler(optimiser, config, progress.step, steps)
    loader = BatchLoader(task, dist)
    logger = TrainingLogger(folder, terms_wanted, progress.step) if dist.first else None
    dist.barrier()
    if not folder.is_dir():
        raise ConfigError(f"process {dist.rank} does not see {folder}", "all machines must share the folder --out")
    if logger:
        size = sum(each.numel() for each in network.parameters())
        begins = "resumed at" if resumed else "from"
        logger.say(f"{task.name}: {begins} step {progress.step} of {steps}, {size:,} parameters")
        for line in changes:
            logger.say(line)
    started, first_step = time.perf_counter(), progress.step
    recent: deque[dict[str, float]] = deque(maxlen=LOG_EVERY)
    batches = loader.batches(progress.step, steps)
    try:
        with _StopRequest() as stop:
            while progress.step < steps and not (config.patience and progress.stale >= config.patience):
                torch.manual_seed((config.seed * 1_000_003 + progress.step) * 1009 + dist.rank)  # dropout
                network.train()
                weights = task.weights_at(progress.step)
                optimiser.zero_grad(set_to_none=True)
                found = torch.zeros(len(terms_wanted) + 1, device=dist.device)
                for part in range(config.accumulate):
                    with _accumulating(objective, part < config.accumulate - 1):
                        with _autocast(config, dist):
                            loss, terms = objective(next(batches), weights)
                        (loss / config.accumulate).backward()
                    found[:-1] += terms / config.accumulate
                found[-1] = float(stop.signal)
                dist.average(found)
                *losses, stopping = found.tolist()
                values = dict(zip(terms_wanted, losses, strict=True))
                _check(task.name, values, progress.step + 1, checkpoint)
                if config.clip:
                    nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                rate = config.learning_rate * lr_factor(config, progress.step, steps)
                optimiser.step()
                scheduler.step()
                mean.update_parameters(network)
                progress.step += 1

                step = progress.step
                validates = step % validate_every == 0 or step == steps
                if logger:
                    logger.losses(step, sum(weights[name] * value for name, value in values.items()), values)
                    recent.append(values)
                    if step % LOG_EVERY == 0 or validates:
                        means = {name: sum(each[name] for each in recent) / len(recent) for name in terms_wanted}
                        seconds = time.perf_counter() - started
                        speed = (step - first_step) * config.batch / seconds
                        waited = loader.waited_s / seconds
                        logger.scalars(step, "train", {**means, "learning_rate": rate})
                        logger.scalars(step, "speed", {"items_a_second": speed, "waiting_for_data": waited})
                        listed = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
                        logger.say(f"step {step}: {listed}; {speed:.1f} items/s, waiting for data {waited:.1%}")
                if validates:
                    _validate(task, progress, mean.module, logger, dist, best)
                if dist.first and (validates or stopping):
                    state.save(checkpoint)
                if on_step is not None:
                    on_step(task.name, step, steps)
                if stopping:
                    dist.barrier()
                    if logger:
                        logger.say(f"stopped by a signal at step {step}; the checkpoint is saved")
                    raise TrainingStopped(
                        f"training of {task.name} stopped at step {step} of {steps}; {checkpoint} is saved",
                        "resume with the same command and --resume",
                        stop.signal or signal.SIGTERM,
                    )
        dist.barrier()  # best weights and checkpoint are written
    finally:
        batches.close()
        if logger:
            logger.close()
    return best


def lr_factor(config: TaskConfig, step: int, steps: int) -> float:
    """Return the factor on the learning rate in the update after ``step`` of ``steps``: warm up, hold, cosine."""
    factor = min(1.0, (step + 1) / max(1, config.warmup))
    left = 1.0 - step / steps
    return factor * (0.5 - 0.5 * math.cos(math.pi * left / config.decay)) if left < config.decay else factor


class _Objective(nn.Module):
    """Weighted loss of a task's batch, with all networks that learn inside, as ``DistributedDataParallel`` needs it."""

    def __init__(self, task: Task, wanted: list[str]) -> None:
        super().__init__()
        self.network, self.discriminator = task.network, task.discriminator
        self._task, self._wanted = task, wanted

    def forward(self, batch: Batch, weights: dict[str, float]) -> tuple[Tensor, Tensor]:
        """Return the loss, and its terms (n,) without weight and gradient."""
        found = self._task.terms(self.network, batch)
        terms = {name: found[name] for name in self._wanted}
        loss = total(terms, {name: weights[name] for name in terms})
        return loss, torch.stack([term.detach().float() for term in terms.values()])


class _StopRequest:
    """SIGINT and SIGTERM while a task is trained.

    Attributes:
        signal: number of the first one that came; 0 before.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # the only one that can
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            previous = self._previous[number]
            if callable(previous):
                previous(number, frame)
            raise KeyboardInterrupt
        self.signal = self.signal or number  # torchrun sends SIGTERM after the terminal's SIGINT


def _validate(
    task: Task, progress: Progress, mean: nn.Module, logger: TrainingLogger | None, dist: Distributed, best: Path
) -> None:
    """Measure the EMA, and keep it if it is the best so far. The first process does it for all."""
    cost = math.nan
    if logger:
        with torch.no_grad():
            measured = task.validate(mean)
        logger.validation(progress.step, measured)
        cost = measured.cost
    cost = dist.broadcast(cost)
    if not math.isfinite(cost):
        raise TrainingError(
            f"validation of task {task.name} gave {cost} at step {progress.step}",
            "lower its learning_rate; the last good checkpoint is whole: continue with --resume",
        )
    if cost < progress.best:
        progress.best, progress.stale = cost, 0
        if logger:
            progress.metrics = measured.metrics
            write(best, task.header(measured.metrics), dict(mean.state_dict()))
    else:
        progress.stale += 1


def _check(task: str, values: dict[str, float], step: int, checkpoint: Path) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            kept = f"{checkpoint} is whole: continue from it with --resume" if checkpoint.is_file() else "start again"
            raise TrainingError(
                f"the loss of task {task} is {value} at step {step} (term {name})", f"lower its learning_rate; {kept}"
            )


def _optimiser(task: Task) -> torch.optim.Optimizer:
    """Return the optimiser of a task; weight decay is for the matrices and kernels of its network only."""
    config = task.config
    alike: dict[tuple[float, float], list[nn.Parameter]] = {}  # learning-rate multiplier, weight decay
    for name, parameter in task.network.named_parameters():
        if parameter.requires_grad:
            times = next((times for start, times in task.lr_multipliers.items() if name.startswith(start)), 1.0)
            alike.setdefault((times, config.weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": times * config.learning_rate, "weight_decay": decay, "fixed_lr": False}
        for (times, decay), parameters in alike.items()
    ]
    if task.discriminator is not None:
        own = list(task.discriminator.parameters())
        groups.append({"params": own, "weight_decay": 0.0, "betas": DISCRIMINATOR_BETAS, "fixed_lr": True})
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, config.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, config.learning_rate)


def _scheduler(optimiser: torch.optim.Optimizer, config: TaskConfig, step: int, steps: int) -> LambdaLR:
    """Return the schedule of the learning rates, ``step`` updates done; the discriminator's rate is fixed."""
    factors = [
        (lambda _: 1.0) if group["fixed_lr"] else (lambda done: lr_factor(config, done, steps))
        for group in optimiser.param_groups
    ]
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return LambdaLR(optimiser, factors, last_epoch=step - 1)


def _accumulating(objective: nn.Module, more: bool) -> contextlib.AbstractContextManager[object]:
    """Gradients of all parts of a batch but the last stay in this process."""
    if more and isinstance(objective, DistributedDataParallel):
        return objective.no_sync()
    return contextlib.nullcontext()


def _set_precision(config: TaskConfig, dist: Distributed) -> None:
    if dist.device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if config.precision == "float32" else "high")
        torch.backends.cudnn.allow_tf32 = config.precision != "float32"


def _autocast(config: TaskConfig, dist: Distributed) -> contextlib.AbstractContextManager[object]:
    if config.precision == "bfloat16":
        return torch.autocast(dist.device.type, torch.bfloat16)
    return contextlib.nullcontext()
