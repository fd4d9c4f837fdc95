"""One decoded image as an upright RGB array: colour matrix, pixel shape, display rotation."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from speech2vid.media.tone_map import ToneMap, tone_map_of
from speech2vid.types import Image

HD_LINES = 720  # untagged video from here on is BT.709, below it is BT.601 (as players assume)
UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
MOST_UNEVEN_PIXEL = 4  # a pixel aspect ratio beyond 1:4 is a broken header

Stream = Any  # av.VideoStream | av.AudioStream; PyAV's own types change between versions
Frame = Any  # av.VideoFrame | av.AudioFrame
T = TypeVar("T", bound=np.generic)
Matrix = tuple[int, int, int, int]  # a, b, c, d: x' = a x + c y, y' = b x + d y, in any unit


def exact(value: Any) -> Fraction:
    """Return a rational number of PyAV (``Fraction`` up to 18, ``AVRational`` from 19 on) as a ``Fraction``."""
    return Fraction(int(value.numerator), int(value.denominator))


@dataclass(frozen=True)
class Display:
    """How a stream wants to be shown.

    Attributes:
        pixel_aspect: width of a pixel over its height.
        matrix: turn and mirroring (phones store portrait video lying on its side).
    """

    pixel_aspect: Fraction
    matrix: Matrix
    tone_map: ToneMap | None = None

    @classmethod
    def of(cls, stream: Stream, frame: Frame) -> Display:
        """Read it from a stream and its first frame. Once a stream: PyAV ties a frame whose side data was looked at
        into a reference cycle, which keeps its memory until the next garbage collection."""
        tags = stream.codec_context
        tone_map = tone_map_of(int(tags.color_trc), int(tags.color_primaries))
        return cls(_pixel_aspect(stream), _matrix(frame), tone_map)

    @property
    def clockwise_deg(self) -> int:
        """The clockwise turn: 0, 90, 180 or 270."""
        a, b, _, _ = self.matrix
        return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360

    def rgb(self, frame: Frame, longest_px: int | None = None) -> Image:
        """(H, W, 3) uint8 RGB as a player shows it: turned, mirrored, square pixels. Any pixel format, 10-bit too.

        With ``longest_px``, it is made smaller (area average) where its longer side is longer.
        """
        hd = Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601
        width, height = frame.width * self.pixel_aspect, Fraction(frame.height)
        scale = min(Fraction(1), Fraction(longest_px or max(width, height)) / max(width, height))
        rgb = frame.reformat(
            width=max(1, round(width * scale)),
            height=max(1, round(height * scale)),
            interpolation=None if scale == 1 else Interpolation.AREA,
            format="rgb24" if self.tone_map is None else "rgb48le",
            src_colorspace=hd if frame.colorspace == UNSPECIFIED else None,
            dst_color_range=ColorRange.JPEG,
        )
        image = rgb.to_ndarray()
        return turned(image if self.tone_map is None else self.tone_map.sdr(image), self.matrix)


def _pixel_aspect(stream: Stream) -> Fraction:
    ratio = stream.sample_aspect_ratio
    if not ratio:
        return Fraction(1)
    ratio = exact(ratio)
    return ratio if Fraction(1, MOST_UNEVEN_PIXEL) <= ratio <= MOST_UNEVEN_PIXEL else Fraction(1)


def _matrix(frame: Frame) -> Matrix:
    try:
        data = frame.side_data.get(SideData.DISPLAYMATRIX)
    except ValueError:  # a kind of side data that PyAV has no name for
        return 1, 0, 0, 1
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    return a, b, c, d


def turned(image: NDArray[T], matrix: Matrix) -> NDArray[T]:
    """Turn and mirror (H, W[, C]) by the multiple of 90° nearest to ``matrix``."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, across, down = image.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])
