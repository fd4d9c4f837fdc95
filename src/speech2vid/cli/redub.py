"""``speech2vid redub``: a video and new audio → the same video with the mouth following the new audio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from speech2vid.cli.options import with_options
from speech2vid.cli.output import JsonFlag, progress_bar
from speech2vid.cli.provenance import SignAlg, SignCert, SignKey, signer_of
from speech2vid.cli.talk import show
from speech2vid.inference.options import RedubOptions


@with_options(RedubOptions)
def redub(
    options: RedubOptions,
    video: Annotated[Path, typer.Option("--video", metavar="FILE", help="Video to re-dub.")],
    audio: Annotated[Path, typer.Option("--audio", metavar="FILE", help="New speech: any file with audio.")],
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="Output video: .mp4, .mov or .mkv.")],
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not read or write the cached analysis of the video.")
    ] = False,
    sign_cert: SignCert = None,
    sign_key: SignKey = None,
    sign_alg: SignAlg = None,
    as_json: JsonFlag = False,
) -> None:
    """Re-dub a video: make its speaker's mouth follow a new recording.

    Only the lower face of the speaker changes. Frame size, frame times, colours, subtitles and additional audio tracks
    are kept. The output is marked as synthetic. See docs/redub.md.
    """
    from speech2vid.inference.redub import redub as make

    signer = signer_of(sign_cert, sign_key, sign_alg)
    chosen = replace(options, cache=not no_cache)
    with progress_bar(f"redub → {outfile.name}") as progress:
        result = make(video, audio, outfile, chosen, signer=signer, progress=progress)
    show(result, as_json=as_json)
