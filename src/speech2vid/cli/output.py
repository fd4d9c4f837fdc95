"""Printing: results go to standard output, progress and notes to standard error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as a single JSON object.")]
Advance = Callable[[int, int | None], None]  # (units done, units in all if known)


def print_json(record: Mapping[str, Any]) -> None:
    """Print ``record`` as one JSON object to standard output."""
    typer.echo(json.dumps(record, ensure_ascii=False, default=str))


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table to standard output; long cells wrap."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(soft_wrap=False).print(table)


@contextlib.contextmanager
def progress_bar(title: str, unit: str = "frames") -> Iterator[Advance]:
    """Show a progress bar with the remaining time on standard error, if that is a terminal.

    Yields:
        A function to call with the number of units done and, if known, their total.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, total: int | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


def note(line: str) -> None:
    """Print a note for the user to standard error."""
    typer.echo(f"note: {line}", err=True)
