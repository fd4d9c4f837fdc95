"""``speech2vid redub``: a video and new audio → the video in which the mouth follows the new audio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from speech2vid.cli.output import JsonFlag, progress_bar
from speech2vid.cli.provenance import LabelFlag, SignAlg, SignCert, SignKey, signer_of
from speech2vid.cli.talk import Crf, Device, Weights, show


def redub(
    video: Annotated[Path, typer.Option("--video", metavar="FILE", help="The video to re-dub.")],
    audio: Annotated[Path, typer.Option("--audio", metavar="FILE", help="What is said now: any file with audio.")],
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="The new video: .mp4, .mov or .mkv.")],
    blend: Annotated[
        Literal["network", "poisson"],
        typer.Option("--blend", help="How the new mouth is laid in: by the blending network or by Poisson editing."),
    ] = "poisson",
    region: Annotated[
        Literal["lower", "face"], typer.Option("--region", help="What --blend poisson may change of the face.")
    ] = "lower",
    length: Annotated[
        Literal["audio", "video", "shortest"],
        typer.Option(
            "--length",
            help="Output duration: audio, video or shortest. "
            "Past its end the video's last moments are played back and forth.",
        ),
    ] = "audio",
    face_index: Annotated[
        int | None,
        typer.Option(
            "--face-index",
            min=0,
            help="The person who speaks, numbered from 0 by appearance and from left to right "
            "(default: detected from the audio).",
        ),
    ] = None,
    speakers: Annotated[
        Path | None,
        typer.Option(
            "--speakers", metavar="MAP.toml", help="Which person says which recording; --audio is what is heard."
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", metavar="PNG", help="Only one picture with its new mouth, beside the old one."),
    ] = None,
    silence: Annotated[
        Literal["hold", "follow"],
        typer.Option("--silence", help="Where nobody speaks: hold the mouth closed, or follow all audio."),
    ] = "hold",
    crf: Crf = 18,
    device: Device = "auto",
    weights: Weights = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep what is found out about the video.")
    ] = False,
    label: LabelFlag = False,
    sign_cert: SignCert = None,
    sign_key: SignKey = None,
    sign_alg: SignAlg = None,
    as_json: JsonFlag = False,
) -> None:
    """Make the speaker of a video say another recording.

    Only the lower face of who speaks is changed. Size, frame times, colours, subtitles and further audio tracks of the
    video are kept; the new file carries a mark that it is synthetic. See docs/redub.md.
    """
    from speech2vid.inference.redub import redub as make

    signer = signer_of(sign_cert, sign_key, sign_alg)
    with progress_bar(f"redub → {outfile.name}") as progress:
        result = make(
            video,
            audio,
            outfile,
            blend=blend,
            region=region,
            length=length,
            face_index=face_index,
            speakers=speakers,
            silence=silence,
            crf=crf,
            device=device,
            weights=weights,
            cache=not no_cache,
            preview=preview,
            label=label,
            signer=signer,
            progress=progress,
        )
    show(result, as_json=as_json)
