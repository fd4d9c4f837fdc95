"""``speech2vid verify``: is this one of our synthetic videos?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.failures import FAILED, report
from speech2vid.cli.output import JsonFlag, print_json


def verify(
    file: Annotated[Path, typer.Argument(help="A video file.", metavar="FILE")],
    as_json: JsonFlag = False,
) -> None:
    """Tell whether FILE carries the mark of a synthetic video made by speech2vid.

    Exits with 0 if it does and with 1 if it does not. The mark is metadata: a re-encode or an upload may remove it, so
    its absence proves nothing.
    """
    from speech2vid.media import read_mark

    mark = read_mark(file)
    if as_json:
        print_json({"file": str(file), "synthetic": mark is not None, "mark": mark})
    elif mark is not None:
        details = ", ".join(f"{key} {value}" for key, value in mark.items())
        typer.echo(f"{file}: synthetic, made by speech2vid ({details})")
    else:
        report(
            f"{file} carries no mark of speech2vid", "a re-encode or an upload may have removed it: this proves nothing"
        )
    if mark is None:
        raise typer.Exit(FAILED)
