"""``speech2vid sync``: measure and correct the offset between audio and video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speech2vid.cli.output import JsonFlag, note, print_json, progress_bar
from speech2vid.cli.talk import Device, Landmarks, Weights

if TYPE_CHECKING:
    from speech2vid.faces import SyncMeasure

AGREE_FRAMES = 1  # of 1/25 s: the precision of one window


def sync(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video of a person speaking.")],
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", metavar="OUT.mp4", help="Also write the video with the offset corrected: .mp4, .mov or .mkv."
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    landmarks: Landmarks = "paper",
    as_json: JsonFlag = False,
) -> None:
    """Measure how far the audio lags behind the video, from the lips of the speakers.

    The offset is printed in seconds and in frames of the video; it is negative if the audio is early. --fix shifts the
    audio without re-encoding anything, and writes nothing if the measurement is not confident.
    """
    from speech2vid.faces.sync import CONFIDENT
    from speech2vid.inference.sync import correct
    from speech2vid.inference.sync import sync as measure_offset

    with progress_bar(f"sync {video.name}") as progress:
        found = measure_offset(video, weights=weights, device=device, landmarks=landmarks, progress=progress)
    for each in found.notes:
        note(each)
    if not found.sure:
        note(f"confidence {found.confidence:.2f} is below {CONFIDENT}: the visible face may not be the one speaking")
    if as_json:
        print_json(found.to_dict())
    else:
        show(video, found.measure)
    if fix is not None:
        for each in correct(video, found, fix):
            note(each)
        if not as_json:
            typer.echo(f"{fix}: audio shifted by {-found.offset_s:+.2f} s")


def show(video: Path, measure: SyncMeasure) -> None:
    """Print the measurement."""
    from speech2vid.constants import FRAME_RATE_HZ

    frames = abs(measure.offset_frames)
    word = "later" if measure.offset_s > 0 else "earlier"
    if frames:
        plural = "frames" if frames > 1 else "frame"
        typer.echo(f"{video}: the audio is {frames} {plural} ({abs(measure.offset_s):.2f} s) {word} than the video")
    else:
        typer.echo(f"{video}: audio and video are in sync")
    agree = float((abs(measure.window_offsets - measure.offset_s * FRAME_RATE_HZ) <= AGREE_FRAMES).mean())
    typer.echo(f"confidence {measure.confidence:.2f}; {agree:.0%} of {len(measure.starts)} one-second windows agree")
