"""``speech2vid sync``: by how much is the audio late, and the file without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech2vid.cli.output import JsonFlag, note, print_json, progress_bar

if TYPE_CHECKING:
    from speech2vid.faces import SyncMeasure

AGREE_FRAMES = 1  # of 1/25 s: as near as a window can be expected to tell


def sync(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video of somebody who speaks.")],
    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix", metavar="OUT.mp4", help="Write the video with its audio moved into place: .mp4, .mov or .mkv."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="DIR", help="Folder of weight files instead of the package's own."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure by how much the audio is later than the video, from the lips of those who speak.

    Counted in seconds and in the video's own frames; negative where the audio is early. With --fix nothing is encoded
    again. Nothing is written when the measurement is not sure.
    """
    from fractions import Fraction

    from speech2vid.errors import FaceError
    from speech2vid.faces import SyncNetworks, measure_sync
    from speech2vid.faces.sync import CONFIDENT
    from speech2vid.media import shift_audio

    with progress_bar(f"sync {video.name}") as progress:
        measure = measure_sync(video, SyncNetworks(weights), progress)
    sure = measure.confidence >= CONFIDENT
    if not sure:
        note(f"confidence {measure.confidence:.2f} is below {CONFIDENT}: the lips may not be those of the voice")
    if as_json:
        print_json(record(measure, sure))
    else:
        show(video, measure)
    if fix is not None:
        if not sure:
            raise FaceError(
                f"{fix} was not written: the offset of {video} is not sure", "the speaker's face must be seen"
            )
        notes: list[str] = []
        shift_audio(video, fix, Fraction(-round(1000 * measure.offset_s), 1000), notes)
        for each in notes:
            note(each)
        if not as_json:
            typer.echo(f"{fix}: the audio moved by {-measure.offset_s:+.2f} s")


def record(measure: SyncMeasure, sure: bool) -> dict[str, Any]:
    """The measurement as JSON values; the curve is over frames of 1/25 s."""
    from speech2vid.constants import FRAME_RATE_HZ
    from speech2vid.faces.sync import OFFSETS

    windows = zip(measure.starts, measure.window_offsets, measure.window_confidences, strict=True)
    return {
        "offset_frames": measure.offset_frames,
        "offset_s": round(measure.offset_s, 3),
        "frame_rate_hz": round(float(measure.frame_rate_hz), 3),
        "confidence": round(measure.confidence, 4),
        "sure": sure,
        "curve": {int(offset): round(float(value), 4) for offset, value in zip(OFFSETS, measure.curve, strict=True)},
        "windows": [
            {
                "start_s": int(start) / FRAME_RATE_HZ,
                "offset_s": round(float(offset) / FRAME_RATE_HZ, 3),
                "confidence": round(float(confidence), 4),
            }
            for start, offset, confidence in windows
        ],
    }


def show(video: Path, measure: SyncMeasure) -> None:
    """Print the measurement."""
    from speech2vid.constants import FRAME_RATE_HZ

    frames = abs(measure.offset_frames)
    word = "later" if measure.offset_s > 0 else "earlier"
    if frames:
        plural = "frames" if frames > 1 else "frame"
        typer.echo(f"{video}: the audio is {frames} {plural} ({abs(measure.offset_s):.2f} s) {word} than the picture")
    else:
        typer.echo(f"{video}: audio and picture are in step")
    agree = float((abs(measure.window_offsets - measure.offset_s * FRAME_RATE_HZ) <= AGREE_FRAMES).mean())
    typer.echo(f"confidence {measure.confidence:.2f}; {agree:.0%} of {len(measure.starts)} one-second windows agree")
