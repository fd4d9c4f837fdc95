"""Frames are picked by their time stamps, upright, with square pixels, and the damaged rest is left behind."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from speech2vid.errors import MediaError
from speech2vid.media import VideoReader, probe

TICK = Fraction(1, 90_000)


def expected(times_s: list[Fraction], end_s: Fraction, rate_hz: int = 25) -> list[int]:
    """Which picture is on screen a quarter into each grid step, counted the slow way."""
    times_s = [time - times_s[0] for time in times_s]
    grid = [Fraction(4 * i + 1, 4 * rate_hz) for i in range(max(1, round(end_s * rate_hz)))]
    return [max(k for k, time in enumerate(times_s) if time + TICK < at) for at in grid]


@pytest.mark.parametrize("start", [0, 90_000 * 3 + 17])
@pytest.mark.parametrize(
    "rate", [Fraction(24), Fraction(25), Fraction(30_000, 1001), Fraction(30), Fraction(50), Fraction(60)]
)
def test_grid_by_time_stamp(tmp_path, make_clip, number_of, rate, start):
    pts = [start + round(k / rate / TICK) for k in range(80)]
    path = make_clip(tmp_path / "clip.mp4", pts, TICK, rate=rate)
    frames = list(VideoReader(path))
    times = [Fraction(p) * TICK for p in pts]
    assert [number_of(frame.image) for frame in frames] == expected(times, 80 / rate)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert [frame.time_s for frame in frames] == [Fraction(i, 25) for i in range(len(frames))]


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30_000, 1001), Fraction(30), Fraction(60), Fraction(120)])
def test_frames_of_any_rate_are_neither_early_nor_late(tmp_path, make_clip, number_of, rate):
    """A camera exposes a quarter into a picture's time, as at 25 Hz: within 12 ms on average, whatever the rate."""
    path = make_clip(tmp_path / "clip.mp4", [round(k / rate / TICK) for k in range(120)], TICK, rate=rate)
    late_s = [(number_of(frame.image) + 0.25) / rate - (frame.index + 0.25) / 25 for frame in VideoReader(path)]
    assert abs(np.mean([float(each) for each in late_s])) < 0.0115
    assert max(map(abs, late_s)) <= 1 / rate


def test_grid_of_variable_rate(tmp_path, make_clip, number_of):
    steps = np.random.default_rng(1).integers(900, 15_000, 60)
    pts = [0, *np.cumsum(steps).tolist()]
    path = make_clip(tmp_path / "clip.mp4", pts, TICK)
    found = [number_of(frame.image) for frame in VideoReader(path)]
    assert found == expected([Fraction(p) * TICK for p in pts], Fraction(pts[-1] + 3600) * TICK)


def test_rounded_time_stamps_of_matroska(tmp_path, make_clip, number_of):
    """50 Hz from 0.013 s on in whole milliseconds: every second picture, never its neighbour."""
    pts = [13 + 20 * k + (1 if k % 4 == 2 else 0) for k in range(50)]
    path = make_clip(tmp_path / "clip.mkv", pts, Fraction(1, 1000), rate=Fraction(50))
    assert [number_of(frame.image) for frame in VideoReader(path)] == list(range(0, 50, 2))


def test_own_frames_at_their_own_times(tmp_path, make_clip, number_of):
    pts = [500, 800, 3000, 9000]
    frames = list(VideoReader(make_clip(tmp_path / "clip.mp4", pts, TICK), frame_rate_hz=None))
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == [Fraction(p - 500) * TICK for p in pts]


def test_other_grid(tmp_path, make_clip, number_of):
    path = make_clip(tmp_path / "clip.mp4", [3000 * k for k in range(60)], TICK)
    assert [number_of(frame.image) for frame in VideoReader(path, 10)] == list(range(0, 60, 3))


def test_no_time_stamps(tmp_path, make_clip, number_of):
    path = make_clip(tmp_path / "clip.h264", list(range(10)), Fraction(1, 25), pix_fmt="yuv420p")
    assert [number_of(frame.image) for frame in VideoReader(path)] == list(range(10))
    assert probe(path).duration_s == pytest.approx(0.4)


def test_restarted_clock(tmp_path, make_clip, number_of):
    """Two recordings glued together: the time stamps fall back to the start."""
    pts = [900_000 + 3600 * k for k in range(20)]
    first = make_clip(tmp_path / "a.ts", pts, TICK, pix_fmt="yuv420p").read_bytes()
    second = make_clip(tmp_path / "b.ts", [p - 450_000 for p in pts], TICK, pix_fmt="yuv420p").read_bytes()
    (tmp_path / "both.ts").write_bytes(first + second)
    found = [number_of(frame.image) for frame in VideoReader(tmp_path / "both.ts")]
    assert found[:19] == list(range(19))
    assert len(found) == pytest.approx(40, abs=2)
    assert found[-15:] == list(range(5, 20))


def corners(path: Path, matrix: tuple[int, int, int, int]) -> list[str]:
    """Colours in the corners (clockwise from the top left) of a red, green, blue, white picture shown by ``matrix``."""
    one = 1 << 16
    data = path.read_bytes()
    plain = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    at = data.index(plain, data.index(b"tkhd"))
    a, b, c, d = (value * one for value in matrix)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + turned + data[at + len(plain) :])
    image = next(iter(VideoReader(path))).image
    info = probe(path)
    assert (info.height_px, info.width_px) == image.shape[:2]
    height, width = image.shape[:2]
    names = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    spots = [(4, 4), (4, width - 5), (height - 5, width - 5), (height - 5, 4)]
    return [names[tuple(int(v > 128) for v in image[y, x])] for y, x in spots]


