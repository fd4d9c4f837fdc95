"""A checkpoint: everything a task needs to continue as if it had not been stopped. One safetensors file, no pickle.

Random generators have no state to save: everything drawn follows from the seed and the number of the step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from speech2vid.errors import ConfigError, OutputError, WeightsError
from speech2vid.runtime.weights import WeightsHeader, read_weights, write_weights
from speech2vid.training.task import TaskConfig

FIXED = ("network", "width", "optimiser")  # settings that a checkpoint depends on; others may change on resuming


@dataclass
class Progress:
    """How far a task is.

    Attributes:
        step: updates done.
        best: cost at the best validation so far; lower is better.
        stale: validations since then.
        metrics: of the best validation.
    """

    step: int = 0
    best: float = float("inf")
    stale: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


class State:
    """Networks, their EMA, optimiser and progress of a task.

    Args:
        networks: ``network``, and ``discriminator`` if any.
        mean: EMA of ``network``; ``mean`` in the checkpoint.
        optimiser: of the networks' parameters.
    """

    def __init__(
        self,
        task: str,
        config: TaskConfig,
        networks: Mapping[str, nn.Module],
        mean: AveragedModel,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.task, self.config = task, config
        self.networks = {**networks, "mean": mean.module}
        self.mean, self.optimiser = mean, optimiser
        self.progress = Progress()

    def save(self, path: Path) -> None:
        """Write the checkpoint whole or not at all.

        Raises:
            OutputError: no space, no permission. An older checkpoint stays.
            WeightsError: a tensor is not finite.
        """
        tensors: dict[str, Tensor] = {}
        for network, module in self.networks.items():
            tensors |= {f"{network}.{name}": tensor for name, tensor in module.state_dict().items()}
        names: dict[Tensor, str] = {parameter: name for name, parameter in self._parameters().items()}
        for parameter, entries in self.optimiser.state.items():
            for key, value in entries.items():
                if value is not None:
                    tensors[f"optimiser.{key}.{names[parameter]}"] = torch.as_tensor(value)
        progress = {**vars(self.progress), "best": str(self.progress.best)}  # JSON has no infinity
        header = WeightsHeader(f"checkpoint of {self.task}", {"config": self.config.to_dict(), "progress": progress})
        write(path, header, tensors)

    def load(self, path: Path) -> list[str]:
        """Continue from a checkpoint; return the settings that have changed since, one line each.

        Raises:
            WeightsError: it is damaged, or of another task or network.
            ConfigError: it was made with other settings.
        """
        header, arrays = read_weights(path, f"checkpoint of {self.task}")
        changes = _changes(path, header.config["config"], json.loads(json.dumps(self.config.to_dict())))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for network, module in self.networks.items():
            try:
                module.load_state_dict(_below(f"{network}.", tensors))
            except RuntimeError as error:
                raise WeightsError(f"{path} does not fit the {network}", "start again in another --out") from error
        parameters = self._parameters()
        self.optimiser.state.clear()
        for name, tensor in _below("optimiser.", tensors).items():
            key, _, parameter = name.partition(".")
            owner = parameters[parameter]
            on_cpu = key == "step"  # where torch keeps it
            self.optimiser.state[owner][key] = tensor.clone() if on_cpu else tensor.to(owner.device, copy=True)
        progress = header.config["progress"]
        self.progress = Progress(**{**progress, "best": float(progress["best"])})
        self.mean.n_averaged.fill_(self.progress.step)
        return changes

    def _parameters(self) -> dict[str, nn.Parameter]:
        """Name in the checkpoint → parameter."""
        return {
            f"{network}.{name}": parameter
            for network, module in self.networks.items()
            for name, parameter in module.named_parameters()
        }


def write(path: Path, header: WeightsHeader, tensors: dict[str, Tensor]) -> None:
    """Write tensors of any device as a weight file. OutputError where there is no space or permission."""
    try:
        write_weights(path, header, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}",
            "free some disk space or choose another --out; the last checkpoint is whole: continue with --resume",
        ) from error


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _changes(path: Path, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changed = [key for key in now if then.get(key) != now[key]]
    for key in FIXED:
        if key in changed:
            raise ConfigError(
                f"{path} was made with {key} = {then.get(key)!r}, the config says {now[key]!r}",
                "resume with the original config, or start again in another --out",
            )
    return [f"{key} is now {now[key]!r}; it was {then.get(key)!r}" for key in changed]
