"""A media file, opened and probed once: its facts, its clock, its decoded frames and its packets."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.container
import numpy as np

from speech2vid.errors import MediaError
from speech2vid.media.display import Display, Frame, Stream, exact
from speech2vid.media.file_kinds import unread_kind
from speech2vid.media.sources import AnyAudio, InMemory, Kind, Source, source_of
from speech2vid.media.streams import (
    Clock,
    Packet,
    decode,
    find_audio,
    find_video,
    packets_of,
    reason,
    require_file,
    require_video,
)
from speech2vid.types import MediaInfo

MICROSECONDS_HZ = 1_000_000  # FFmpeg's unit for the duration of a file
PLAUSIBLE_RATE_HZ = (1, 240)  # frame rates outside are not believed (browser recordings say 1000)

# Demuxers that may be used: containers and streams that hold their content themselves. Lists of other files and
# addresses (HLS, DASH, concat, SDP …), patterns such as `frame%03d.png` and devices are left out: a file must never
# make us open another one.
DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,vob,flv,live_flv,asf,ogg,wav,w64,aiff,caf,au,mp3,aac,ac3,eac3,flac,amr,"
    "amrnb,amrwb,ape,tta,wv,dsf,voc,gsm,dts,truehd,mxf,mxf_d10,mxf_opatom,gxf,dv,h264,hevc,m4v,av1,obu,ivf,nut,rm,gif,"
    "apng,yuv4mpegpipe,mjpeg,wtv"
)
LOCAL_ONLY = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
REWINDABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # demuxers that can be taken back to their first packet
COUNTED_FROM_ZERO = (*REWINDABLE, "flv", "live_flv")  # their duration is the time at which they end
COUNTED_FROM_START = ("mpegts", "mpeg", "ogg")
INTEGER_FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)
LOUDEST_FLOAT = 16.0  # floating-point samples beyond ±16 (24 dB over full scale) are integers in disguise

FULL_RANGE = 2  # AVCOL_RANGE_JPEG

DAMAGED = (
    "it may be damaged, truncated, or not of the type that its name suggests; "
    "try to play it, or convert it to mp4 or wav"
)


class MediaFile:
    """A media file that readers of its video and of its audio share. Close it, or use it as a context manager.

    It is opened once. Reading its video again rewinds it; FFmpeg opens it again only for audio and video at the same
    time, for packets, and where a format cannot be rewound exactly.

    Args:
        source: any file that FFmpeg reads, as :func:`~speech2vid.media.sources.source_of` takes it.
        kind: what it is, for messages about a file without a name.

    Attributes:
        path: of the file; a file in memory stands for itself.
        format_name: FFmpeg's name of the container.
        tags: title, language and the like.
        chapters: as PyAV gives them.
        has_video: whether there is a video stream that is not cover art.
        has_audio: whether there is an audio stream with a known codec.
        stated_audio_s: how long the header says that the first audio stream lasts; None where it does not say.

    Raises:
        MediaError: the file is missing, empty, a folder, unreadable, unknown to FFmpeg, or holds no audio or video.
    """

    def __init__(self, source: AnyAudio, kind: Kind = "video") -> None:
        self.path = source_of(source, kind)
        require_file(self.path)
        container = _open_container(self.path, kind)
        video, audio = find_video(container), find_audio(container)
        if video is None and audio is None:  # or its header is cut short
            container.close()
            raise MediaError(f"{self.path} is not a media file that can be read: no video and no audio in it", DAMAGED)
        self.format_name = str(container.format.name)
        self.tags: dict[str, str] = dict(container.metadata)
        self.chapters: list[Any] = list(container.chapters())
        self.has_video, self.has_audio = video is not None, audio is not None
        self.stated_audio_s: float | None = None
        self._stated_s = _stated_duration_s(container)
        self._facts: dict[str, Any] = {}
        if audio is not None:
            self._facts |= {
                "audio_codec": str(audio.codec_context.name),
                "audio_rate_hz": int(audio.codec_context.sample_rate),
                "audio_channels": int(audio.codec_context.layout.nb_channels),
            }
            if audio.duration:
                self.stated_audio_s = float(audio.duration * exact(audio.time_base))
            elif video is None and self._stated_s is not None:
                self.stated_audio_s = float(self._stated_s)
        if video is not None:
            rate = video.average_rate or video.guessed_rate
            self._facts["frame_rate_hz"] = exact(rate) if rate else None
        self._unread: list[av.container.InputContainer] = [container]
        self._read: list[av.container.InputContainer] = []
        self._first_packet: tuple[int | None, int | None, int] | None = None  # pts, dts and size
        self._begun: Generator[Frame, None, None] | None = None

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what no reader is using; a reader closes its own when it ends."""
        self._begun = None
        for container in [*self._unread, *self._read]:
            container.close()
        self._unread, self._read = [], []

    # Facts

    @cached_property
    def info(self) -> MediaInfo:
        """Streams, sizes and rates; sizes are those of the upright image with square pixels.

        Raises:
            MediaError: there is a video stream, but no frame of it can be decoded.
        """
        facts = dict(self._facts)
        duration_s = self._stated_s or Fraction(0)
        if self.has_video:
            first = self.first_frame
            turn_deg = first.display.clockwise_deg
            size = round(first.width_px * first.display.pixel_aspect), first.height_px
            facts |= {
                "width_px": size[1] if turn_deg in (90, 270) else size[0],
                "height_px": size[0] if turn_deg in (90, 270) else size[1],
                "rotation_deg": turn_deg,
                "video_codec": first.codec,
                "pixel_format": first.pixel_format,
            }
        rate_hz = facts.get("frame_rate_hz")
        implausible = rate_hz is not None and not PLAUSIBLE_RATE_HZ[0] <= rate_hz <= PLAUSIBLE_RATE_HZ[1]
        if not duration_s or implausible:
            measured_s, frames = self._measured
            duration_s = duration_s or measured_s
            if implausible and measured_s:
                facts["frame_rate_hz"] = Fraction(frames) / measured_s
        return MediaInfo(
            Path(str(self.path)), float(duration_s), has_video=self.has_video, has_audio=self.has_audio, **facts
        )

    @cached_property
    def first_frame(self) -> FirstFrame:
        """Facts of the first frame that can be decoded.

        Raises:
            MediaError: no video stream, or no frame of it can be decoded.
        """
        stream, frames = self._begin(keyframes_only=False)
        frame = next(frames, None)
        if frame is None:
            raise MediaError(
                f"{self.path} has a video stream, but no frame of it can be decoded",
                "the file is damaged or truncated; copy or convert it again",
            )
        self._begun = _resumed(frame, frames)
        return FirstFrame.of(stream, frame)

    @cached_property
    def video_start_s(self) -> Fraction | None:
        """Presentation time of the first video frame; None where there is none that can be decoded."""
        try:
            return self.first_frame.start_s
        except MediaError:
            return None

    @cached_property
    def float_scale(self) -> float:
        """What the audio samples must be divided by to lie within ±1: not 1 for integers stored as floating point."""
        if not self._facts.get("audio_codec", "").startswith(("pcm_f32", "pcm_f64")):
            return 1.0
        peak = 0.0
        with self.reading() as container:
            stream = find_audio(container)
            for frame in decode(container, stream, self.path):
                samples = frame.to_ndarray()
                peak = max(peak, float(np.abs(samples[np.isfinite(samples)]).max(initial=0.0)))
        if peak <= LOUDEST_FLOAT:
            return 1.0
        return next((scale for scale in INTEGER_FULL_SCALES if peak <= 1.01 * scale), peak)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Return what a user should know about the file: what of it is not used, or not taken literally."""
        found = []
        if self.video_start_s is not None and self.first_frame.has_alpha:
            found.append(f"{self.path} has transparency (an alpha channel), which is dropped: H.264 has none")
        if self.float_scale != 1.0:
            found.append(
                f"the samples of {self.path} go far beyond ±1: they were taken for integers of full scale "
                f"{self.float_scale:.0f} and scaled down"
            )
        return tuple(found)

    @cached_property
    def _measured(self) -> tuple[Fraction, int]:
        """Duration in seconds and number of frames, by reading the whole file without decoding it."""
        times = []
        frames = 0
        length_s = Fraction(0)
        with self.reading() as container:
            stream = find_video(container) or find_audio(container)
            assert stream is not None
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

    # Frames and packets

    def frames(self, *, keyframes_only: bool = False) -> Generator[Frame, None, None]:
        """Decode the video stream from its beginning.

        A damaged or truncated file gives the frames that can be decoded.

        Raises:
            MediaError: no video stream.
        """
        begun, self._begun = self._begun, None
        if begun is not None and not keyframes_only:
            return begun
        del begun  # gives its container back
        return self._begin(keyframes_only)[1]

    @contextlib.contextmanager
    def reading(self) -> Iterator[av.container.InputContainer]:
        """Give a container at its beginning, for packets or for audio, that nobody else reads."""
        container = self._unread.pop() if self._unread else _open_container(self.path)
        try:
            yield container
        finally:
            self._give_back(container)

    def _begin(self, keyframes_only: bool) -> tuple[Stream, Generator[Frame, None, None]]:
        container, packets = self._rewound()
        stream = require_video(container, self.path)
        if packets is None:
            packets = self._remembering(packets_of(container, stream))
        stream.codec_context.skip_frame = "NONKEY" if keyframes_only else "DEFAULT"
        return stream, self._decoded(container, stream, packets)

    def _decoded(self, container: Any, stream: Stream, packets: Iterator[Packet]) -> Generator[Frame, None, None]:
        try:
            yield from decode(container, stream, self.path, packets)
        finally:
            self._give_back(container)

    def _remembering(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        for packet in packets:
            if self._first_packet is None and packet.size:
                self._first_packet = _signature(packet)
            yield packet

    def _rewound(self) -> tuple[av.container.InputContainer, Iterator[Packet] | None]:
        """Take a container whose next video packet is the first one, and its packets where some were read ahead."""
        if self._unread:
            return self._unread.pop(), None
        while self._read:
            container = self._read.pop()
            stream = find_video(container)
            try:
                pts, dts, _ = self._first_packet or (None, None, 0)
                start = pts if dts is None else dts
                if stream is not None and start is not None:
                    container.seek(start, stream=stream)
                    packets = packets_of(container, stream)
                    first = next(packets, None)
                    if first is not None and _signature(first) == self._first_packet:
                        return container, chain([first], packets)
            except (av.FFmpegError, OSError):
                pass
            container.close()
        return _open_container(self.path), None

    def _give_back(self, container: av.container.InputContainer) -> None:
        if self.format_name in REWINDABLE and self.has_video and not self._read:
            self._read.append(container)
        else:
            container.close()


def open(source: AnyAudio, kind: Kind = "video") -> MediaFile:
    """Open a media file once, to read its video and its audio. See :class:`MediaFile`."""
    return MediaFile(source, kind)


def probe(source: AnyAudio | MediaFile) -> MediaInfo:
    """Return streams, sizes and rates of a file. See :attr:`MediaFile.info`."""
    with opened(source) as file:
        return file.info


@contextlib.contextmanager
def opened(source: AnyAudio | MediaFile) -> Iterator[MediaFile]:
    """Give a media file: the one that is open, or one that is opened and closed here."""
    if isinstance(source, MediaFile):
        yield source
    else:
        with MediaFile(source) as file:
            yield file


@dataclass(frozen=True)
class FirstFrame:
    """Facts of the first frame of a video, and of its stream.

    Attributes:
        width_px, height_px: as stored.
        display: how it is shown.
        codec, pixel_format: FFmpeg's names.
        is_rgb: stored as red, green and blue (or a palette of them).
        has_alpha: with a channel of transparency, which decoding drops.
        bits: 8 or 10 a sample; deeper video counts as 10.
        matrix, primaries, transfer: colour tags, FFmpeg's numbers; 2 is "unspecified".
        full_range: whether samples use the full range of values.
        start_s: presentation time.
        tick_s: unit of the stream's time stamps.
        usual_duration_s: how long a frame lasts where the file does not say.
    """

    width_px: int
    height_px: int
    display: Display
    codec: str
    pixel_format: str
    is_rgb: bool
    has_alpha: bool
    bits: int
    matrix: int
    primaries: int
    transfer: int
    full_range: bool
    start_s: Fraction
    tick_s: Fraction
    usual_duration_s: Fraction

    @classmethod
    def of(cls, stream: Stream, frame: Frame) -> FirstFrame:
        """Read the facts from a stream and its first frame."""
        pixels, tags = frame.format, stream.codec_context
        rate = stream.average_rate or stream.guessed_rate
        names = [component.is_alpha for component in pixels.components]
        return cls(
            int(frame.width),
            int(frame.height),
            Display.of(stream, frame),
            str(tags.name),
            str(pixels.name),
            bool(pixels.is_rgb or pixels.has_palette),
            any(names) or stream.metadata.get("alpha_mode") == "1",
            10 if max(component.bits for component in pixels.components) > 8 else 8,
            int(frame.colorspace),
            int(tags.color_primaries),
            int(tags.color_trc),
            int(frame.color_range) == FULL_RANGE or pixels.name.startswith("yuvj"),
            Clock().start_of(frame, Fraction(0)),
            exact(stream.time_base),
            1 / exact(rate) if rate else Fraction(1, 25),
        )


def _open_container(path: Source, kind: Kind = "video") -> av.container.InputContainer:
    try:
        # A bad byte in a title must not stop the reading of the video.
        file = path.open() if isinstance(path, InMemory) else str(path.absolute())
        return av.open(file, "r", metadata_errors="replace", options=LOCAL_ONLY)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, kind, error) from error


def _unreadable(path: Source, kind: Kind, error: Exception) -> MediaError:
    """Return the error for a file that FFmpeg does not open, which says what the file is where that is known."""
    known = unread_kind(path)
    if known is not None:
        wanted = {"face": "save it as JPEG or PNG", "audio": "give a file with audio, such as wav, mp3 or mp4"}
        return MediaError(f"{path} is {known}, which is not supported", wanted.get(kind, "give a video, such as mp4"))
    if kind == "face" and not isinstance(error, OSError):
        return MediaError(
            f"{path} is not an image or a video that can be read",
            "give a JPEG, PNG or WebP image, or a video such as mp4; if it is one, it is damaged: copy it again",
        )
    if isinstance(error, av.ArgumentError):
        return MediaError(
            f"{path} is not a media file that can be read: no known kind of video or audio",
            "lists of other files are not followed; convert video to mp4, audio to wav and images to JPEG or PNG",
        )
    return MediaError(f"{path} is not a media file that can be read: {reason(error)}", DAMAGED)


def _stated_duration_s(container: Any) -> Fraction | None:
    """What the header says, counted from the first frame or sample."""
    duration, start = container.duration, container.start_time or 0
    if not duration:
        return None
    if container.format.name in COUNTED_FROM_ZERO and 0 < start < duration:
        duration -= start
    elif start > MICROSECONDS_HZ and container.format.name not in COUNTED_FROM_START:
        return None
    return Fraction(duration, MICROSECONDS_HZ)


def _signature(packet: Packet) -> tuple[int | None, int | None, int]:
    return packet.pts, packet.dts, packet.size


def _resumed(first: Frame, rest: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
    with contextlib.closing(rest):
        yield first
        del first
        yield from rest
