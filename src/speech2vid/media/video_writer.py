"""One encode of H.264 video with its audio: a whole file or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import OutputError
from speech2vid.media.audio_track import AudioTrack
from speech2vid.media.containers import AnyOutput, container_of, open_output, output_errors, output_of, pending_output
from speech2vid.media.display import Frame
from speech2vid.media.media_file import MediaFile
from speech2vid.media.pixel_planes import PlaneConverter, Planes
from speech2vid.media.sources import AnyAudio, Source
from speech2vid.media.streams import find_audio, find_video
from speech2vid.media.synthetic_metadata import METADATA_KEY, synthetic_metadata_text
from speech2vid.media.visible_label import VisibleLabel
from speech2vid.types import Image

AUDIO_AHEAD_S = 1  # the sound is written this far ahead of the picture, to lie close to it in the file


class VideoWriter:
    """Write a video: H.264 yuv420p (BT.709), AAC, playable while it loads, marked as synthetic.

    The frames go to a hidden file near ``outfile``, which takes its name when ``close`` has succeeded; on any failure
    the hidden file is removed and an existing ``outfile`` stays as it was. Use it as a context manager: leaving the
    block with an exception (Ctrl-C too) discards, leaving it normally closes.

    A frame of odd width or height gets its last column or row twice, because H.264 4:2:0 needs even sizes.

    Args:
        outfile: ends in .mp4, .mov or .mkv, in a folder that exists; or a binary file object, which gets an MP4 file.
        width_px: width of the frames.
        height_px: height of the frames.
        frame_rate_hz: exact frame rate.
        audio_source: file whose audio goes into the video from time 0 on (see ``read_audio``), at its own rate and
            channels; AAC is copied, anything else becomes AAC of 192 kb/s or more. None for a silent video.
        audio_limit_s: the audio ends here; None keeps all of it.
        audio_shift_s: the audio of ``audio_source``, counted from the first frame of its video, comes this much later.
            None: all of the audio from its first sample on, if that comes before the first frame.
        crf: quality of x264, 0 (lossless) to 51.
        preset: speed of x264, "ultrafast" to "veryslow".
        threads: of the encoder; 0 for one a core.
        synthetic: False only for files that hold nothing generated (a re-synchronised original).
        details: more facts for the mark, such as what made it.
        metadata: further container tags (title, language …).
        label: a small text in the corner of every frame that says it is synthetic.
        finish: called with the path of the complete hidden file, before it takes its name (to sign it).

    Raises:
        OutputError: unwritable or full disk, unknown suffix, no frame written.
        MediaError: ``audio_source`` has no readable audio.
    """

    def __init__(
        self,
        outfile: AnyOutput,
        width_px: int,
        height_px: int,
        frame_rate_hz: Fraction | int = FRAME_RATE_HZ,
        *,
        audio_source: AnyAudio | MediaFile | None = None,
        audio_limit_s: Fraction | float | None = None,
        audio_shift_s: Fraction | None = None,
        crf: int = 18,
        preset: str = "veryfast",
        threads: int = 0,
        synthetic: bool = True,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        label: bool = False,
        finish: Callable[[Source], None] | None = None,
    ) -> None:
        self.outfile = output_of(outfile)
        self.size = (height_px, width_px)
        self.frame_rate_hz = Fraction(frame_rate_hz)
        self.frames = 0
        self._label = VisibleLabel(width_px, height_px) if label else None
        self._finish = finish
        self._convert = PlaneConverter()
        self._planes: Planes | None = None
        self._whole: Image | None = None  # with a label, which lies on top
        self._packets = 0
        self._audio: AudioTrack | None = None
        self._output: Any = None
        self.container = container_of(self.outfile)
        self._pending = pending_output(self.outfile)
        try:
            with output_errors(self.outfile):
                self._output = open_output(self._pending, self.container)
                self._output.metadata.update(metadata or {})
                if synthetic:
                    self._output.metadata[METADATA_KEY] = synthetic_metadata_text(details)
                self._stream = self._add_h264(crf, preset, threads)
            if audio_source is not None:
                limit_s = None if audio_limit_s is None else Fraction(audio_limit_s)
                frame_s = 1 / self.frame_rate_hz
                self._audio = AudioTrack(
                    self._output,
                    self.container,
                    audio_source,
                    limit_s,
                    frame_s,
                    shift_s=audio_shift_s or Fraction(0),
                    complete=audio_shift_s is None,
                )
        except BaseException:
            self.discard()
            raise

    def _add_h264(self, crf: int, preset: str, threads: int) -> Any:
        height, width = self.size
        options = {"crf": str(crf), "preset": preset}
        stream = self._output.add_stream("libx264", rate=self.frame_rate_hz, options=options)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / self.frame_rate_hz
        context.thread_count = threads
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG
        return stream

    def write(self, image: Image) -> None:
        """Append one frame: (H, W, 3) uint8 RGB of the size given at the start."""
        self._check(image)
        self._encode(self._convert(image if self._label is None else self._label(image)))

    def prepare(self, image: Image) -> None:
        """Set what :meth:`write_part` lays its parts over, (H, W, 3) uint8 RGB; writes nothing."""
        self._check(image)
        self._planes = Planes(image)
        self._whole = None if self._label is None else image.copy()

    def write_part(self, part: Image, left: int, top: int) -> None:
        """Append the prepared frame with (h, w, 3) uint8 RGB laid over it at (left, top).

        Only that part is converted; it stays for the next part. The file is that of whole frames, bit for bit.
        """
        if self._planes is None:
            raise ValueError("no picture was prepared to lay a part over")
        if self._whole is None:
            self._planes.put(part, left, top)
            self._encode(self._planes.frame())
        else:
            self._whole[top : top + part.shape[0], left : left + part.shape[1]] = part
            self.write(self._whole)

    def _check(self, image: Image) -> None:
        if image.shape != (*self.size, 3) or image.dtype != np.uint8:
            raise ValueError(f"expected {(*self.size, 3)} uint8, got {image.shape} {image.dtype}")

    def _encode(self, frame: Frame) -> None:
        frame.pts = self.frames
        frame.time_base = 1 / self.frame_rate_hz
        self.frames += 1
        with output_errors(self.outfile):
            self._mux(self._stream.encode(frame))
            if self._audio is not None:
                self._audio.advance(self.frames / self.frame_rate_hz + AUDIO_AHEAD_S)

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._output is None:
            return
        try:
            if not self.frames:
                raise OutputError(f"no frame was generated for {self.outfile}", "nothing was written")
            with output_errors(self.outfile):
                self._mux(self._stream.encode(None))
                self._finish_streams()
                self._output.close()
                self._output = None
                self._verify()
                if self._finish is not None:
                    self._finish(self._pending.path)
                self._pending.commit()
        except BaseException:
            self.discard()
            raise

    def _finish_streams(self) -> None:
        """Write what is left of the other streams."""
        if self._audio is not None:
            self._audio.advance()
            self._audio.close()

    def discard(self) -> None:
        """Drop everything written so far; an existing ``outfile`` stays untouched."""
        if self._audio is not None:
            self._audio.close()
        if self._output is not None:
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                self._output.close()
            self._output = None
        self._pending.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _mux(self, packets: list[Any]) -> None:
        self._packets += len(packets)
        self._output.mux(packets)

    def _verify(self) -> None:
        """FFmpeg does not report a disk that fills up with the last bytes: count what can be read back."""
        with MediaFile(self._pending.path) as file, file.reading() as container:
            stream = find_video(container)
            found = sum(1 for packet in container.demux(stream) if packet.size and not packet.is_corrupt)
            whole = found == self._packets and (self._audio is None or find_audio(container) is not None)
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
