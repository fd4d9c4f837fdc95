"""``speech2vid validate``: is a sample store whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.output import JsonFlag, print_json


def validate(
    store: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that prepare made.")],
    as_json: JsonFlag = False,
) -> None:
    """Read every sample of a store: names, sizes, hashes, shapes, images. The first fault is named."""
    from speech2vid.data.store import SampleStore

    opened = SampleStore(store)
    opened.validate()
    record = opened.report.as_dict()
    if as_json:
        print_json({name: record[name] for name in ("tracks_kept", "hours_kept", "splits")})
    else:
        typer.echo(f"{store}: whole; {record['tracks_kept']} tracks, {record['hours_kept']} hours")
