"""``speech2vid talk``: a photo and audio → a video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speech2vid.cli.options import with_options
from speech2vid.cli.output import JsonFlag, note, print_json, progress_bar
from speech2vid.cli.provenance import SignAlg, SignCert, SignKey, signer_of
from speech2vid.constants import Landmarks as LandmarksName
from speech2vid.inference.options import TalkOptions

if TYPE_CHECKING:
    from speech2vid.inference.result import VideoResult

Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Device for the networks.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="SET|DIR|FILE",
        help="Weights: a shipped set (default, paper), a folder such as the weights/ of a training, or a weight file.",
    ),
]
Landmarks = Annotated[
    LandmarksName,
    typer.Option(
        "--landmarks",
        help="Face detector and landmarks: paper (HOG and dlib's 68 points) or mesh (BlazeFace and MediaPipe's face "
        "mesh; finds faces at any tilt).",
    ),
]


@with_options(TalkOptions)
def talk(
    options: TalkOptions,
    face: Annotated[
        list[Path],
        typer.Option(
            "--face",
            metavar="IMG|VIDEO",
            help="Photo of the face. Repeat for up to five photos of one person, or give one video.",
        ),
    ],
    audio: Annotated[Path, typer.Option("--audio", metavar="FILE", help="Speech: any file with audio.")],
    outfile: Annotated[Path, typer.Option("--outfile", metavar="OUT.mp4", help="Output video: .mp4, .mov or .mkv.")],
    sign_cert: SignCert = None,
    sign_key: SignKey = None,
    sign_alg: SignAlg = None,
    as_json: JsonFlag = False,
) -> None:
    """Animate a face photo to speak an audio recording.

    The video has 25 frames per second and the size of the first photo. It is marked as synthetic.
    """
    from speech2vid.inference.talk import talk as make

    signer = signer_of(sign_cert, sign_key, sign_alg)
    with progress_bar(f"talk → {outfile.name}") as progress:
        result = make(face, audio, outfile, options, signer=signer, progress=progress)
    show(result, as_json=as_json)


def show(result: VideoResult, *, as_json: bool) -> None:
    """Print the notes, the output file and the speed."""
    for line in result.notes:
        note(line)
    if as_json:
        print_json(result.to_dict())
        return
    spent = sum(result.stage_seconds.values()) or 1.0
    shares = ", ".join(f"{stage} {seconds / spent:.0%}" for stage, seconds in result.stage_seconds.items())
    typer.echo(f"{result.outfile}: {result.frames} frames, {result.seconds:.2f} s")
    typer.echo(f"{result.fps_end_to_end:.1f} frames per second end to end; time spent: {shares}")
