"""One encode of changed frames at the source's size, times, depth and colour tags, with its other streams."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.media.container import exact, open_media
from speech2vid.media.kept_streams import KeptStreams
from speech2vid.media.raw_video import FORMATS, FULL_RANGE, RawFormat, RawFrame, frame_of
from speech2vid.media.video_writer import AUDIO_AHEAD_S, VideoWriter, output_errors

LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG
NOT_COPIED = {"comment", "encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}


class RawVideoWriter(VideoWriter):
    """Write frames of a :class:`~speech2vid.media.raw_video.RawVideoReader`, each at the time it is given.

    Args:
        outfile: as for :class:`VideoWriter`, whose promises hold here too.
        like: format of the frames.
        audio_source, audio_limit_s, crf, preset, threads, details, label, finish: as for :class:`VideoWriter`.
        keep: a video whose other streams (subtitles, all audio but the first), chapters and tags are kept.
        keep_limit_s: streams and chapters stop here.

    Attributes:
        left_out: streams that the container cannot hold, in words.
    """

    def __init__(
        self,
        outfile: str | Path,
        like: RawFormat,
        *,
        audio_source: str | Path | None = None,
        audio_limit_s: Fraction | None = None,
        keep: Path | None = None,
        keep_limit_s: Fraction | None = None,
        **settings: Any,
    ) -> None:
        self._like = like
        self._kept: KeptStreams | None = None
        tags = {} if keep is None else _tags(keep)
        super().__init__(
            outfile,
            like.width_px,
            like.height_px,
            like.rate_hz,
            audio_source=audio_source,
            audio_limit_s=audio_limit_s,
            metadata=tags,
            **settings,
        )
        if keep is not None:
            try:
                with output_errors(self.outfile):
                    self._kept = KeptStreams(self._output, keep, keep_limit_s)
                    self._output.set_chapters(_chapters(keep, keep_limit_s))
            except BaseException:
                self.discard()
                raise

    @property
    def left_out(self) -> list[str]:
        return [] if self._kept is None else self._kept.left_out

    def _add_h264(self, crf: int, preset: str, threads: int) -> Any:
        stream = super()._add_h264(crf, preset, threads)
        context = stream.codec_context
        like = self._like
        stream.pix_fmt = FORMATS[like.bits]
        context.time_base = like.tick_s
        context.colorspace, context.color_primaries, context.color_trc = like.matrix, like.primaries, like.transfer
        context.color_range = FULL_RANGE if like.full_range else LIMITED_RANGE
        if like.pixel_aspect != 1:
            context.sample_aspect_ratio = like.pixel_aspect
        return stream

    def write_frame(self, raw_frame: RawFrame, ticks: int) -> None:
        """Append a frame, to be shown from ``ticks`` (of the format's unit) on for as long as its source was."""
        if self._label is not None:
            raw_frame, under = raw_frame.copy(), raw_frame.crop(self._label.box)
            raw_frame.add(self._label.box, self._label.corner(under) - under)
        frame = frame_of(raw_frame.planes, self._like.bits)
        frame.pts, frame.duration, frame.time_base = ticks, raw_frame.duration, self._like.tick_s
        self.frames += 1
        until_s = (ticks + raw_frame.duration) * self._like.tick_s + AUDIO_AHEAD_S
        with output_errors(self.outfile):
            self._mux(self._stream.encode(frame))
            if self._audio is not None:
                self._audio.advance(until_s)
            if self._kept is not None:
                self._kept.advance(until_s)

    def _finish_streams(self) -> None:
        super()._finish_streams()
        if self._kept is not None:
            self._kept.advance()
            self._kept.close()

    def discard(self) -> None:
        """Drop everything written so far; an existing ``outfile`` stays untouched."""
        if self._kept is not None:
            self._kept.close()
        super().discard()


def _tags(source: Path) -> dict[str, str]:
    """Title, language and the like."""
    with open_media(source) as container:
        return {key: text for key, text in container.metadata.items() if key.lower() not in NOT_COPIED}


def _chapters(source: Path, limit_s: Fraction | None) -> list[Any]:
    """Those that begin before the end; the last one ends there."""
    with open_media(source) as container:
        chapters = container.chapters()
    kept = []
    for chapter in chapters:
        ticks = None if limit_s is None else round(limit_s / exact(chapter["time_base"]))
        if ticks is None or chapter["start"] < ticks:
            kept.append(chapter if ticks is None else {**chapter, "end": min(chapter["end"], ticks)})
    return kept
