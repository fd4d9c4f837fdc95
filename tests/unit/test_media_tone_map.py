"""HDR becomes SDR and back; RGB and untagged video keep their colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid.media import RawVideoReader, RawVideoWriter, VideoReader
from speech2vid.media.tone_map import HLG, PQ, ToneMap, tone_map_of


def scene() -> np.ndarray:
    """Soft colours in 8 × 8 fields, (96, 128, 3) uint8."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(30, 190, (6, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def hdr_clip(path: Path, transfer: int) -> Path:
    """Five frames of the scene at 203 nits white, as HDR10 or HLG."""
    codes = ToneMap(transfer, True).codes(scene().astype(np.float32) / 255)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx265", rate=25, options={"crf": "4", "x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(np.rint(codes * 65535).astype(np.uint16), format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=1)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("wide", [False, True])
def test_sdr_comes_back_from_its_hdr_codes(transfer: int, wide: bool) -> None:
    greys = np.repeat(np.arange(256, dtype=np.float32)[None, :, None] / 255, 3, axis=2)
    tone_map = ToneMap(transfer, wide)
    back = tone_map.sdr(np.rint(tone_map.codes(greys) * 65535).astype(np.uint16))
    assert np.abs(back.astype(int) - np.rint(255 * greys)).max() <= 1


def test_diffuse_white_and_highlights() -> None:
    """58 % PQ and 75 % HLG are diffuse white (ITU-R BT.2408); brighter light stays brighter."""
    for transfer, white in ((PQ, 0.5807), (HLG, 0.75)):
        tone_map = ToneMap(transfer, True)
        codes = np.rint(65535 * np.array([0, white, white + 0.08, 1.0])).astype(np.uint16)
        black, at_white, above, brightest = tone_map.sdr(np.repeat(codes[None, :, None], 3, axis=2))[0, :, 0].astype(
            int
        )
        assert black == 0
        assert 235 <= at_white < above <= brightest <= 255


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_an_hdr_video_is_read_with_the_contrast_of_its_scene(tmp_path: Path, transfer: int) -> None:
    path = hdr_clip(tmp_path / "hdr.mp4", transfer)
    image = next(iter(VideoReader(path))).image.astype(float)
    assert image.std() == pytest.approx(scene().std(), rel=0.1)
    inner = (slice(4, None, 16), slice(4, None, 16))
    assert np.abs(image[inner] - scene()[inner]).mean() < 6


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_a_change_of_a_raw_hdr_frame_looks_as_requested(tmp_path: Path, transfer: int) -> None:
    frame = next(iter(RawVideoReader(hdr_clip(tmp_path / "hdr.mp4", transfer))))
    box = (32, 32, 64, 64)
    before = frame.crop(box)
    planes = [plane.copy() for plane in frame.planes]
    frame.add(box, np.zeros((32, 32, 3), np.float32))
    assert all(np.array_equal(a, b) for a, b in zip(planes, frame.planes, strict=True))
    frame.add(box, np.full((32, 32, 3), 20, np.float32))
    assert frame.crop(box).astype(int).mean() - before.astype(int).mean() == pytest.approx(20, abs=2)


def test_sdr_has_no_tone_map() -> None:
    assert tone_map_of(1, 1) is None
    assert tone_map_of(2, 2) is None


@pytest.mark.parametrize("size", [(128, 96), (1280, 720)])
@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [("libx264rgb", "rgb24", "mp4"), ("png", "rgb24", "mov"), ("ffv1", "bgr0", "mkv"), ("qtrle", "rgb24", "mov")],
)
def test_rgb_video_becomes_tagged_yuv_of_the_same_colours(
    tmp_path: Path, codec: str, pixel_format: str, suffix: str, size: tuple[int, int]
) -> None:
    width, height = size
    image = np.tile(scene(), (height // 96 + 1, width // 128 + 1, 1))[:height, :width]
    source = tmp_path / f"in.{suffix}"
    with av.open(str(source), "w") as output:
        options = {"crf": "1"} if codec == "libx264rgb" else {}
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    reader = RawVideoReader(source)
    with RawVideoWriter(tmp_path / "out.mp4", reader.format, crf=1, preset="ultrafast") as writer:
        for frame in reader:
            assert np.abs(frame.crop((0, 0, 64, 48))[8::16, 8::16].astype(int) - image[8:48:16, 8:64:16]).max() <= 4
            writer.write_frame(frame, frame.ticks)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1), "a matrix that a player can use"
    shown = next(iter(VideoReader(tmp_path / "out.mp4"))).image
    assert np.abs(shown[8::16, 8::16].astype(int) - image[8::16, 8::16]).max() <= 5


def test_transparency_is_said(tmp_path: Path) -> None:
    from speech2vid import media

    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("prores_ks", rate=25, options={"profile": "4444"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva444p10le"
        frame = av.VideoFrame(64, 48, "yuva444p10le")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with media.open(path) as file:
        (note,) = file.notes
    assert "alpha channel" in note
