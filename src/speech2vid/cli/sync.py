"""``speech2vid sync``: measure and correct the offset between audio and video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from fractions import Fraction

    from speech2vid.errors import FaceError
    from speech2vid.faces import SyncNetworks, face_models, measure_sync
    from speech2vid.faces.sync import CONFIDENT, SYNC
    from speech2vid.inference.talk import landmarker_notes
    from speech2vid.media import shift_audio

    models = face_models(landmarks)
    for each in landmarker_notes(weights, [SYNC], models):
        note(each)
    with progress_bar(f"sync {video.name}") as progress:
        measure = measure_sync(video, SyncNetworks(weights, device=device), progress, models)
    sure = measure.confidence >= CONFIDENT
    if not sure:
        note(f"confidence {measure.confidence:.2f} is below {CONFIDENT}: the visible face may not be the one speaking")
    if as_json:
        print_json(record(measure, sure))
    else:
        show(video, measure)
    if fix is not None:
        if not sure:
            raise FaceError(
                f"{fix} was not written: the offset of {video} could not be measured with confidence",
                "use a video in which the speaker's face is visible and roughly frontal",
            )
        notes: list[str] = []
        shift_audio(video, fix, Fraction(-round(1000 * measure.offset_s), 1000), notes)
        for each in notes:
            note(each)
        if not as_json:
            typer.echo(f"{fix}: audio shifted by {-measure.offset_s:+.2f} s")


def record(measure: SyncMeasure, sure: bool) -> dict[str, Any]:
    """Return the measurement as JSON values; the curve counts frames of 1/25 s."""
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
        typer.echo(f"{video}: the audio is {frames} {plural} ({abs(measure.offset_s):.2f} s) {word} than the video")
    else:
        typer.echo(f"{video}: audio and video are in sync")
    agree = float((abs(measure.window_offsets - measure.offset_s * FRAME_RATE_HZ) <= AGREE_FRAMES).mean())
    typer.echo(f"confidence {measure.confidence:.2f}; {agree:.0%} of {len(measure.starts)} one-second windows agree")
