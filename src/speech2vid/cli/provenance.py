"""Options that disclose a synthetic video, in addition to the mark that every output carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from speech2vid.media import Signer

LabelFlag = Annotated[bool, typer.Option("--label", help='Write "AI-generated" in the corner of every frame.')]
SignCert = Annotated[
    Path | None,
    typer.Option(
        "--sign-cert",
        metavar="PEM",
        help="Certificate chain for signing the video with Content Credentials, yours first. Needs the extra `c2pa`.",
    ),
]
SignKey = Annotated[
    Path | None, typer.Option("--sign-key", metavar="PEM", help="Private key of the certificate, without a password.")
]
SignAlg = Annotated[
    Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] | None,
    typer.Option("--sign-alg", help="Signature algorithm (default: chosen to fit the key)."),
]


def signer_of(cert: Path | None, key: Path | None, alg: str | None) -> Signer | None:
    """Return the signer that the options describe, or None if they are not set.

    Raises:
        typer.BadParameter: a certificate without its key, or the reverse.
    """
    if cert is None and key is None:
        if alg is not None:
            raise typer.BadParameter("--sign-alg needs --sign-cert and --sign-key")
        return None
    if cert is None or key is None:
        raise typer.BadParameter("--sign-cert and --sign-key must be used together")
    from speech2vid.media import Signer

    return Signer(cert, key, alg)
