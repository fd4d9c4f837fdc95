"""``speech2vid verify``: is this one of our synthetic videos, and is it still as it was made?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from speech2vid.cli.failures import FAILED, report
from speech2vid.cli.output import JsonFlag, note, print_json

if TYPE_CHECKING:
    from speech2vid.media import Credentials

Verdict = Literal["signed", "tampered", "stripped", "marked", "none"]
GOOD = ("signed", "marked")
PROVES_NOTHING = "a re-encode or an upload may have removed it: this proves nothing"


def verify(
    file: Annotated[Path, typer.Argument(help="A video file.", metavar="FILE")],
    roots: Annotated[
        Path | None,
        typer.Option("--roots", metavar="PEM", help="Trusted root certificates."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Tell whether FILE says that it is synthetic, and whether it was changed since it was signed.

    Reads the mark in the metadata, which every output of speech2vid carries, and the Content Credentials, which those
    carry that were signed (extra `c2pa`). Exits with 0 if one of them says synthetic and nothing contradicts it; with 1
    if the file was changed after it was signed, or says nothing. Absence proves nothing: a re-encode or an upload may
    remove both.
    """
    from speech2vid.media import read_credentials, read_synthetic_metadata

    mark, credentials = read_synthetic_metadata(file), read_credentials(file, roots)
    verdict = verdict_of(mark, credentials)
    if as_json:
        print_json(
            {
                "file": str(file),
                "verdict": verdict,
                "synthetic": mark is not None or (credentials is not None and credentials.synthetic),
                "mark": mark,
                "credentials": None if credentials is None else asdict(credentials),
            }
        )
    else:
        show(file, verdict, mark, credentials)
    if verdict not in GOOD:
        raise typer.Exit(FAILED)


def verdict_of(mark: dict[str, Any] | None, credentials: Credentials | None) -> Verdict:
    """One word for what was found."""
    if credentials is not None and credentials.state == "tampered":
        return "tampered"
    if credentials is not None and credentials.synthetic:
        return "signed"
    if mark is None:
        return "none"
    return "stripped" if credentials is None and mark.get("signed") else "marked"


def show(file: Path, verdict: Verdict, mark: dict[str, Any] | None, credentials: Credentials | None) -> None:
    """Say it in sentences; what speaks against the file goes to standard error."""
    if mark is not None:
        details = ", ".join(f"{key} {value}" for key, value in mark.items())
        typer.echo(f"{file}: synthetic, made by speech2vid ({details})")
    if credentials is not None:
        _show_credentials(file, verdict, credentials)
    elif verdict == "stripped":
        report(
            f"{file} was signed when it was made, and its Content Credentials are gone",
            "it was changed or copied into another file since; ask for the original",
        )
    if verdict == "none":
        report(f"{file} carries no mark of speech2vid", PROVES_NOTHING)


def _show_credentials(file: Path, verdict: Verdict, credentials: Credentials) -> None:
    if credentials.state == "unchecked":
        note("it carries Content Credentials, which were not checked: pip install 'speech2vid[c2pa]'")
    elif credentials.state == "tampered":
        report(
            f"{file} was changed after it was signed: {', '.join(credentials.problems)}",
            "do not rely on anything that it says of itself; ask for the original",
        )
    else:
        known = "whom your list of roots vouches for" if credentials.trusted else "who is in no list of trusted signers"
        kinds = ", ".join(credentials.source_types) or "nothing on how it was made"
        typer.echo(f"signed and intact: by {credentials.signer}, {known}; made with {credentials.tool} ({kinds})")
        if verdict == "none":
            note("its Content Credentials do not call it synthetic")
