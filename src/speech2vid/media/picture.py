"""One decoded picture as an upright RGB array: colour matrix, pixel shape, display rotation."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorRange, Colorspace

from speech2vid.media.container import Frame, Stream, exact
from speech2vid.records import Image

HD_LINES = 720  # untagged video from here on is BT.709, below it is BT.601 (as players assume)
UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
MOST_UNEVEN_PIXEL = 4  # a pixel aspect ratio beyond 1:4 is a broken header

Matrix = tuple[int, int, int, int]  # a, b, c, d: x' = a x + c y, y' = b x + d y, 16.16 fixed point
UPRIGHT: Matrix = (1 << 16, 0, 0, 1 << 16)


def upright_rgb(frame: Frame, pixel_aspect: Fraction = Fraction(1)) -> Image:
    """(H, W, 3) uint8 RGB as a player shows it: rotated, mirrored, with square pixels. Any pixel format, 10-bit too."""
    hd = Colorspace.ITU709 if frame.height >= HD_LINES else Colorspace.ITU601
    rgb = frame.reformat(
        width=max(1, round(frame.width * pixel_aspect)),
        format="rgb24",
        src_colorspace=hd if frame.colorspace == UNSPECIFIED else None,
        dst_color_range=ColorRange.JPEG,
    )
    return turn(rgb.to_ndarray(), display_matrix(frame))


def pixel_aspect(stream: Stream) -> Fraction:
    """Width of a pixel over its height."""
    ratio = stream.sample_aspect_ratio
    if not ratio:
        return Fraction(1)
    ratio = exact(ratio)
    return ratio if Fraction(1, MOST_UNEVEN_PIXEL) <= ratio <= MOST_UNEVEN_PIXEL else Fraction(1)


def display_matrix(frame: Frame) -> Matrix:
    """How the file wants the picture turned for display (phones store portrait video lying on its side)."""
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    return a, b, c, d


def turn(image: Image, matrix: Matrix) -> Image:
    """Turn and mirror by the multiple of 90° nearest to ``matrix``."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, across, down = image.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    image = image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(image)


def clockwise_deg(matrix: Matrix) -> int:
    """The clockwise turn in ``matrix``: 0, 90, 180 or 270."""
    a, b, _, _ = matrix
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360
