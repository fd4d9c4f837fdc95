"""One origin of time: files that start late or at hours, edit lists, and packets without presentation times."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from speech2vid import media
from speech2vid.errors import OutputError
from speech2vid.media import RawVideoReader, VideoReader, VideoWriter, load_audio, probe, shift_audio

RATE_HZ = 48_000


def write(
    path: Path,
    *,
    frames: int = 50,
    seconds: float = 2.0,
    offset_s: float = 0.0,
    late_s: float = 0.0,
    b_frames: int = 2,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    layout: str = "mono",
) -> Path:
    """A video of rising brightness with a click every 0.5 s; both at ``offset_s``, the audio ``late_s`` later."""
    with av.open(str(path), "w") as output:
        video = audio = None
        if frames:
            options = {"g": "100", "bf": str(b_frames)}
            video = output.add_stream(video_codec, rate=25, options=options)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if seconds:
            audio = output.add_stream(audio_codec, rate=RATE_HZ, layout=layout)
        packets: list[Any] = []
        for number in range(frames):
            image = np.full((48, 64, 3), 4 * number + 20, np.uint8)
            image[:, : number + 2] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number + round(25 * offset_s), Fraction(1, 25)
            packets.extend(video.encode(frame))
        if video is not None:
            packets.extend(video.encode(None))
        if audio is not None:
            wave = clicks(seconds)
            kind = audio.codec_context.codec.audio_formats[0].name
            frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            frame.pts = round((offset_s + late_s) * RATE_HZ)
            for part in av.AudioResampler(kind, layout, RATE_HZ).resample(frame):
                packets.extend(audio.encode(part))
            packets.extend(audio.encode(None))
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            output.mux(packet)
    return path


def clicks(seconds: float) -> np.ndarray:
    wave = np.zeros(round(seconds * RATE_HZ), np.float32)
    for at in np.arange(0.25, seconds, 0.5):
        start = round(at * RATE_HZ)
        wave[start : start + 480] = 0.5 * np.sin(np.arange(480) * 0.3)
    return wave


def clicks_s(path: Path, **options: Any) -> list[float]:
    """When the clicks are heard, counted as ``read_audio`` counts."""
    wave = np.abs(load_audio(path, 16_000, **options))
    loud = np.flatnonzero(wave > 0.2)
    return [float(at) / 16_000 for at in loud[np.insert(np.diff(loud) > 3200, 0, True)]]


def times(path: Path) -> list[float]:
    """When the frames are shown in the file's own time."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def video_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def shown(path: Path) -> list[int]:
    """Brightness of the frames on screen."""
    return [round(float(frame.image[:, -4:].mean())) for frame in VideoReader(path, None)]


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv", "mka", "webm", "mp4", "flv", "mov", "nut"])
def test_a_file_that_starts_late_lasts_as_long_as_its_content(tmp_path: Path, suffix: str) -> None:
    codecs = {
        "webm": {"video_codec": "libvpx", "audio_codec": "libopus"},
        "mpg": {"video_codec": "mpeg2video", "audio_codec": "mp2"},
    }.get(suffix, {})
    frames = 0 if suffix == "mka" else 50
    path = write(tmp_path / f"late.{suffix}", frames=frames, offset_s=400, **codecs)
    assert probe(path).duration_s == pytest.approx(2, abs=0.15)
    with media.open(path) as file:
        assert (file.stated_audio_s or 2) == pytest.approx(2, abs=0.15)
    assert clicks_s(path, complete=True) == pytest.approx([0.25, 0.75, 1.25, 1.75], abs=0.06)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_audio_ahead_of_the_first_frame_is_complete_where_that_is_wanted(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", offset_s=1, late_s=-0.4)
    assert clicks_s(path) == pytest.approx([0.35, 0.85, 1.35], abs=0.01)
    assert clicks_s(path, complete=True) == pytest.approx([0.25, 0.75, 1.25, 1.75], abs=0.025)


@pytest.mark.parametrize("source", ["late.m4a", "late.mka", "late.ts", "late.mp4", "early.mp4", "hours.mkv"])
def test_written_audio_has_the_time_of_the_audio_that_was_read(tmp_path: Path, source: str) -> None:
    """The mouth moves by what is read; the audio track must agree, copied or encoded."""
    name, suffix = source.split(".")
    offset_s, late_s = {"late": (1, 0), "early": (1, -0.4), "hours": (7200, 0.2)}[name]
    frames = 0 if suffix in ("m4a", "mka") else 50
    path = write(tmp_path / source, frames=frames, offset_s=offset_s, late_s=late_s)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, 64, 48, audio_source=path) as writer:
        for _ in range(50):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert clicks_s(out) == pytest.approx(clicks_s(path, complete=True), abs=0.004)
    with av.open(str(out)) as container:
        assert container.duration / 1e6 < 2.5
        assert container.streams.video[0].start_time == 0


def test_an_audio_edit_list_of_two_parts_is_encoded_not_copied(tmp_path: Path, edit_list: Callable[..., Path]) -> None:
    cut = edit_list(write(tmp_path / "a.m4a", frames=0), tmp_path / "cut.m4a", "soun", [(0.6, 0), (0.5, 1.0)], 1024)
    heard = clicks_s(cut)
    assert heard == pytest.approx([0.25, 0.85], abs=0.03)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, 64, 48, audio_source=cut) as writer:
        for _ in range(28):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert clicks_s(out) == pytest.approx(heard, abs=0.01)


