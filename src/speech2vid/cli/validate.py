"""``speech2vid validate``: check a sample store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.output import JsonFlag, print_json


def validate(
    store: Annotated[Path, typer.Argument(metavar="DIR", help="Sample store created by `prepare`.")],
    as_json: JsonFlag = False,
) -> None:
    """Check every sample of a store: names, sizes, hashes, shapes and images. Report the first fault."""
    from speech2vid.data.store import SampleStore

    opened = SampleStore(store)
    opened.validate()
    record = opened.report.as_dict()
    if as_json:
        print_json({name: record[name] for name in ("tracks_kept", "hours_kept", "splits")})
    else:
        typer.echo(f"{store}: valid; {record['tracks_kept']} tracks, {record['hours_kept']} hours")
