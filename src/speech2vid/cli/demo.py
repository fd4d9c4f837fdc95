"""``speech2vid demo``: ``talk`` on bundled inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.output import progress_bar
from speech2vid.cli.provenance import LabelFlag, SignAlg, SignCert, SignKey, signer_of
from speech2vid.cli.talk import show
from speech2vid.files import package_assets

FACE, SPEECH = "astronaut.jpg", "demo_speech.wav"


def demo(
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="Output video.")] = Path("talk.mp4"),
    label: LabelFlag = False,
    sign_cert: SignCert = None,
    sign_key: SignKey = None,
    sign_alg: SignAlg = None,
) -> None:
    """Generate a talking-face video, with head motion, from a bundled photo and a bundled synthetic voice."""
    from speech2vid.inference.talk import talk

    signer = signer_of(sign_cert, sign_key, sign_alg)
    assets = package_assets()
    typer.echo(f"face:  {assets / FACE} (NASA portrait of Eileen Collins, public domain)")
    typer.echo(f"audio: {assets / SPEECH} (synthetic voice, made with eSpeak NG)")
    with progress_bar(f"talk → {outfile.name}") as progress:
        result = talk(
            assets / FACE, assets / SPEECH, outfile, motion="natural", label=label, signer=signer, progress=progress
        )
    show(result, as_json=False)
