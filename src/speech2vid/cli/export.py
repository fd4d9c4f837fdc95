"""``speech2vid export``: weights → ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.train import require_extra


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for weight files and graphs.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE|DIR", help="Weight files to export; the package's own by default."),
    ] = None,
) -> None:
    """Write networks as ONNX graphs, which point into the weight files next to them. Needs the extra `train`."""
    require_extra("export")
    from speech2vid.training.export import export as write

    for file in write(out, weights):
        typer.echo(str(file))