@pytest.mark.parametrize(
    ("matrix", "shown", "degrees"),
    [
        ((1, 0, 0, 1), "rgbw", 0),
        ((0, 1, -1, 0), "wrgb", 90),  # the top left corner goes to the top right: clockwise
        ((-1, 0, 0, -1), "bwrg", 180),
        ((0, -1, 1, 0), "gbwr", 270),
        ((-1, 0, 0, 1), "grwb", None),  # mirrored
    ],
)
def test_display_rotation(tmp_path, matrix, shown, degrees):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, 32:], image[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(2):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    assert "".join(corners(path, matrix)) == shown
    if degrees is not None:
        assert probe(path).rotation_deg == degrees


def test_pixels_become_square(tmp_path, make_clip):
    path = make_clip(tmp_path / "dvd.mp4", [0, 3600], TICK, size=(72, 56), pixel_aspect=Fraction(16, 9))
    assert next(iter(VideoReader(path))).image.shape == (56, 128, 3)
    assert (probe(path).width_px, probe(path).height_px) == (128, 56)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuvj420p"])
def test_pixel_formats(tmp_path, make_clip, number_of, pix_fmt):
    path = make_clip(tmp_path / "clip.mp4", [3600 * k for k in range(32)], TICK, pix_fmt=pix_fmt)
    assert [number_of(frame.image) for frame in VideoReader(path)] == list(range(32))
    assert probe(path).pixel_format == pix_fmt


def test_odd_size(tmp_path, make_clip):
    path = make_clip(tmp_path / "odd.mkv", [0, 40], Fraction(1, 1000), size=(63, 47))
    assert next(iter(VideoReader(path))).image.shape == (47, 63, 3)


@pytest.mark.parametrize("height", [480, 720])
def test_untagged_colours_are_guessed_by_height(tmp_path, height):
    """Saturated colours come back only when the matrix a player would assume is used."""
    from av.video.reformatter import Colorspace

    colour = np.full((height, 64, 3), (200, 40, 90), np.uint8)
    matrix = Colorspace.ITU709 if height >= 720 else Colorspace.ITU601
    frame = av.VideoFrame.from_ndarray(colour, format="rgb24").reformat(format="yuv444p", dst_colorspace=matrix)
    frame.colorspace = 2
    path = tmp_path / "untagged.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv444p"
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    image = next(iter(VideoReader(path))).image
    assert np.abs(image.astype(int) - colour).max() <= 3


def test_repeated_frames_do_not_share_memory(tmp_path, make_clip, number_of):
    frames = list(VideoReader(make_clip(tmp_path / "slow.mp4", [0, 9000, 18_000], TICK)))
    frames[0].image[:] = 255
    assert number_of(frames[1].image) == 0


def test_reader_can_be_read_twice_and_closed_early(tmp_path, make_clip):
    path = make_clip(tmp_path / "clip.mp4", [3600 * k for k in range(10)], TICK)
    with VideoReader(path) as reader:
        next(iter(reader))
        assert len(list(reader)) == 10


def test_truncated_file_gives_what_can_be_decoded(tmp_path, make_clip, number_of, caplog):
    noise = [3600 * k for k in range(100)]
    whole = make_clip(tmp_path / "whole.mkv", noise, TICK)
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 6 // 10])
    found = [number_of(frame.image) for frame in VideoReader(tmp_path / "cut.mkv")]
    assert 30 < len(found) < 80
    assert found[:30] == list(range(30))


def test_damaged_middle_is_skipped_and_logged(tmp_path, make_clip, number_of, caplog):
    path = make_clip(
        tmp_path / "whole.mov", [40 * k for k in range(50)], Fraction(1, 1000), codec="png", pix_fmt="rgb24"
    )
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"\x89PNG"]
    assert len(starts) == 50
    for start in starts[20:25]:
        data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    found = [number_of(frame.image) for frame in VideoReader(path)]
    assert found[:20] == list(range(20))
    assert found[25:50] == list(range(25, 50)), "time goes on over the hole"
    assert "5 damaged video packets were skipped" in caplog.text


def test_cover_art_is_not_a_video(tmp_path):
    cover = tmp_path / "cover.png"
    Image.new("RGB", (16, 16)).save(cover)
    path = tmp_path / "song.mp4"
    with av.open(str(cover)) as cover_file, av.open(str(path), "w") as output:
        source = cover_file.streams.video[0]
        stream = output.add_stream_from_template(source)
        stream.disposition = av.stream.Disposition.attached_pic
        audio = output.add_stream("aac", rate=16_000, layout="mono")
        for packet in cover_file.demux(source):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    assert not probe(path).has_video
    with pytest.raises(MediaError, match="no video stream"):
        VideoReader(path)


def test_probe(tmp_path, make_clip, chirp):
    path = make_clip(tmp_path / "clip.mkv", [40 * k for k in range(50)], Fraction(1, 1000), audio=chirp(2, 16_000))
    info = probe(path)
    assert (info.width_px, info.height_px, info.frame_rate_hz) == (64, 48, 25)
    assert (info.video_codec, info.audio_codec, info.audio_rate_hz, info.audio_channels) == (
        "h264",
        "pcm_s16le",
        16_000,
        1,
    )
    assert info.duration_s == pytest.approx(2.0, abs=0.001)


def test_memory_stays_flat(tmp_path, make_clip):
    """The reader holds a handful of pictures at a time, not the 250 MB that these are."""
    import resource

    path = make_clip(tmp_path / "long.mkv", [40 * k for k in range(120)], Fraction(1, 1000), size=(1280, 720))
    reader = iter(VideoReader(path))
    for _ in range(30):
        next(reader)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in reader:
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB; 90 pictures are 250,000
