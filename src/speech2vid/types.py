"""Typed values that pass between layers. Arrays state shape, dtype, range and colour order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (H, W, 3) RGB, 0–255
Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB, 0–255
Points = NDArray[np.float32]  # (..., 2) x, y in pixels; pixel centres at whole numbers
Affine = NDArray[np.float64]  # (2, 3) maps source pixels to destination pixels
Floats = NDArray[np.float32]  # any shape
Waveform = NDArray[np.float32]  # (N,) mono, -1–1, at SAMPLE_RATE_HZ unless said otherwise


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds, after rotation. Missing streams have ``None`` or 0."""

    path: Path
    duration_s: float
    has_video: bool
    has_audio: bool
    width_px: int = 0
    height_px: int = 0
    frame_rate_hz: Fraction | None = None
    rotation_deg: int = 0
    video_codec: str = ""
    pixel_format: str = ""
    audio_codec: str = ""
    audio_rate_hz: int = 0
    audio_channels: int = 0


@dataclass(frozen=True)
class VideoFrame:
    """One frame on the output grid: ``time_s`` is the grid time, ``image`` (H, W, 3) uint8 RGB, rotation applied."""

    index: int
    time_s: Fraction
    image: Image


@dataclass(frozen=True)
class FaceBox:
    """Axis-aligned box of a detected face in source pixels, half-open.

    Attributes:
        score: of the detector.
        roll_deg: tilt of the face, −180–180°, positive clockwise as seen; 0 for a detector of upright faces.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float = 0.0
    roll_deg: float = 0.0

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


@dataclass(frozen=True)
class Face:
    """A face found in an image.

    Attributes:
        box: detection in source pixels.
        landmarks: (68, 2) float32, source pixels.
    """

    box: FaceBox
    landmarks: Points


@dataclass(frozen=True)
class AlignedFace:
    """A registered face (Sect. 4).

    Attributes:
        image: (112, 112, 3) uint8 RGB.
        landmarks: (68, 2) float32 in the 112 px frame.
        transform: (2, 3) float64, source pixels → 112 px frame (similarity, no reflection).
    """

    image: Image
    landmarks: Points
    transform: Affine
