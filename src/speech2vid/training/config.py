"""Training configuration: a TOML file with one table a task; a task without a table is not trained.

The settings of a table, their meaning and their defaults stand next to the task, in :mod:`speech2vid.training.tasks`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

from speech2vid.errors import ConfigError
from speech2vid.models.config import suggest
from speech2vid.training.task import TaskConfig
from speech2vid.training.tasks import TASKS


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training.

    Attributes:
        tasks: task → settings, in the order in which they are trained, which is that of the registry.

    Raises:
        ConfigError: there is no task, or one needs another that is not trained.
    """

    tasks: Mapping[str, TaskConfig]

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("the config trains nothing", f"give at least one table of: {', '.join(TASKS)}")
        for name, config in self.tasks.items():
            for needed, without in config.needed_tasks().items():
                if needed not in self.tasks:
                    raise ConfigError(
                        f"task {name} needs task {needed}, which the config does not train",
                        f"add a table [{needed}], or {without}",
                    )

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any]) -> Self:
        """Build from task → settings. ConfigError names the nearest task or key where one is unknown."""
        for name, table in tables.items():
            if name not in TASKS:
                raise ConfigError(f"there is no task {name!r}", suggest(name, TASKS))
            if not isinstance(table, Mapping):
                raise ConfigError(f"{name} cannot be {table!r}", f"make it a table: [{name}]")
        return cls({name: task.Config.from_dict(tables[name]) for name, task in TASKS.items() if name in tables})

    def check_processes(self, count: int) -> None:
        """Check that the batches of all tasks can be divided among ``count`` processes. ConfigError otherwise."""
        for name, config in self.tasks.items():
            parts = count * config.accumulate
            if config.batch % parts:
                of_parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
                raise ConfigError(
                    f"{name}.batch = {config.batch}{of_parts} cannot be divided among {count} processes",
                    f"make it a multiple of {parts}: --set {name}.batch={-(-config.batch // parts) * parts}",
                )


def preset_names() -> list[str]:
    """Return the names that ``--config`` knows."""
    return sorted(path.name.removesuffix(".toml") for path in _presets().iterdir() if path.name.endswith(".toml"))


def load_config(name: str, what: str = "", overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a preset by its name, or a file that ends in ``.toml``.

    Args:
        what: is to be trained; a preset ``WHAT-NAME`` is found by ``NAME`` too.
        overrides: settings that replace those of the config, ``TASK.KEY=VALUE`` or ``TASK.network.KEY=VALUE``.

    Raises:
        ConfigError: no such preset or file, not TOML, an unknown key (the nearest is named), an impossible value.
    """
    own = f"{what}-{name}"
    preset = own if own in preset_names() else name
    source = Path(name) if name.endswith(".toml") else _presets() / f"{preset}.toml"
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"unknown config {name}", f"give a .toml file, or one of: {', '.join(preset_names())}"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the config {name} cannot be read: {error}", "it must be a TOML file") from error
    for override in overrides:
        _override(tables, override)
    try:
        return TrainConfig.from_dict(tables)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", error.hint) from error


def _override(tables: dict[str, Any], override: str) -> None:
    """Put the value of ``TASK.KEY=VALUE`` into the tables; what it may be is checked with the rest of the config."""
    place, equals, text = override.partition("=")
    task, *keys = place.strip().split(".")
    if not (equals and task and keys and all(keys)):
        raise ConfigError(f"--set {override} is no setting", "write it as TASK.KEY=VALUE, e.g. warp_talker.steps=2000")
    if task not in tables:
        raise ConfigError(f"--set {override}: the config does not train {task}", suggest(task, tables))
    table = tables[task]
    for name in keys[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: {name} is no table", "leave out what follows it")
    table[keys[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    """Return a TOML value; text that is none is a string, so that no quotes are needed on a command line."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _presets() -> Traversable:
    return resources.files("speech2vid") / "training" / "presets"
