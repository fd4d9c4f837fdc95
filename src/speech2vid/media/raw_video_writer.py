"""One encode of changed frames at the source's size, times, depth and colour tags, with its other streams."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from speech2vid.media.containers import AnyOutput, output_errors
from speech2vid.media.display import exact
from speech2vid.media.media_file import FULL_RANGE, MediaFile
from speech2vid.media.packets import KeptStreams
from speech2vid.media.raw_video import FORMATS, RawFormat, RawFrame, frame_of
from speech2vid.media.sources import AnyAudio
from speech2vid.media.video_writer import AUDIO_AHEAD_S, VideoWriter

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
        keep_comment: keep the comment too, which says whether a video is synthetic: for one that is not changed.

    Attributes:
        left_out: streams that the container cannot hold, in words.
    """

    def __init__(
        self,
        outfile: AnyOutput,
        like: RawFormat,
        *,
        audio_source: AnyAudio | MediaFile | None = None,
        audio_limit_s: Fraction | None = None,
        keep: MediaFile | None = None,
        keep_limit_s: Fraction | None = None,
        keep_comment: bool = False,
        **settings: Any,
    ) -> None:
        self._like = like
        self._kept: KeptStreams | None = None
        dropped = NOT_COPIED - {"comment"} if keep_comment else NOT_COPIED
        tags = {} if keep is None else {k: text for k, text in keep.tags.items() if k.lower() not in dropped}
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
                    self._kept = KeptStreams(self._output, self.container, keep, keep_limit_s)
                    self._output.set_chapters(shifted_chapters(keep, keep_limit_s))
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


def shifted_chapters(source: MediaFile, limit_s: Fraction | None = None) -> list[Any]:
    """Return the chapters of a video that begin before the end, counted from its start.

    They are counted from 0 where the video starts within the first second: what a muxer adds there, to let B-frames be
    decoded ahead, it doesn't add to chapters.
    """
    start_s = source.video_start_s or Fraction(0)
    start_s = Fraction(0) if abs(start_s) < 1 else start_s
    kept = []
    for chapter in source.chapters:
        tick_s = exact(chapter["time_base"])
        origin = round(start_s / tick_s)
        start, end = max(0, chapter["start"] - origin), chapter["end"] - origin
        if limit_s is not None:
            end = min(end, round(limit_s / tick_s))
        if start < end:
            kept.append({**chapter, "start": start, "end": end})
    return kept
