"""Settings of every task; those of single tasks stand in :mod:`speech2vid.training.config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_type_hints

from speech2vid.errors import ConfigError
from speech2vid.models.config import NetworkConfig


@dataclass(frozen=True)
class Settings(NetworkConfig):
    """Settings that may have tables of settings inside. Whole numbers are accepted where decimals are meant."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; keys left out take their defaults. ConfigError on unknown keys and wrong types."""
        hints = get_type_hints(cls)
        built = {}
        for key, value in values.items():
            hint = hints.get(key)
            if isinstance(hint, type) and issubclass(hint, NetworkConfig):
                if not isinstance(value, Mapping):
                    raise ConfigError(f"{cls.__name__}.{key} cannot be {value!r}", f"make it a table: [… .{key}]")
                value = hint.from_dict(value)
            elif hint is float and type(value) is int:
                value = float(value)
            built[key] = value
        return super().from_dict(built)


@dataclass(frozen=True)
class TaskConfig(Settings):
    """Settings of every task.

    Attributes:
        steps: how many updates. 0: as many as ``epochs`` need.
        epochs: passes over the training samples, where ``steps`` is 0.
        batch: people, or stretches of audio, in an update, over all processes.
        accumulate: parts in which a batch is computed, one after the other; batch norm sees one part at a time.
        optimiser: AdamW, or SGD with momentum 0.9.
        learning_rate: the highest; reached after ``warmup`` steps, held, and over the last ``decay`` of the steps
            brought to 0 along a cosine. ``decay`` 0 keeps it.
        clip: largest norm of the gradient; 0 does not limit it.
        ema: the weights kept are a running mean over about 1/(1 − average) steps; 0 keeps the last ones.
        precision: what is multiplied in; weights and their updates are always float32. ``tf32`` is CUDA's; ``bfloat16``
            is faster on CPUs, too, that have it (AVX-512 BF16: 1.5 times), and slower on others.
        seed: of everything drawn at random.
        validate_every: steps between validations (a checkpoint each); 0: once an epoch.
        patience: stop after so many validations without improvement; 0: never.
        start: a weight file to start from.
    """

    steps: int = 0
    epochs: float = 1.0
    batch: int = 8
    accumulate: int = 1
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 100
    decay: float = 0.5
    clip: float = 1.0
    ema: float = 0.999
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    seed: int = 0
    validate_every: int = 0
    patience: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for key in ("batch", "accumulate"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{name}.{key} cannot be {getattr(self, key)}", "give 1 or more")
        if self.batch % self.accumulate:
            raise ConfigError(f"{name}: a batch of {self.batch} has no {self.accumulate} equal parts", "change either")
        if self.steps < 0 or (self.steps == 0 and self.epochs <= 0):
            raise ConfigError(f"{name} asks for no training", "give steps or epochs above 0")
