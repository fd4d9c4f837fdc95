"""Job files of ``batch``: TOML or CSV, each entry a :class:`BatchJob`."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from speech2vid import __version__
from speech2vid.errors import ConfigError
from speech2vid.inference.options import AnyPath, Options, RedubOptions, TalkOptions
from speech2vid.runtime.weights import SHIPPED_SETS

Command = Literal["talk", "redub"]

RECORDS: dict[Command, type[Options]] = {"talk": TalkOptions, "redub": RedubOptions}
INPUT: dict[Command, str] = {"talk": "face", "redub": "video"}  # the key next to "audio" and "outfile"
PATH_OPTIONS = ("weights", "identity", "speakers")  # relative to the job file
EXCLUDED = ("preview",)  # makes an image instead of a video
SEPARATOR = ";"  # between several faces in a cell
HINT = "docs/batch.md describes job files"
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class BatchJob:
    """One video to make.

    Attributes:
        command: ``talk`` or ``redub``.
        inputs: photos of one person or one video of them; for ``redub``, the video.
        audio: the recording.
        outfile: the video to write.
        options: of the command.
        place: where the job stands in its file, for messages.
    """

    command: Command
    inputs: tuple[Path, ...]
    audio: Path
    outfile: Path
    options: Options
    place: str = ""

    @property
    def id(self) -> str:
        """Return a digest of the inputs (path, size, last change), the options and the package's version."""
        files = [(str(path.absolute()), *stamp(path)) for path in (*self.inputs, self.audio)]
        options = {name: str(value) for name, value in asdict(self.options).items()}
        content = [__version__, self.command, files, str(self.outfile.absolute()), options]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_jobs(path: AnyPath) -> list[BatchJob]:
    """Read a job file.

    TOML: arrays ``[[talk]]`` (face, audio, outfile) and ``[[redub]]`` (video, audio, outfile), with the options of the
    command as further keys, and a table ``[defaults]`` of options for all jobs. CSV: a job a row, with the same names
    as columns, several faces in a cell separated by ``;``, and no value where a cell is empty. Paths are relative to
    the file.

    Raises:
        ConfigError: the file cannot be read, a key or value is invalid, or two jobs write the same file or one reads
            what another writes.
    """
    path = Path(path)
    jobs = _read_csv(path) if path.suffix.lower() == ".csv" else _read_toml(path)
    if not jobs:
        raise ConfigError(f"{path} has no jobs", HINT)
    _check_files(jobs)
    return jobs


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of the last change, (-1, 0) for a missing file."""
    try:
        facts = path.stat()
    except OSError:
        return -1, 0
    return facts.st_size, facts.st_mtime_ns


def _read_toml(path: Path) -> list[BatchJob]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", HINT) from error
    defaults = table.pop("defaults", {})
    if not isinstance(defaults, dict) or set(table) - set(RECORDS):
        wrong = sorted(set(table) - set(RECORDS)) or ["defaults"]
        raise ConfigError(f"{path}: unexpected entry {wrong[0]!r}", "use [defaults], [[talk]] and [[redub]]")
    jobs = []
    for command, entries in table.items():
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigError(f"{path}: {command} is not an array of tables", f"begin each job with [[{command}]]")
        for number, entry in enumerate(entries, 1):
            jobs.append(_job(path, command, entry, defaults, f"{path}: [[{command}]] no. {number}"))
    used = {name for command in table for name in _settings(command)}
    if unknown := sorted(set(defaults) - (used or {name for command in RECORDS for name in _settings(command)})):
        raise ConfigError(f"{path}: [defaults] has no option {unknown[0]!r}", "use options of talk or redub")
    return jobs


def _read_csv(path: Path) -> list[BatchJob]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}", HINT) from error
    jobs = []
    for number, row in enumerate(rows, 2):
        place = f"{path}: line {number}"
        if None in row or None in row.values():
            raise ConfigError(f"{place} has {'more' if None in row else 'fewer'} cells than the first line", HINT)
        entry = {name.strip(): cell.strip() for name, cell in row.items() if cell.strip()}
        command = entry.pop("command", "redub" if "video" in entry else "talk")
        if command not in RECORDS:
            raise ConfigError(f"{place}: unknown command {command!r}", f"choose from: {', '.join(RECORDS)}")
        typed = {name: _typed(command, name, cell, place) for name, cell in entry.items()}
        jobs.append(_job(path, command, typed, {}, place))
    return jobs


def _typed(command: Any, name: str, cell: str, place: str) -> Any:
    """Return a cell as the type of its option."""
    hint: Any = get_type_hints(RECORDS[command]).get(name)
    kinds = (hint, *get_args(hint))
    if name == "face":
        return [part.strip() for part in cell.split(SEPARATOR) if part.strip()]
    if bool in kinds and cell.lower() in (*TRUE, *FALSE):
        return cell.lower() in TRUE
    if int in kinds:
        try:
            return int(cell)
        except ValueError:
            raise ConfigError(f"{place}: {name} cannot be {cell!r}", "give a whole number") from None
    return cell


def _settings(command: Any) -> list[str]:
    return [each.name for each in fields(RECORDS[command]) if each.name not in EXCLUDED]


def _job(file: Path, command: Any, entry: Mapping[str, Any], defaults: Mapping[str, Any], place: str) -> BatchJob:
    required = (INPUT[command], "audio", "outfile")
    settings = {name: value for name, value in defaults.items() if name in _settings(command)}
    settings |= {name: value for name, value in entry.items() if name not in required}
    for name in required:
        value = entry.get(name)
        values = value if isinstance(value, list) and value and name == "face" else [value]
        if not all(isinstance(each, str) and each for each in values):
            raise ConfigError(f"{place}: {name} is {'invalid' if value else 'missing'}", f"give {', '.join(required)}")
    for name in settings:
        if name not in _settings(command):
            raise ConfigError(f"{place}: {command} has no option {name!r}", f"options: {', '.join(_settings(command))}")
    folder = file.parent
    for name in PATH_OPTIONS:
        value = settings.get(name)
        if isinstance(value, str) and value not in SHIPPED_SETS:
            settings[name] = str(folder / value)
    try:
        options = RECORDS[command](**settings)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}", error.hint) from error
    given = entry[INPUT[command]]
    inputs = tuple(folder / each for each in (given if isinstance(given, list) else [given]))
    return BatchJob(command, inputs, folder / entry["audio"], folder / entry["outfile"], options, place)


def _check_files(jobs: Iterable[BatchJob]) -> None:
    """Raise a ConfigError if two jobs write the same file, or one reads what another writes."""
    writers: dict[str, BatchJob] = {}
    jobs = list(jobs)
    for job in jobs:
        name = os.path.realpath(job.outfile)
        if name in writers:
            raise ConfigError(
                f"{job.place} and {writers[name].place} write the same file, {job.outfile}", "give each its own outfile"
            )
        writers[name] = job
    for job in jobs:
        for path in (*job.inputs, job.audio):
            writer = writers.get(os.path.realpath(path))
            if writer is not None:
                raise ConfigError(
                    f"{job.place} reads {path}, which {writer.place} writes",
                    "jobs run in any order: use a second job file for videos made from others",
                )
