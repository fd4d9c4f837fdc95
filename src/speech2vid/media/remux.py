"""The same images and the same audio, moved against each other: packets are copied, nothing is encoded again."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from speech2vid.errors import OutputError
from speech2vid.media.audio_reader import require_audio
from speech2vid.media.container import exact, find_audio, find_video, open_media, packets_of
from speech2vid.media.video_reader import require_video
from speech2vid.media.video_writer import container_format, create_hidden, hidden_name, output_errors

LEAD_IN_PACKETS = 2  # of audio from before the first image are kept: a decoder needs them


def shift_audio(source: str | Path, outfile: str | Path, shift_s: Fraction | float) -> Path:
    """Copy a video with its audio moved in time, without encoding anything again.

    Images, audio (the first stream of each), title and marks stay as they are, to the byte; only the time stamps of
    the audio change. Audio that would come before the first image is dropped.

    Args:
        source: a file with image and audio.
        outfile: ends in .mp4, .mov or .mkv; appears whole or not at all.
        shift_s: the audio comes this much later; negative: earlier.

    Returns:
        ``outfile``.

    Raises:
        MediaError: the source cannot be read, or lacks image or audio.
        OutputError: unwritable, unknown suffix, a codec that the container does not know, or the source itself.
    """
    source, outfile = Path(source), Path(outfile)
    if outfile.exists() and source.exists() and outfile.samefile(source):
        raise OutputError(f"{outfile} is also the input", "write to another file")
    with open_media(source) as container:
        image, audio = require_video(find_video(container), source), require_audio(find_audio(container), source)
        kind = container_format(outfile)
        hidden = hidden_name(outfile)
        try:
            create_hidden(hidden, outfile)
            with output_errors(outfile):
                options = {} if kind == "matroska" else {"movflags": "+faststart"}
                with av.open(str(hidden.absolute()), "w", format=kind, options=options) as output:
                    _copy(container, image, audio, output, outfile, Fraction(shift_s))
                os.replace(hidden, outfile)
        finally:
            hidden.unlink(missing_ok=True)
    return outfile


def _copy(container: Any, image: Any, audio: Any, output: Any, outfile: Path, shift_s: Fraction) -> None:
    output.metadata.update(container.metadata)
    copies = {}
    for stream in (image, audio):
        try:
            copies[stream.index] = output.add_stream_from_template(stream)
        except ValueError as error:
            raise OutputError(
                f"{outfile} cannot hold {stream.codec_context.name}, the {stream.type} of the source",
                "name the output .mkv, which holds nearly everything",
            ) from error
        copies[stream.index].metadata.update(stream.metadata)
    tick_s = exact(audio.time_base)
    shift = round(shift_s / tick_s)
    start_s = (image.start_time or 0) * exact(image.time_base)
    for packet in packets_of(container, image, audio):
        if not packet.size or packet.dts is None:
            continue
        if packet.stream.index == audio.index:
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
            length = packet.duration or 0
            if (packet.dts + (1 + LEAD_IN_PACKETS) * length) * tick_s < start_s:
                continue
        packet.stream = copies[packet.stream.index]
        output.mux(packet)
