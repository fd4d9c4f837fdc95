"""Output of the commands: results on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol, Self

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
LOG_EVERY_S = 30.0


class Advance(Protocol):
    """Report progress: units done, units in all if known, and the part of the work that they belong to."""

    def __call__(self, done: int, total: int | None = None, part: str = "") -> None: ...


def print_json(record: Mapping[str, Any]) -> None:
    """Print ``record`` as one JSON object on standard output."""
    typer.echo(json.dumps(record, ensure_ascii=False, default=str))


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table on standard output; long cells wrap."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(soft_wrap=False).print(table)


@contextlib.contextmanager
def progress_bar(title: str, unit: str = "frames", *, log_lines: bool = False) -> Iterator[Advance]:
    """Show a bar with the speed and the time left on standard error, if that is a terminal.

    Args:
        log_lines: where standard error is no terminal, write a line every half minute.

    Yields:
        A function to call with the number of units done and, if known, their total. ``part`` names the part of the
        work that these units belong to; units are counted anew in each.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if log_lines and not console.is_terminal:
        with _ProgressLog(title, unit) as log:
            yield log.advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, total: int | None = None, part: str = "") -> None:
            progress.update(task, completed=done, total=total, description=f"{title}: {part}" if part else title)

        yield advance


class _ProgressLog:
    """Lines on standard error, one every ``LOG_EVERY_S`` seconds, whether or not anything has advanced."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._done, self._part = 0, ""
        self._total: int | None = None
        self._began_s, self._first = time.monotonic(), 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def advance(self, done: int, total: int | None = None, part: str = "") -> None:
        if part != self._part or not self._total:  # speed counts from here
            self._began_s, self._first = time.monotonic(), done
        self._done, self._total, self._part = done, total, part

    def line(self) -> str:
        """Return what is done, how fast, and how long the rest will take."""
        title = f"{self._title}: {self._part}" if self._part else self._title
        if self._total is None:
            return f"{title}: {self._done:,} {self._unit}" if self._done else f"{title}: preparing"
        line = f"{title}: {self._done:,} of {self._total:,} {self._unit}"
        seconds, done = time.monotonic() - self._began_s, self._done - self._first
        if done and seconds and self._done < self._total:
            line += f", about {_duration((self._total - self._done) * seconds / done)} left"
        return line

    def _write(self) -> None:
        while not self._ended.wait(LOG_EVERY_S):
            typer.echo(f"{time.strftime('%H:%M:%S')} {self.line()}", err=True)


def _duration(seconds: float) -> str:
    """Return a duration for people: ``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def note(line: str) -> None:
    """Print something the user should know on standard error."""
    typer.echo(f"note: {line}", err=True)
