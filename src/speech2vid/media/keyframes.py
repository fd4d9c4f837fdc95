"""A quick look into a video: its key frames alone, the frames between them never decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from speech2vid.media.container import decode, find_video, first_frame, open_media
from speech2vid.media.display import Display
from speech2vid.types import Image


def read_keyframes(path: str | Path) -> Iterator[Image]:
    """The key frames of a video, (H, W, 3) uint8 RGB, upright; none where there is no video stream.

    Raises:
        MediaError: nothing in the file can be decoded.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = find_video(container)
        if stream is None:
            return
        display = Display.of(stream, first_frame(container, stream, path))
    with open_media(path) as container:
        stream = find_video(container)
        assert stream is not None
        stream.codec_context.skip_frame = "NONKEY"
        for frame in decode(container, stream, path):
            yield display.rgb(frame)
