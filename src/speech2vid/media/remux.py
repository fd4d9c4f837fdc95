"""The same video and the same audio, moved against each other: packets are copied, as far as they can be."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

import av

from speech2vid.errors import MediaError, OutputError
from speech2vid.media.audio_track import AudioTrack
from speech2vid.media.containers import (
    AnyOutput,
    Container,
    Output,
    container_of,
    open_output,
    output_errors,
    output_of,
    pending_output,
)
from speech2vid.media.display import Stream, exact
from speech2vid.media.media_file import MediaFile, opened
from speech2vid.media.packets import COPIED_KINDS, codec_of, describe, is_audio_continuous
from speech2vid.media.raw_video import RawVideoReader
from speech2vid.media.raw_video_writer import RawVideoWriter, shifted_chapters
from speech2vid.media.sources import AnyFile, same_file
from speech2vid.media.streams import Packet, has_presentation_times, packets_of, require_audio, require_video

LEAD_IN_PACKETS = 2  # of audio from before the first frame are kept: a decoder needs them
OutputT = TypeVar("OutputT", bound=AnyOutput)
CRF = 12  # of video that has to be encoded again


def shift_audio(
    source: AnyFile | MediaFile, outfile: OutputT, shift_s: Fraction | float, notes: list[str] | None = None
) -> OutputT:
    """Copy a video with its audio moved in time, without encoding anything again where that is possible.

    Video, audio, subtitles, chapters, title and marks stay as they are; only the time stamps of the audio change. Time
    0 is the first frame that is shown. Audio that would come before it is dropped. Video or audio is encoded again
    where copied packets would show what the source hides (an edit list of several parts, or one that the container
    cannot express).

    Args:
        source: a path with video and audio, or an open file, which stays open.
        outfile: ends in .mp4, .mov or .mkv, and appears whole or not at all; or a binary file object.
        shift_s: the audio comes this much later; negative: earlier.
        notes: gets a sentence for each stream that is left out or encoded again.

    Returns:
        ``outfile``.

    Raises:
        MediaError: the source cannot be read, or lacks video or audio.
        OutputError: unwritable, unknown suffix, a codec that the container does not know, or the source itself.
    """
    target, notes, shift = output_of(outfile), [] if notes is None else notes, Fraction(shift_s)
    with opened(source) as file:
        if same_file(file.path, target):
            raise OutputError(f"{target} is also the input", "choose another output file")
        container = container_of(target)
        first = file.first_frame
        if not file.has_audio:
            raise MediaError(f"{file.path} has no audio stream", "give a video with audio")
        times = _video_times(file, container)
        if times is None:
            notes.append(
                f"the video of {file.path} was encoded again: copied to {container.suffix}, parts that it hides would "
                "be shown or its frames would be out of order"
            )
            _encode(file, target, shift, notes)
        else:
            _copy(file, target, container, times, first.start_s, shift, notes)
    return outfile


@dataclass(frozen=True)
class _Times:
    """Presentation and decoding times of the video packets in ticks, in decoding order; None: those of the packets."""

    pts: list[int] | None = None
    dts: list[int] | None = None


def _video_times(file: MediaFile, container: Container) -> _Times | None:
    """Return the times at which copied video packets are shown; None where copying shows something else."""
    pts: list[int | None] = []
    dts: list[int | None] = []
    shown = False
    with file.reading() as streams:
        stream = require_video(streams, file.path)
        timed = has_presentation_times(streams, stream)
        for packet in packets_of(streams, stream):
            if not packet.size:
                continue
            if packet.is_discard and (shown or not container.edit_lists):
                return None
            shown = shown or not packet.is_discard
            pts.append(packet.pts if timed else None)
            dts.append(packet.dts)
    presented, decoded = [at for at in pts if at is not None], [at for at in dts if at is not None]
    if len(presented) < len(pts):
        rising = len(decoded) == len(dts) and all(a < b for a, b in pairwise(decoded))
        return _ordered(file, decoded) if rising else None
    if len(set(presented)) < len(presented):
        return None  # a clock that starts again
    if len(decoded) == len(dts) and all(a < b for a, b in pairwise(decoded)):
        return _Times()
    return _Times(presented, _decoding_times(presented))


def _decoding_times(pts: list[int]) -> list[int]:
    """Return rising decoding times, none after its packet is shown, for packets in decoding order."""
    rising = sorted(pts)
    delay = max(at - shown for at, shown in zip(rising, pts, strict=True))
    return [at - delay for at in rising]


def _ordered(file: MediaFile, decoding: list[int]) -> _Times | None:
    """Return the times of packets that have no presentation times, by decoding them.

    Each packet is numbered in place of its time; the decoder hands the numbers out in the order of presentation.
    """
    order: list[int] = []
    with file.reading() as streams:
        stream = require_video(streams, file.path)
        stream.thread_type = "AUTO"
        number = 0
        for packet in packets_of(streams, stream):
            if packet.size:
                packet.pts = packet.dts = number
                number += 1
            try:
                order.extend(frame.pts for frame in stream.decode(packet) if frame.pts is not None)
            except av.FFmpegError:
                return None
    if sorted(order) != list(range(len(decoding))):
        return None  # several frames in a packet, or packets without one
    pts = [0] * len(decoding)
    for place, number in enumerate(order):
        pts[number] = decoding[place]
    return _Times(pts, _decoding_times(pts))


def _encode(file: MediaFile, outfile: Output, shift_s: Fraction, notes: list[str]) -> None:
    """Write the frames that are shown, at their times, with everything else as it is."""
    reader = RawVideoReader(file)
    writer = RawVideoWriter(
        outfile, reader.format, audio_source=file, audio_shift_s=shift_s, keep=file, keep_comment=True,
        crf=CRF, synthetic=False,
    )  # fmt: skip
    with writer:
        for frame in reader:
            writer.write_frame(frame, frame.ticks)
    notes.extend(f"{stream} of {file.path} was left out" for stream in writer.left_out)


def _copy(
    file: MediaFile,
    outfile: Output,
    container: Container,
    times: _Times,
    origin_s: Fraction,
    shift_s: Fraction,
    notes: list[str],
) -> None:
    with output_errors(outfile), pending_output(outfile) as pending, file.reading() as streams:  # noqa: SIM117
        with open_output(pending, container) as output:
            output.metadata.update(file.tags)
            video, audio = require_video(streams, file.path), require_audio(streams, file.path)
            continuous = is_audio_continuous(file)
            copies: dict[int, Any] = {}
            for stream in streams.streams:
                if stream.index == audio.index and not continuous:
                    continue
                required = stream.index in (video.index, audio.index)
                copy = _copy_of(stream, output, container, outfile, required)
                if copy is None:
                    notes.append(f"{describe(stream)} of {file.path} was left out: {container.suffix} cannot hold it")
                else:
                    copies[stream.index] = copy
            output.set_chapters(shifted_chapters(file))
            lanes = [_shifted(streams, copies, video.index, times, origin_s, shift_s)]
            encoded = None
            if not continuous:
                notes.append(f"the audio of {file.path} was encoded again: an edit list cuts or repeats parts of it")
                encoded = AudioTrack(output, container, file, None, Fraction(1, 25), shift_s=shift_s, complete=False)
                lanes.append(encoded.packets())
            for packet in heapq.merge(*lanes, key=_decoding_s):
                output.mux(packet)
            if encoded is not None:
                encoded.close()


def _copy_of(stream: Stream, output: Any, container: Container, outfile: Output, required: bool) -> Any:
    """Return the stream of the output that takes these packets; None where it cannot hold them."""
    codec = codec_of(stream)
    cover = stream.type == "video" and stream.disposition & av.stream.Disposition.attached_pic
    known = stream.type == "video" or (stream.type in COPIED_KINDS and codec is not None and container.can_hold(codec))
    if not required and (cover or not known):
        return None
    try:
        copy = output.add_stream_from_template(stream)
    except ValueError as error:
        if not required:
            return None
        raise OutputError(
            f"{outfile} cannot hold {codec}, the {stream.type} of the source",
            "use an output name that ends in .mkv, which can hold nearly everything",
        ) from error
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _shifted(
    streams: Any,
    copies: dict[int, Any],
    video_index: int,
    times: _Times,
    origin_s: Fraction,
    shift_s: Fraction,
) -> Iterator[Packet]:
    """Yield the packets of the copied streams, video from time 0 on and audio moved."""
    number = 0
    with closing(packets_of(streams, *(streams.streams[index] for index in copies))) as packets:
        for packet in packets:
            if not packet.size:
                continue
            index, kind = packet.stream.index, packet.stream.type
            if index == video_index:
                if times.pts is not None and times.dts is not None:
                    packet.pts, packet.dts = times.pts[number], times.dts[number]
                number += 1
            if packet.dts is None:
                packet.dts = packet.pts
            if packet.dts is None:
                continue
            if packet.pts is None:
                packet.pts = packet.dts
            tick_s = exact(packet.time_base)
            moved = round(((shift_s if kind == "audio" else 0) - origin_s) / tick_s)
            packet.pts += moved
            packet.dts += moved
            length = packet.duration or 0
            if kind == "audio" and packet.dts + (1 + LEAD_IN_PACKETS) * length < 0:
                continue
            if kind == "subtitle" and packet.pts < 0:
                continue
            packet.stream = copies[index]
            yield packet


def _decoding_s(packet: Packet) -> Fraction:
    return Fraction(packet.dts or 0) * exact(packet.time_base) if packet.time_base else Fraction(0)
