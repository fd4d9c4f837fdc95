"""``speech2vid export``: weights → ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.train import require_extra


def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder for weight files and graphs.")],
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="SET|DIR|FILE", help="Weights to export (default: the default set)."),
    ] = None,
) -> None:
    """Export networks as ONNX graphs that refer to the weight files next to them. Needs the extra `train`."""
    require_extra("export")
    from speech2vid.training.export import export as write

    for file in write(out, weights):
        typer.echo(str(file))
