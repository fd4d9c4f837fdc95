"""A video's own pictures: stored planes, exact times, changes that touch nothing else."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid.media import MediaFile, RawVideoReader, RawVideoWriter, VideoReader

TICK = Fraction(1, 90_000)
VARIABLE = [0, 3003, 6006, 12_012, 13_000, 18_018, 40_000]  # ticks


def write(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    pixel_format: str = "yuv420p",
    times: list[int] = VARIABLE,
    subtitles: bool = False,
    **tags: object,
) -> Path:
    """A small video of noise that moves, at the given times."""
    rng = np.random.default_rng(0)
    width, height = size
    base = rng.integers(60, 180, (height // 8 + 2, width // 8 + 2, 1)) + rng.integers(-15, 15, 3)
    raw_frame = np.kron(base.astype(np.uint8), np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "1", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.time_base = TICK
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number, ticks in enumerate(times):
            part = np.ascontiguousarray(raw_frame[number : number + height, number : number + width])
            frame = av.VideoFrame.from_ndarray(part, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = ticks, TICK
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def times_of(path: Path) -> list[Fraction]:
    with MediaFile(path) as file, file.reading() as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        return sorted(Fraction(p.pts) * Fraction(p.time_base) for p in packets)


def copied(source: Path, target: Path, **settings: object) -> RawVideoWriter:
    reader = RawVideoReader(source)
    with RawVideoWriter(target, reader.format, crf=0, **settings) as writer:  # type: ignore[arg-type]
        for raw_frame in reader:
            writer.write_frame(raw_frame, raw_frame.ticks)
    return writer


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_times_depth_and_tags_of_a_video_of_variable_rate_stay(tmp_path: Path, suffix: str, pixel_format: str) -> None:
    source = write(tmp_path / f"in{suffix}", pixel_format=pixel_format, colorspace=1, color_primaries=1, color_trc=1)
    copied(source, tmp_path / f"out{suffix}")
    assert times_of(tmp_path / f"out{suffix}") == times_of(source)
    before, after = RawVideoReader(source), RawVideoReader(tmp_path / f"out{suffix}")
    assert replace(after.format, rate_hz=before.format.rate_hz) == before.format
    assert before.format.bits == (10 if "10" in pixel_format else 8)
    for a, b in zip(before, after, strict=True):
        for old, new in zip(a.planes, b.planes, strict=True):
            assert abs(old.astype(int) - new).max() <= (0 if before.format.bits == 8 else 4)  # crf 0


def test_matroska_rounds_times_to_its_millisecond(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    copied(source, tmp_path / "out.mkv")
    pairs = zip(times_of(tmp_path / "out.mkv"), times_of(source), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= Fraction(1, 1000)


def test_only_the_changed_part_changes(tmp_path: Path) -> None:
    raw_frame = next(iter(RawVideoReader(write(tmp_path / "in.mp4"))))
    before = [plane.copy() for plane in raw_frame.planes]
    difference = np.zeros((16, 20, 3), np.float32)
    difference[4:12, 4:16] = (40, -20, 10)
    seen = raw_frame.crop((10, 8, 30, 24)).astype(int)
    raw_frame.add((10, 8, 30, 24), difference)
    for plane, old, step in zip(raw_frame.planes, before, (1, 2, 2), strict=True):
        changed = np.argwhere(plane != old)
        assert len(changed)
        low, high = changed.min(axis=0), changed.max(axis=0)
        assert low.tolist() >= [12 // step, 14 // step]
        assert (high < [-(-20 // step), -(-26 // step)]).all()
    now = raw_frame.crop((10, 8, 30, 24)).astype(int)
    assert abs(now[6:10, 6:14] - seen[6:10, 6:14] - (40, -20, 10)).max() <= 4


def test_a_part_looks_as_the_player_shows_it(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", size=(128, 96))
    shown = next(iter(VideoReader(source, None))).image
    part = next(iter(RawVideoReader(source))).crop((32, 16, 96, 80))
    error = abs(part.astype(int) - shown[16:80, 32:96])
    assert error.mean() < 3  # chroma is enlarged in another way
    assert np.median(error) <= 1


def test_a_copy_keeps_what_the_original_loses(tmp_path: Path) -> None:
    raw_frame = next(iter(RawVideoReader(write(tmp_path / "in.mp4"))))
    copy = raw_frame.copy()
    raw_frame.add((0, 0, 16, 16), np.full((16, 16, 3), 30, np.float32))
    assert not np.array_equal(copy.planes[0], raw_frame.planes[0])


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1)])
def test_video_that_lies_on_its_side_comes_out_upright(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    source, one = write(tmp_path / "in.mp4"), 1 << 16
    data = source.read_bytes()
    plain = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    a, b, c, d = (value * one for value in matrix)
    at = data.index(plain, data.index(b"tkhd"))
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(data[:at] + turned + data[at + len(plain) :])
    copied(source, tmp_path / "out.mp4")
    pairs = zip(VideoReader(source, None), VideoReader(tmp_path / "out.mp4", None), strict=True)
    for before, after in pairs:
        assert before.time_s == after.time_s
        assert before.image.shape == after.image.shape
        assert abs(before.image.astype(int) - after.image).mean() < 2  # colours are enlarged before or after the turn


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", sample_aspect_ratio=Fraction(16, 11))
    copied(source, tmp_path / "out.mp4")
    assert RawVideoReader(tmp_path / "out.mp4").format.pixel_aspect == Fraction(16, 11)
    before, after = (next(iter(VideoReader(path, None))).image for path in (source, tmp_path / "out.mp4"))
    assert before.shape == after.shape == (48, 93, 3)


def test_odd_sizes_keep_their_pixels(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mkv", size=(63, 47), pixel_format="yuv444p")
    reader = RawVideoReader(source)
    assert (reader.format.width_px, reader.format.height_px) == (63, 47)
    with RawVideoWriter(tmp_path / "out.mp4", reader.format, crf=0) as writer:
        for raw_frame in reader:
            raw_frame.add((40, 30, 63, 47), np.full((17, 23, 3), 10, np.float32))
            writer.write_frame(raw_frame, raw_frame.ticks)
    after = RawVideoReader(tmp_path / "out.mp4")
    assert (after.format.width_px, after.format.height_px) == (64, 48)
    assert next(iter(after)).planes[0].shape == (48, 64)


def test_other_audio_and_tags_are_kept_and_the_first_audio_is_replaced(tmp_path: Path, speech: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio_tracks = [output.add_stream("aac", rate=16000, layout="mono") for _ in range(2)]
        audio_tracks[1].metadata["language"] = "fra"
        output.metadata["title"] = "Two recordings"
        ends = [(0, 400, "A"), (400, 900, "B")]
        output.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(ends)
            ]
        )
        for number in range(25):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            output.mux(video.encode(frame))
        for stream in audio_tracks:
            for number in range(15):
                audio = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                audio.sample_rate, audio.pts = 16000, 1024 * number
                output.mux(stream.encode(audio))
            output.mux(stream.encode(None))
        output.mux(video.encode(None))
    writer = copied(
        source, tmp_path / "out.mp4", audio_source=speech, audio_limit_s=Fraction(1), keep=MediaFile(source)
    )
    assert not writer.left_out
    with MediaFile(tmp_path / "out.mp4") as file, file.reading() as container:
        kinds = [stream.type for stream in container.streams if stream.type != "data"]  # mp4 keeps chapters as data
        assert kinds == ["video", "audio", "audio"]
        assert container.streams.audio[1].metadata["language"] == "fra"
        assert container.metadata["title"] == "Two recordings"
        chapters = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in container.chapters()]
        assert chapters == [(0, "A"), (Fraction(2, 5), "B")]
        assert float(container.streams.audio[1].duration * container.streams.audio[1].time_base) == pytest.approx(
            1.0, abs=0.1
        )