def test_an_m4a_with_a_trimmed_start_is_heard_from_there(tmp_path: Path, edit_list: Callable[..., Path]) -> None:
    cut = edit_list(write(tmp_path / "a.m4a", frames=0), tmp_path / "cut.m4a", "soun", [(1.2, 0.5)], 1024)
    out = tmp_path / "out.mp4"
    with VideoWriter(out, 64, 48, audio_source=cut) as writer:
        for _ in range(30):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert clicks_s(out)[:2] == pytest.approx([0.25, 0.75], abs=0.03)
    assert clicks_s(out)[:2] == pytest.approx(clicks_s(cut)[:2], abs=0.004)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    "edits", [[(1.0, 0.4)], [(0.4, 0.0), (0.6, 1.0)], [(1.0, 0.0)]], ids=["start trimmed", "middle cut", "end trimmed"]
)
def test_what_an_edit_list_hides_stays_hidden(
    tmp_path: Path, edit_list: Callable[..., Path], suffix: str, edits: list[tuple[float, float]]
) -> None:
    whole = write(tmp_path / "a.mp4")
    half = edit_list(whole, tmp_path / "b.mp4", "vide", edits, 2 * round(hertz(whole) / 25))
    cut = edit_list(half, tmp_path / "c.mp4", "soun", edits, 1024)
    notes: list[str] = []
    out = shift_audio(cut, tmp_path / f"out.{suffix}", Fraction(2, 25), notes)
    assert len(times(out)) == len(times(cut))
    assert np.abs(np.array(shown(out)) - np.array(shown(cut))).max() <= 2
    assert times(out)[0] == pytest.approx(0, abs=0.03)
    wanted = [at + 0.08 for at in clicks_s(cut)]
    assert clicks_s(out)[: len(wanted)] == pytest.approx(wanted, abs=0.03)
    assert probe(out).duration_s < 1.3


def hertz(path: Path) -> int:
    with av.open(str(path)) as container:
        return int(1 / container.streams.video[0].time_base)


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv"])
def test_a_shifted_copy_starts_at_zero(tmp_path: Path, suffix: str) -> None:
    codecs = {"video_codec": "mpeg2video", "audio_codec": "mp2"} if suffix == "mpg" else {}
    source = write(tmp_path / f"a.{suffix}", offset_s=26_000, late_s=0.2, **codecs)
    out = shift_audio(source, tmp_path / "out.mkv", Fraction(-1, 5))
    assert probe(out).duration_s < 3
    assert times(out)[0] < 0.2
    assert len(video_packets(out)) == len(video_packets(source))
    if suffix != "ts":  # whose start codes are not kept
        assert video_packets(out) == video_packets(source)
    assert clicks_s(out)[:3] == pytest.approx([at - 0.2 for at in clicks_s(source)][:3], abs=0.03)


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 3), ("libx264", 0), ("mpeg4", 2)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_packets_without_presentation_times_keep_their_order(
    tmp_path: Path, codec: str, b_frames: int, suffix: str
) -> None:
    source = write(tmp_path / "a.avi", video_codec=codec, b_frames=b_frames, audio_codec="libmp3lame")
    out = shift_audio(source, tmp_path / f"out.{suffix}", Fraction(2, 25))
    steps = np.diff(times(out))
    assert len(times(out)) == 50
    assert steps == pytest.approx(0.04, abs=0.0011)
    assert shown(out) == shown(source)
    assert sorted(shown(source)) == shown(source)


def test_an_avi_with_b_frames_is_read_in_order(tmp_path: Path) -> None:
    source = write(tmp_path / "a.avi", b_frames=3, audio_codec="libmp3lame")
    seen = [float(frame.time_s) for frame in VideoReader(source, None)]
    assert seen == pytest.approx([n / 25 for n in range(50)], abs=1e-6)
    ticks = [float(frame.ticks * frame.format.tick_s) for frame in RawVideoReader(source)]
    assert ticks == pytest.approx([n / 25 for n in range(50)], abs=1e-6)


def test_everything_else_comes_along_and_what_cannot_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    (tmp_path / "b.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nhello\n\n")
    with (
        av.open(str(write(tmp_path / "b.mkv"))) as source,
        av.open(str(tmp_path / "b.srt")) as text,
        av.open(str(path), "w") as output,
    ):
        streams = [*source.streams, source.streams.audio[0]]
        copies = [output.add_stream_from_template(stream) for stream in streams]
        subtitles = output.add_stream_from_template(text.streams[0])
        output.set_chapters(
            [{"id": 1, "start": 0, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}]
        )
        for packet in source.demux():
            if not packet.size:
                continue
            for copy, stream in zip(copies, streams, strict=True):
                if stream.index == packet.stream_index:
                    twin = av.Packet(bytes(packet))
                    twin.pts, twin.dts, twin.time_base = packet.pts, packet.dts, packet.time_base
                    twin.duration, twin.is_keyframe, twin.stream = packet.duration, packet.is_keyframe, copy
                    output.mux(twin)
        for packet in text.demux():
            if packet.size:
                packet.stream = subtitles
                output.mux(packet)
    notes: list[str] = []
    out = shift_audio(path, tmp_path / "out.mkv", Fraction(2, 25), notes)
    with av.open(str(out)) as container:
        assert sorted(stream.type for stream in container.streams) == ["audio", "audio", "subtitle", "video"]
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one"]
    assert notes == []
    out = shift_audio(path, tmp_path / "out.mp4", Fraction(2, 25), notes)
    with av.open(str(out)) as container:
        assert sorted(stream.type for stream in container.streams if stream.type != "data") == [
            "audio",
            "audio",
            "video",
        ]
    (note,) = notes
    assert "subtitle stream" in note
    assert "left out" in note


def test_a_codec_that_the_container_does_not_know_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nut", video_codec="wmv2", b_frames=0)
    with pytest.raises(OutputError, match="cannot hold"):
        shift_audio(source, tmp_path / "out.mp4", Fraction(0))
    assert not (tmp_path / "out.mp4").exists()
