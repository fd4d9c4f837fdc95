"""By how much the audio of a video is late, and the same video with that corrected."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.constants import FRAME_RATE_HZ, Landmarks
from speech2vid.errors import FaceError
from speech2vid.faces import SyncMeasure, SyncNetworks, face_models, measure_sync
from speech2vid.faces.sync import CONFIDENT, OFFSETS, SYNC
from speech2vid.inference.options import AnyPath, Device, Engine
from speech2vid.inference.use_notes import landmarker_notes
from speech2vid.media import AnyFile, AnyOutput, Source, shift_audio, source_of
from speech2vid.progress import Progress


@dataclass(frozen=True)
class SyncResult:
    """What ``sync`` found.

    Attributes:
        offset_s: positive where the audio is later than the video.
        offset_frames: the same in frames of the video, rounded.
        confidence: 0–2.
        sure: whether the confidence is high enough to correct the video.
        measure: the whole measurement: curve and windows.
        notes: what the user should know, one line each.
    """

    measure: SyncMeasure
    notes: tuple[str, ...] = ()

    @property
    def offset_s(self) -> float:
        return self.measure.offset_s

    @property
    def offset_frames(self) -> int:
        return self.measure.offset_frames

    @property
    def confidence(self) -> float:
        return self.measure.confidence

    @property
    def sure(self) -> bool:
        return self.measure.confidence >= CONFIDENT

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON values; the curve counts frames of 1/25 s."""
        measure = self.measure
        windows = zip(measure.starts, measure.window_offsets, measure.window_confidences, strict=True)
        return {
            "offset_frames": measure.offset_frames,
            "offset_s": round(measure.offset_s, 3),
            "frame_rate_hz": round(float(measure.frame_rate_hz), 3),
            "confidence": round(measure.confidence, 4),
            "sure": self.sure,
            "curve": {
                int(offset): round(float(value), 4) for offset, value in zip(OFFSETS, measure.curve, strict=True)
            },
            "windows": [
                {
                    "start_s": int(start) / FRAME_RATE_HZ,
                    "offset_s": round(float(offset) / FRAME_RATE_HZ, 3),
                    "confidence": round(float(confidence), 4),
                }
                for start, offset, confidence in windows
            ],
        }


def sync(
    video: AnyFile,
    fix: AnyOutput | None = None,
    *,
    networks: SyncNetworks | None = None,
    weights: AnyPath | None = None,
    device: Device = "auto",
    engine: Engine = "onnx",
    landmarks: Landmarks = "paper",
    progress: Progress | None = None,
) -> SyncResult:
    """Measure how far the audio of a video lags behind its image, from the lips of the speakers.

    Args:
        video: a path, bytes or a binary file object.
        fix: also write the video with the offset corrected, nothing encoded again where that is possible: .mp4, .mov or
            .mkv, or a binary file object, which gets an MP4 file.
        networks: loaded before, instead of ``weights``, ``device`` and ``engine``.
        weights: a shipped set, a folder or a file; None for the default set.
        device: ``auto``, ``cpu`` or ``cuda``.
        engine: ``onnx`` or ``torch``.
        landmarks: ``paper`` or ``mesh``.
        progress: called with the number of frames done (25 a second), and None.

    Raises:
        MediaError: the file cannot be read, or lacks image or audio.
        FaceError: no face is visible for a second with audio; or ``fix`` and the measurement is not sure.
        Speech2VidError: OutputError, WeightsError or ConfigError.
    """
    source, models = source_of(video, "video"), face_models(landmarks)
    notes = landmarker_notes(weights, [SYNC], models)
    networks = networks or SyncNetworks(None if weights is None else str(weights), device=device, engine=engine)
    found = SyncResult(measure_sync(source, networks, progress, models), tuple(notes))
    if fix is None:
        return found
    return SyncResult(found.measure, (*found.notes, *correct(source, found, fix)))


def correct(video: Source, found: SyncResult, outfile: AnyOutput) -> list[str]:
    """Write a video with its measured offset corrected; return what the user should know.

    Raises:
        FaceError: the measurement is not sure. OutputError: it cannot be written.
    """
    if not found.sure:
        name = outfile if isinstance(outfile, str | Path) else "a corrected video"
        raise FaceError(
            f"{name} was not written: the offset of {video} could not be measured with confidence",
            "use a video in which the speaker's face is visible and roughly frontal",
        )
    notes: list[str] = []
    shift_audio(video, outfile, Fraction(-round(1000 * found.offset_s), 1000), notes)
    return notes
