"""Options of the commands that make synthetic videos: how an output says so, beyond the mark that it always carries."""

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
        help="Sign the video with Content Credentials: your certificate, then its chain. Needs the extra `c2pa`.",
    ),
]
SignKey = Annotated[
    Path | None, typer.Option("--sign-key", metavar="PEM", help="The certificate's private key, without a password.")
]
SignAlg = Annotated[
    Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"] | None,
    typer.Option("--sign-alg", help="Signature algorithm (default: the one that fits the key)."),
]


def signer_of(cert: Path | None, key: Path | None, alg: str | None) -> Signer | None:
    """What the three options ask for; wrong usage when one of certificate and key lacks the other."""
    if cert is None and key is None:
        if alg is not None:
            raise typer.BadParameter("--sign-alg needs --sign-cert and --sign-key")
        return None
    if cert is None or key is None:
        raise typer.BadParameter("--sign-cert and --sign-key belong together")
    from speech2vid.media import Signer

    return Signer(cert, key, alg)
