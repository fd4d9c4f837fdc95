"""A video's own frames at their own times, in the planes in which they are stored: nothing is lost on the way.

To change a part of a frame, look at it as RGB (:meth:`NativePicture.crop`) and add a difference
(:meth:`NativePicture.add`): what is not changed keeps its bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from speech2vid.media.display import HD_LINES, UNSPECIFIED, Display, Frame, turned
from speech2vid.media.media_file import MediaFile
from speech2vid.media.sources import AnyFile
from speech2vid.media.video_reader import timed_frames
from speech2vid.types import Image

Plane = NDArray[Any]  # uint8 or uint16
Box = tuple[int, int, int, int]  # left, top, right, bottom; half-open, px of the frame as stored, upright

FORMATS = {8: "yuv420p", 10: "yuv420p10le"}
BT709 = 1  # of colour matrix, primaries and transfer
KR_KB = {1: (0.2126, 0.0722), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}  # AVColorSpace → weights
KR_KB_SD = (0.299, 0.114)


@dataclass(frozen=True)
class RawFormat:
    """How the frames of a video are stored.

    Attributes:
        width_px: of the stored frame, upright.
        height_px: likewise.
        pixel_aspect: width of a pixel over its height, upright.
        bits: 8 or 10 a sample; deeper video becomes 10, other layouts of colour become 4:2:0.
        tick_s: unit of the time stamps.
        rate_hz: mean frame rate, for the encoder.
        matrix, primaries, transfer, full_range: colour tags, FFmpeg's numbers; 2 is "unspecified".
    """

    width_px: int
    height_px: int
    pixel_aspect: Fraction
    bits: int
    tick_s: Fraction
    rate_hz: Fraction
    matrix: int
    primaries: int
    transfer: int
    full_range: bool

    @property
    def yuv_of_rgb(self) -> NDArray[np.float32]:
        """(3, 3): a difference of RGB, 0–255 → of Y, U, V in stored units."""
        kr, kb = KR_KB.get(self.matrix, KR_KB_SD)
        if self.matrix == UNSPECIFIED and self.height_px >= HD_LINES:
            kr, kb = KR_KB[1]
        y = np.array([kr, 1 - kr - kb, kb])
        u, v = (np.array([0, 0, 1]) - y) / (2 * (1 - kb)), (np.array([1, 0, 0]) - y) / (2 * (1 - kr))
        luma, chroma = (1.0, 1.0) if self.full_range else (219 / 255, 224 / 255)
        unit = 2.0 ** (self.bits - 8)
        return np.asarray(np.stack([y * luma, u * chroma, v * chroma]) * unit, np.float32)

    @property
    def black(self) -> float:
        """Y of black in stored units."""
        return 0.0 if self.full_range else 16.0 * 2 ** (self.bits - 8)


class RawFrame:
    """One frame.

    Attributes:
        index: from 0.
        ticks: presentation time after the first frame, in units of ``format.tick_s``.
        duration: in the same units.
        planes: Y (H, W), U and V (⌈H/2⌉, ⌈W/2⌉), uint8 or uint16. They may be memory of the decoder: not to be written.
    """

    def __init__(
        self, index: int, ticks: int, duration: int, frame: Frame, layout: RawFormat, display: Display
    ) -> None:
        self.index, self.ticks, self.duration, self.format = index, ticks, duration, layout
        self._frame, self._display = frame, display
        self.planes = [turned(plane, display.matrix) for plane in _planes(frame, layout.bits)]

    @property
    def start_s(self) -> Fraction:
        return self.ticks * self.format.tick_s

    def copy(self) -> RawFrame:
        """The same frame: changes of one do not show in the other."""
        other = copy.copy(self)
        other.planes = list(self.planes)
        return other

    @property
    def middle_s(self) -> float:
        """The middle of its time on screen."""
        return float((self.ticks + Fraction(self.duration, 2)) * self.format.tick_s)

    def shown(self, longest_px: int | None = None) -> Image:
        """(h, w, 3) uint8 RGB as a player shows it, made smaller where its longer side is longer."""
        return self._display.rgb(self._frame, longest_px)

    def crop(self, box: Box) -> Image:
        """A part of the stored frame, (h, w, 3) uint8 RGB. The box lies within the frame and has even corners."""
        rgb = self._rgb(box)
        tone_map = self._display.tone_map
        if tone_map is not None:
            return tone_map.sdr(np.rint(rgb.clip(0, 255) * np.float32(257)).astype(np.uint16))
        return np.asarray(np.rint(rgb).clip(0, 255), np.uint8)

    def _rgb(self, box: Box) -> NDArray[np.float32]:
        """Code values of red, green and blue, 0–255."""
        left, top, right, bottom = box
        luma = self.planes[0][top:bottom, left:right].astype(np.float32)
        height, width = luma.shape
        halves = np.s_[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
        middle = 2.0 ** (self.format.bits - 1)
        yuv = [luma - self.format.black]
        for plane in self.planes[1:]:
            half = plane[halves].astype(np.float32) - middle
            whole = cv2.resize(half, (2 * half.shape[1], 2 * half.shape[0]), interpolation=cv2.INTER_LINEAR)
            yuv.append(np.asarray(whole[:height, :width], np.float32))
        return np.asarray(cv2.transform(cv2.merge(yuv), np.linalg.inv(self.format.yuv_of_rgb)), np.float32)

    def add(self, box: Box, difference: NDArray[np.float32]) -> None:
        """Change a part: ``difference`` (h, w, 3) is added to its RGB. Where it is 0 the stored bytes stay."""
        left, top, right, bottom = box
        height, width = bottom - top, right - left
        tone_map = self._display.tone_map
        if tone_map is not None:  # the change of code values that looks like this change of SDR
            before = self.crop(box).astype(np.float32)
            wanted, shown = (tone_map.codes(np.asarray(sdr / 255, np.float32)) for sdr in (before + difference, before))
            difference = np.asarray(255 * (wanted - shown), np.float32)
        yuv = cv2.transform(difference, self.format.yuv_of_rgb)
        even = cv2.copyMakeBorder(yuv, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        chroma = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        halves = np.s_[top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
        places = [np.s_[top:bottom, left:right], halves, halves]
        most = 2**self.format.bits - 1
        for number, (place, change) in enumerate(
            zip(places, [yuv[..., 0], chroma[..., 1], chroma[..., 2]], strict=True)
        ):
            plane = self.planes[number].copy()
            plane[place] = np.rint(plane[place] + change).clip(0, most).astype(plane.dtype)
            self.planes[number] = plane


class RawVideoReader:
    """Iterate over the frames of a video, streaming; every iteration starts again. Turned upright, not resized.

    Args:
        source: a path, or an open file, which stays open.

    Attributes:
        file: the open file.
        format: how the frames are stored.

    Raises:
        MediaError: no video stream, or nothing in it can be decoded. A damaged file gives what can be decoded.
    """

    def __init__(self, source: AnyFile | MediaFile) -> None:
        self.file = source if isinstance(source, MediaFile) else MediaFile(source)
        first = self.file.first_frame
        self._first = first
        sideways = first.display.clockwise_deg in (90, 270)
        aspect = first.display.pixel_aspect
        # What is stored as RGB has no matrix of its own: it becomes BT.709
        matrix, primaries, transfer = first.matrix, first.primaries, first.transfer
        if first.is_rgb:
            matrix = BT709
            primaries, transfer = (BT709 if tag == UNSPECIFIED else tag for tag in (primaries, transfer))
        self.format = RawFormat(
            first.height_px if sideways else first.width_px,
            first.width_px if sideways else first.height_px,
            1 / aspect if sideways else aspect,
            first.bits,
            first.tick_s,
            1 / first.usual_duration_s,
            matrix,
            primaries,
            transfer,
            first.full_range and not first.is_rgb,
        )

    def __iter__(self) -> Iterator[RawFrame]:
        tick_s = self.format.tick_s
        last = -1
        for index, (start_s, end_s, frame) in enumerate(timed_frames(self.file)):
            last = max(last + 1, round(start_s / tick_s))  # two frames at one time: one tick apart
            duration = max(1, round((end_s - start_s) / tick_s))
            yield RawFrame(index, last, duration, self._conformed(frame), self.format, self._first.display)

    def _conformed(self, frame: Frame) -> Frame:
        """Return the frame in 4:2:0 of the first frame's size: streams change midway."""
        wanted = FORMATS[self.format.bits]
        width, height = self._first.width_px, self._first.height_px
        same = frame.format.name in (wanted, wanted.replace("yuv", "yuvj"))
        if same and (frame.width, frame.height) == (width, height):
            return frame
        return frame.reformat(
            width,
            height,
            format=wanted,
            dst_colorspace=Colorspace.ITU709 if self._first.is_rgb else None,
            dst_color_range=ColorRange.JPEG if self.format.full_range else ColorRange.MPEG,
        )


def _planes(frame: Frame, bits: int) -> list[Plane]:
    kind: Any = np.uint8 if bits == 8 else np.uint16
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
        planes.append(rows[:, : plane.width])
    return planes


def frame_of(planes: list[Plane], bits: int) -> Any:
    """A frame for the encoder; an odd last row or column is doubled."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width + width % 2, height + height % 2, FORMATS[bits])
    for target, plane in zip(frame.planes, planes, strict=True):
        rows: Plane = np.frombuffer(memoryview(target), plane.dtype).reshape(target.height, -1)
        rows[: plane.shape[0], : plane.shape[1]] = plane
        rows[: plane.shape[0], plane.shape[1] : target.width] = plane[:, -1:]
        rows[plane.shape[0] :, : target.width] = rows[plane.shape[0] - 1, : target.width]
    return frame
