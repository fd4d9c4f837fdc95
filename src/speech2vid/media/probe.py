"""What a media file holds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.media.container import Stream, exact, find_audio, find_video, first_frame, open_media, packets_of
from speech2vid.media.display import Display
from speech2vid.types import MediaInfo

MICROSECONDS_HZ = 1_000_000  # FFmpeg's unit for the duration of a file
PLAUSIBLE_RATE_HZ = (1, 240)  # a rate outside is a header's fiction (browser recordings say 1000)


def probe(path: str | Path) -> MediaInfo:
    """Streams, sizes and rates of a file; sizes are those of the upright frame with square pixels.

    Raises:
        MediaError: the file cannot be read, or holds neither frame nor audio.
    """
    path = Path(path)
    with open_media(path) as container:
        video, audio = find_video(container), find_audio(container)
        facts: dict[str, Any] = {}
        if audio is not None:
            facts |= {
                "audio_codec": audio.codec_context.name,
                "audio_rate_hz": int(audio.codec_context.sample_rate),
                "audio_channels": int(audio.codec_context.layout.nb_channels),
            }
        if video is not None:
            facts |= _frame_facts(container, video, path)
        duration_s = Fraction(container.duration, MICROSECONDS_HZ) if container.duration else Fraction(0)
    rate_hz = facts.get("frame_rate_hz")
    implausible = rate_hz is not None and not PLAUSIBLE_RATE_HZ[0] <= rate_hz <= PLAUSIBLE_RATE_HZ[1]
    if not duration_s or implausible:
        measured_s, frames = _measure(path)
        duration_s = duration_s or measured_s
        if implausible and measured_s:
            facts["frame_rate_hz"] = Fraction(frames) / measured_s
    return MediaInfo(path, float(duration_s), has_video=video is not None, has_audio=audio is not None, **facts)


def audio_seconds(path: str | Path) -> float | None:
    """How long the first audio stream says it is; None where it does not say."""
    path = Path(path)
    with open_media(path) as container:
        stream = find_audio(container)
        if stream is None:
            return None
        if stream.duration:
            return float(stream.duration * exact(stream.time_base))
        if find_video(container) is None and container.duration:
            return float(Fraction(container.duration, MICROSECONDS_HZ))
    return None


def _frame_facts(container: Any, stream: Stream, path: Path) -> dict[str, Any]:
    frame = first_frame(container, stream, path)
    display = Display.of(stream, frame)
    rotation_deg = display.clockwise_deg
    size = round(frame.width * display.pixel_aspect), int(frame.height)
    rate = stream.average_rate or stream.guessed_rate
    return {
        "width_px": size[1] if rotation_deg in (90, 270) else size[0],
        "height_px": size[0] if rotation_deg in (90, 270) else size[1],
        "frame_rate_hz": exact(rate) if rate else None,
        "rotation_deg": rotation_deg,
        "video_codec": stream.codec_context.name,
        "pixel_format": frame.format.name,
    }


def _measure(path: Path) -> tuple[Fraction, int]:
    """Duration in seconds and number of frames, by reading the whole file without decoding it."""
    with open_media(path) as container:
        stream = find_video(container) or find_audio(container)
        assert stream is not None
        times = []
        frames = 0
        length_s = Fraction(0)
        for packet in packets_of(container, stream):
            if not packet.size:
                continue
            frames += 1
            tick = exact(packet.time_base)
            length_s += (packet.duration or 0) * tick
            if packet.pts is not None:
                times.append((packet.pts * tick, (packet.duration or 0) * tick))
    if times:
        length_s = max(start + lasting for start, lasting in times) - min(start for start, _ in times)
    return length_s, frames
