"""``speech2vid redub``: a video and new audio → the video in which the mouth follows the new audio."""

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
    video: Annotated[Path, typer.Option("--video", metavar="FILE", help="The video to re-dub.")],
    audio: Annotated[Path, typer.Option("--audio", metavar="FILE", help="What is said now: any file with audio.")],
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="The new video: .mp4, .mov or .mkv.")],
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep what is found out about the video.")
    ] = False,
    sign_cert: SignCert = None,
    sign_key: SignKey = None,
    sign_alg: SignAlg = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the speaker of a video say another recording.

    Only the face of who speaks is changed. Size, frame times, colours, subtitles and further audio tracks of the video
    are kept; the new file carries a mark that it is synthetic. See docs/redub.md.
    """
    from speech2vid.inference.redub import redub as make

    signer = signer_of(sign_cert, sign_key, sign_alg)
    chosen = replace(options, cache=not no_cache)
    with progress_bar(f"redub → {outfile.name}") as progress:
        result = make(video, audio, outfile, chosen, signer=signer, progress=progress)
    show(result, as_json=as_json)
