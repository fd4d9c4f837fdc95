"""RGB → the planes that the encoder takes (4:2:0, BT.709, limited range): a whole image, or the part that changed."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from speech2vid.media.display import Frame
from speech2vid.types import Image

REACH = 4  # px round a changed part that the chroma filter sees and touches, even


class PlaneConverter:
    """Converts images for the encoder; keeps FFmpeg's tables between them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, image: Image) -> Frame:
        """(H, W, 3) uint8 RGB → a frame; odd sizes get their last column or row twice."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )


class Planes:
    """An image of which parts change.

    A part is converted with its surroundings, so that the planes are those of the whole image converted at once, bit
    for bit, for the price of the part.

    Args:
        image: (H, W, 3) uint8 RGB, the image to begin with.
    """

    def __init__(self, image: Image) -> None:
        height, width = self._size = image.shape[:2]
        self._rgb = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._convert = PlaneConverter()
        self._packed = np.asarray(self._convert(self._rgb).to_ndarray(), np.uint8)
        self._planes = _split(self._packed)

    def put(self, part: Image, left: int, top: int) -> None:
        """Lay (h, w, 3) uint8 RGB over the image, its upper left pixel at (left, top)."""
        height, width = self._size
        bottom, right = top + part.shape[0], left + part.shape[1]
        if part.ndim != 3 or part.shape[2] != 3 or part.dtype != np.uint8:
            raise ValueError(f"expected (h, w, 3) uint8, got {part.shape} {part.dtype}")
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(
                f"a part from ({left}, {top}) to ({right}, {bottom}) leaves the picture {width} × {height}"
            )
        self._rgb[top:bottom, left:right] = part
        if right == width:
            self._rgb[top:bottom, width:] = part[:, -1:]
        if bottom == height:
            self._rgb[height:] = self._rgb[height - 1]
        self._renew(left, top, right, bottom)

    def frame(self) -> Frame:
        """The image for the encoder, with planes of its own."""
        frame = av.VideoFrame.from_ndarray(self._packed, format="yuv420p")
        frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
        return frame

    def _renew(self, left: int, top: int, right: int, bottom: int) -> None:
        height, width = self._rgb.shape[:2]

        def widened(by: int) -> tuple[int, int, int, int]:
            low_x, low_y = max(0, left - by) // 2 * 2, max(0, top - by) // 2 * 2
            return low_x, low_y, min(width, (right + by + 1) // 2 * 2), min(height, (bottom + by + 1) // 2 * 2)

        seen, touched = widened(2 * REACH), widened(REACH)
        x, y = touched[0] - seen[0], touched[1] - seen[1]
        surroundings = self._convert(self._rgb[seen[1] : seen[3], seen[0] : seen[2]]).to_ndarray()
        converted = _split(np.asarray(surroundings, np.uint8))
        for plane, new, step in zip(self._planes, converted, (1, 2, 2), strict=True):
            target = plane[touched[1] // step : touched[3] // step, touched[0] // step : touched[2] // step]
            target[:] = new[y // step : y // step + target.shape[0], x // step : x // step + target.shape[1]]


def _split(packed: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Views of luma (h, w) and chroma (h/2, w/2) in PyAV's (3 h/2, w)."""
    height, width = packed.shape[0] // 3 * 2, packed.shape[1]
    luma, chroma = packed[:height], packed[height:].reshape(2, height // 2, width // 2)
    return [luma, chroma[0], chroma[1]]
