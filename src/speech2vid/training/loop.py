"""The loop: every task, on one process or many, is trained here."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speech2vid.errors import TrainingError
from speech2vid.losses import total
from speech2vid.runtime.torch import fill
from speech2vid.training.checkpoint import Progress, State, write
from speech2vid.training.dataloader import BatchLoader
from speech2vid.training.distributed import Distributed
from speech2vid.training.logger import TrainingLogger
from speech2vid.training.task import Task
from speech2vid.training.task_config import TaskConfig

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
LOG_EVERY = 20  # steps
MOMENTUM = 0.9
DISCRIMINATOR_BETAS = (0.5, 0.9)  # of AdamW: what it is to tell apart changes with each step
OnStep = Callable[[str, int, int], None]  # task, steps done, steps in all


def train_task(
    task: Task, folder: Path, dist: Distributed, *, resume: bool = False, on_step: OnStep | None = None
) -> Path:
    """Train a task to its end.

    Args:
        folder: for checkpoint, best weights, log and images of this task.
        resume: carry on from the checkpoint there, if there is one.
        on_step: called after each step.

    Returns:
        the file of the best weights: their running mean at the validation that was best.

    Raises:
        TrainingError: a loss is not a finite number any more. The last checkpoint is whole.
        OutputError: nothing can be written.
        ConfigError, WeightsError: the checkpoint is of another training, or damaged.
    """
    config, network, discriminator = task.config, task.network, task.discriminator
    _set_precision(config, dist)
    if config.start:
        fill(network, Path(config.start), task.architecture)
    mean = copy.deepcopy(network).eval().requires_grad_(False)
    networks = {"network": network} if discriminator is None else {"network": network, "discriminator": discriminator}
    for each in networks.values():
        dist.joined(each)
    state = State(task.name, config, {**networks, "mean": mean}, _optimiser(task))
    checkpoint, best = folder / CHECKPOINT, folder / BEST
    resumed = resume and checkpoint.is_file()
    changes = state.load(checkpoint) if resumed else []
    progress = state.progress

    per_epoch = math.ceil(task.samples / config.batch)
    steps = config.steps or math.ceil(config.epochs * per_epoch)
    validate_every = config.validate_every or per_epoch
    loader = BatchLoader(task, dist)
    terms_wanted = [name for name, weight in task.weights.items() if weight]
    logger = TrainingLogger(folder, terms_wanted, progress.step) if dist.first else None
    if logger:
        size = sum(each.numel() for each in network.parameters())
        begins = "resumed at" if resumed else "from"
        logger.say(f"{task.name}: {begins} step {progress.step} of {steps}, {size:,} parameters")
        for line in changes:
            logger.say(line)
    started, first_step = time.perf_counter(), progress.step
    recent: deque[dict[str, float]] = deque(maxlen=LOG_EVERY)
    parameters = [each for module in networks.values() for each in module.parameters() if each.requires_grad]
    batches = loader.batches(progress.step, steps)
    try:
        while progress.step < steps and not (config.patience and progress.stale >= config.patience):
            rate = learning_rate(config, progress.step, steps)
            for group in state.optimiser.param_groups:
                group["lr"] = config.learning_rate if group["fixed_lr"] else group["times"] * rate
            torch.manual_seed((config.seed * 1_000_003 + progress.step) * 1009 + dist.rank)  # dropout
            network.train()
            weights = task.weights_at(progress.step)
            state.optimiser.zero_grad(set_to_none=True)
            found = torch.zeros(len(terms_wanted), device=dist.device)
            for _ in range(config.accumulate):
                batch = next(batches)
                with _autocast(config, dist):
                    terms = {name: term for name, term in task.terms(network, batch).items() if task.weights[name]}
                    loss = total(terms, {name: weights[name] for name in terms}) / config.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
                found += torch.stack([terms[name].detach().float() for name in terms_wanted]) / config.accumulate
            dist.average([found, *(each.grad for each in parameters if each.grad is not None)])
            values = dict(zip(terms_wanted, found.tolist(), strict=True))
            _check(task.name, values, progress.step + 1, checkpoint)
            if config.clip:
                nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            state.optimiser.step()
            progress.step += 1
            _update_ema(mean, network, min(config.ema, (progress.step - 1) / (progress.step + 19)))

            step = progress.step
            if logger:
                logger.losses(step, sum(weights[name] * value for name, value in values.items()), values)
                recent.append(values)
                if step % LOG_EVERY == 0:
                    means = {name: sum(each[name] for each in recent) / len(recent) for name in terms_wanted}
                    seconds = time.perf_counter() - started
                    speed = (step - first_step) * config.batch / seconds
                    waited = loader.waited_s / seconds
                    logger.scalars(step, "train", {**means, "learning_rate": rate})
                    logger.scalars(step, "speed", {"items_a_second": speed, "waiting_for_data": waited})
                    losses = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
                    logger.say(f"step {step}: {losses}; {speed:.1f} items/s, waiting for data {waited:.1%}")
            if step % validate_every == 0 or step == steps:
                _validate(task, state.progress, mean, logger, dist, best)
                if dist.first:
                    state.save(checkpoint)
            if on_step is not None:
                on_step(task.name, step, steps)
    finally:
        batches.close()
        if logger:
            logger.close()
    return best


def learning_rate(config: TaskConfig, step: int, steps: int) -> float:
    """Of the update after ``step`` of ``steps``: warm up, hold, fall along a cosine."""
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup))
    left = 1.0 - step / steps
    return rate * (0.5 - 0.5 * math.cos(math.pi * left / config.decay)) if left < config.decay else rate


def _validate(
    task: Task, progress: Progress, mean: nn.Module, logger: TrainingLogger | None, dist: Distributed, best: Path
) -> None:
    """Judge the running mean, and keep it if it is the best so far. The first process does it for all."""
    cost = math.nan
    if logger:
        with torch.no_grad():
            judged = task.validate(mean)
        logger.validation(progress.step, judged)
        cost = judged.cost
    cost = dist.same(cost)
    if not math.isfinite(cost):
        raise TrainingError(
            f"validation of task {task.name} gave {cost} at step {progress.step}",
            "lower its learning_rate; the last good checkpoint is whole: carry on with --resume",
        )
    if cost < progress.best:
        progress.best, progress.stale = cost, 0
        if logger:
            progress.metrics = judged.metrics
            write(best, task.header(judged.metrics), dict(mean.state_dict()))
    else:
        progress.stale += 1


def _check(task: str, values: dict[str, float], step: int, checkpoint: Path) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            kept = f"{checkpoint} is whole: carry on from it with --resume" if checkpoint.is_file() else "start again"
            raise TrainingError(
                f"the loss of task {task} is {value} at step {step} (term {name})", f"lower its learning_rate; {kept}"
            )


def _optimiser(task: Task) -> torch.optim.Optimizer:
    """Weight decay is for the matrices and kernels of the network only."""
    config = task.config
    alike: dict[tuple[float, float], list[nn.Parameter]] = {}  # times the rate, weight decay
    for name, parameter in task.network.named_parameters():
        if parameter.requires_grad:
            times = next((times for start, times in task.lr_multipliers.items() if name.startswith(start)), 1.0)
            alike.setdefault((times, config.weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "times": times, "weight_decay": decay, "fixed_lr": False}
        for (times, decay), parameters in alike.items()
    ]
    if task.discriminator is not None:
        discriminator_parameters = list(task.discriminator.parameters())
        groups.append(
            {"params": discriminator_parameters, "weight_decay": 0.0, "betas": DISCRIMINATOR_BETAS, "fixed_lr": True}
        )
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, config.learning_rate, momentum=MOMENTUM)
    return torch.optim.AdamW(groups, config.learning_rate)


def _update_ema(mean: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the running mean towards the network: mean ← keep · mean + (1 − keep) · network."""
    with torch.no_grad():
        ours, theirs = list(mean.state_dict().values()), list(network.state_dict().values())
        moving = [number for number, each in enumerate(ours) if each.is_floating_point()]
        torch._foreach_lerp_([ours[i] for i in moving], [theirs[i] for i in moving], 1.0 - keep)
        for number in set(range(len(ours))) - set(moving):
            ours[number].copy_(theirs[number])


def _set_precision(config: TaskConfig, dist: Distributed) -> None:
    if dist.device.type == "cuda":
        torch.set_float32_matmul_precision("highest" if config.precision == "float32" else "high")
        torch.backends.cudnn.allow_tf32 = config.precision != "float32"


def _autocast(config: TaskConfig, dist: Distributed) -> contextlib.AbstractContextManager[object]:
    if config.precision == "bfloat16":
        return torch.autocast(dist.device.type, torch.bfloat16)
    return contextlib.nullcontext()
