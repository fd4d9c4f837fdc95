"""``speech2vid redub``: a video and new audio → the same video with the mouth following the new audio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from speech2vid.cli.output import JsonFlag, progress_bar
from speech2vid.cli.provenance import LabelFlag, SignAlg, SignCert, SignKey, signer_of
from speech2vid.cli.talk import Crf, Device, Weights, show


def redub(
    video: Annotated[Path, typer.Option("--video", metavar="FILE", help="Video to re-dub.")],
    audio: Annotated[Path, typer.Option("--audio", metavar="FILE", help="New speech: any file with audio.")],
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="Output video: .mp4, .mov or .mkv.")],
    blend: Annotated[
        Literal["network", "poisson"],
        typer.Option(
            "--blend", help="How to blend the new mouth into the frame: Poisson editing or the blending network."
        ),
    ] = "poisson",
    region: Annotated[
        Literal["lower", "face"],
        typer.Option("--region", help="Region that --blend poisson may change: the lower face or the whole face."),
    ] = "lower",
    length: Annotated[
        Literal["audio", "video", "shortest"],
        typer.Option(
            "--length",
            help="Output duration: audio, video or shortest. "
            "If the audio is longer than the video, the last seconds of the video play back and forth.",
        ),
    ] = "audio",
    face_index: Annotated[
        int | None,
        typer.Option(
            "--face-index",
            min=0,
            help="Person to re-dub, numbered from 0 in order of appearance, then left to right "
            "(default: detected from the audio).",
        ),
    ] = None,
    speakers: Annotated[
        Path | None,
        typer.Option(
            "--speakers",
            metavar="MAP.toml",
            help="TOML file that assigns a recording to each speaker; --audio is what is heard.",
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview", metavar="PNG", help="Write a before-and-after image of a single frame instead of a video."
        ),
    ] = None,
    silence: Annotated[
        Literal["hold", "follow"],
        typer.Option("--silence", help="In silence, keep the mouth closed (hold) or follow all audio (follow)."),
    ] = "hold",
    crf: Crf = 18,
    device: Device = "auto",
    weights: Weights = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Do not read or write the cached analysis of the video.")
    ] = False,
    label: LabelFlag = False,
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
