"""``speech2vid talk``: photo and audio → video."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speech2vid.cli.output import JsonFlag, note, print_json, progress_bar
from speech2vid.cli.provenance import LabelFlag, SignAlg, SignCert, SignKey, signer_of
from speech2vid.errors import MissingExtraError

if TYPE_CHECKING:
    from speech2vid.inference.redub import RedubResult
    from speech2vid.inference.talk import TalkResult
    from speech2vid.inference.talkers.warp import TalkerNetworks

Crf = Annotated[int, typer.Option("--crf", min=0, max=51, help="H.264 quality: 0 is lossless, 51 is worst.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Device that runs the networks.")]
AnyDevice = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option("--device", help="Device that runs the networks. mps (Apple) needs --engine torch."),
]
Engine = Annotated[
    Literal["onnx", "torch"],
    typer.Option("--engine", help="Runtime for the networks: ONNX Runtime, or PyTorch (extra `train`)."),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="DIR", help="Folder of weight files (default: the bundled weights).")
]


def talk(
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
    crop: Annotated[
        bool, typer.Option("--crop", help="Output only the aligned face instead of the whole image.")
    ] = False,
    silence: Annotated[
        Literal["hold", "follow"],
        typer.Option("--silence", help="In silence, keep the mouth closed (hold) or follow all audio (follow)."),
    ] = "hold",
    face_index: Annotated[
        int | None,
        typer.Option(
            "--face-index",
            min=0,
            help="Which face to animate, counted from the left, starting at 0 (default: the largest).",
        ),
    ] = None,
    crf: Crf = 18,
    max_size_px: Annotated[
        int, typer.Option("--max-size", min=64, metavar="PX", help="Maximum length of the longer side of the video.")
    ] = 1920,
    engine: Engine = "onnx",
    device: AnyDevice = "auto",
    weights: Weights = None,
    label: LabelFlag = False,
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

    networks = torch_networks(weights, device) if engine == "torch" else None
    with progress_bar(f"talk → {outfile.name}") as progress:
        result = make(
            face,
            audio,
            outfile,
            crop=crop,
            silence=silence,
            face_index=face_index,
            crf=crf,
            max_size_px=max_size_px,
            device=device,
            weights=weights,
            networks=networks,
            label=label,
            signer=signer,
            progress=progress,
        )
    show(result, as_json=as_json)


def torch_networks(weights: Path | None, device: str) -> TalkerNetworks:
    """Return the talker's networks on PyTorch."""
    if find_spec("torch") is None:
        raise MissingExtraError("--engine torch needs PyTorch", "install the extra: pip install 'speech2vid[train]'")
    from speech2vid.inference.talkers.warp import TalkerNetworks
    from speech2vid.runtime.torch import torch_loader

    return TalkerNetworks(weights, load=torch_loader(device))


def show(result: TalkResult | RedubResult, *, as_json: bool) -> None:
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
