"""Files that trouble other tools: each is prepared, or left out with a reason that says what is wrong with it."""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from speech2vid.data.prepare import prepare
from speech2vid.data.records import FileOutcome
from speech2vid.data.store import SampleStore
from speech2vid.media import load_audio, load_photo

TICK = Fraction(1, 90_000)
PillowImage = Iterator[tuple[int, NDArray[np.uint8]]]  # time stamp in ticks, picture


@pytest.fixture(scope="module")
def face(photo: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(load_photo(photo)[:300, 60:360], (192, 192), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def write(speech: Path) -> Callable[..., Path]:
    """Write a file from pictures, their times, and the demo's speech."""
    voice = (load_audio(speech)[: 2 * 16_000] * 32767).astype(np.int16)

    def make(
        path: Path,
        images: PillowImage,
        *,
        rate: Fraction | int = 25,
        pix_fmt: str = "yuv420p",
        muxer: str | None = None,
        **options: str,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format=muxer) as output:
            stream = output.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "ultrafast", **options})
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = stream.time_base = TICK
            audio = output.add_stream("aac", rate=16_000, layout="mono")
            for pts, image in images:
                if not stream.codec_context.is_open:
                    stream.height, stream.width = image.shape[:2]
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = pts, TICK
                if pix_fmt.endswith("10le"):
                    frame = frame.reformat(format=pix_fmt)
                    frame.color_trc, frame.color_primaries, frame.colorspace = 16, 9, 9  # PQ, BT.2020
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            block = av.AudioFrame.from_ndarray(voice[None], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = 16_000, 0, Fraction(1, 16_000)
            output.mux(audio.encode(block))
            output.mux(audio.encode(None))
        return path

    return make


def drifting(image: NDArray[np.uint8], frames: int, rate: Fraction | int = 25) -> PillowImage:
    """The picture, moved a little from frame to frame."""
    for index in range(frames):
        yield round(index / rate / TICK), np.roll(image, round(3 * np.sin(3 * float(index / rate))), axis=1)


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[[Path], FileOutcome]:
    """What becomes of one file."""

    def of(path: Path) -> FileOutcome:
        (entry,) = prepare([path], tmp_path / "store", sync="off").files
        return entry.outcome

    return of


@pytest.mark.parametrize("rate", [Fraction(120), Fraction(24_000, 1001)])
def test_other_frame_rates(write, face, outcome, tmp_path, rate) -> None:
    found = outcome(write(tmp_path / "a.mp4", drifting(face, round(rate), rate), rate=rate))
    assert (found.tracks, found.dropped) == (1, {})
    (entry,) = SampleStore(tmp_path / "store").entries
    assert entry.frames == 25


def test_variable_frame_rate(write, face, outcome, tmp_path) -> None:
    steps = np.random.default_rng(0).integers(1500, 6000, 30)
    times = [0, *np.cumsum(steps).tolist()]
    found = outcome(write(tmp_path / "a.mp4", ((at, np.roll(face, k % 3, axis=1)) for k, at in enumerate(times))))
    assert (found.tracks, found.dropped) == (1, {})


def test_a_phone_held_upright(write, face, outcome, tmp_path) -> None:
    """Pictures lie on their side; the file says so."""
    path = write(tmp_path / "phone.mp4", drifting(np.ascontiguousarray(np.rot90(face)), 25))
    data, one = path.read_bytes(), 1 << 16
    plain = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    at = data.index(plain, data.index(b"tkhd"))
    path.write_bytes(data[:at] + struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30) + data[at + len(plain) :])
    assert outcome(path).tracks == 1


def test_ten_bit_hdr(write, face, outcome, tmp_path) -> None:
    assert outcome(write(tmp_path / "hdr.mkv", drifting(face, 25), pix_fmt="yuv420p10le")).tracks == 1


def test_interlaced(write, face, outcome, tmp_path) -> None:
    assert outcome(write(tmp_path / "tv.ts", drifting(face, 25), **{"x264-params": "interlaced=1"})).tracks == 1


def test_a_crowd_of_twenty(write, face, outcome, tmp_path) -> None:
    """The six largest are followed; of those, as nothing is measured here, one is taken to speak."""
    small = cv2.resize(face, (120, 120), interpolation=cv2.INTER_AREA)
    found = outcome(write(tmp_path / "crowd.mp4", drifting(np.tile(small, (4, 5, 1)), 20)))
    assert found.dropped["crowd"] == 1
    assert found.tracks + found.dropped.get("listener", 0) + found.dropped.get("too_small", 0) == 6


@pytest.mark.slow
def test_three_black_hours_are_skipped_at_once(tmp_path, outcome) -> None:
    path = tmp_path / "black.mp4"
    black_hours(path, hours=3)
    assert path.stat().st_size < 20e6
    found = outcome(path)
    assert found.dropped == {"blank": 1}
    assert found.seconds == pytest.approx(3 * 3600, abs=11)
    looked_at = re.match(r"each of the (\d+) key frames", found.detail)
    assert looked_at
    assert int(looked_at[1]) < 3 * 3600 * 25 / 100


def black_hours(path: Path, hours: float) -> None:
    """Ten seconds of black and of digital silence, encoded once and copied until the time is up."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "250", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        audio = output.add_stream("flac", rate=16_000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
        block.sample_rate, block.pts, block.time_base = 16_000, 0, Fraction(1, 16_000)
        output.mux(audio.encode(block))
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        packets = []
        for index in range(250):
            image.pts, image.time_base = index, Fraction(1, 25)
            packets += stream.encode(image)
        packets += stream.encode(None)
        encoded = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for repeat in range(round(hours * 360)):
            for index, (data, is_key) in enumerate(encoded):
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                packet.pts = packet.dts = 250 * repeat + index
                packet.duration, packet.is_keyframe = 1, is_key
                output.mux(packet)
        output.mux(audio.encode(None))


def test_a_wrong_extension(write, face, outcome, tmp_path) -> None:
    assert outcome(write(tmp_path / "really_matroska.mp4", drifting(face, 20), muxer="matroska")).tracks == 1


NAMES = [
    "with space.mp4",
    "Ünïcødé 映像.mp4",
    "new\nline.mp4",
    "-dash.mp4",
    "'quotes\" <b>&amp;.mp4",
    os.fsdecode(b"no\xffutf8.mp4"),
]


@pytest.mark.skipif(os.name != "posix", reason="names that other systems do not allow")
def test_any_name(write, face, tmp_path) -> None:
    for shift, name in enumerate(NAMES):
        write(tmp_path / "in" / name, drifting(np.roll(face, shift, axis=0), 16))
    report = prepare([tmp_path / "in"], tmp_path / "store", sync="off")
    assert len(report.tracks) == len(NAMES)
    assert {entry.source for entry in report.files} >= {"new\nline.mp4", "Ünïcødé 映像.mp4", "no\\xffutf8.mp4"}
    store = SampleStore(tmp_path / "store")
    store.validate()
    assert [entry.source for entry in store.report.files] == [entry.source for entry in report.files]
    assert "<b>&amp;.mp4" not in (tmp_path / "store/report.html").read_text()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_links_and_loops_of_them(write, face, tmp_path) -> None:
    folder = tmp_path / "in"
    write(folder / "a/clip.mp4", drifting(face, 16))
    (folder / "a/loop").symlink_to(folder)
    (folder / "same.mp4").symlink_to(folder / "a/clip.mp4")
    (folder / "nowhere.mp4").symlink_to(folder / "gone.mp4")
    (folder / "itself.mp4").symlink_to(folder / "itself.mp4")
    for sources in ([folder], [str(folder / "**/*.mp4")]):
        report = prepare(sources, tmp_path / "store", sync="off")
        assert [entry.source for entry in report.files] == ["same.mp4"]
        assert len(report.tracks) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_named(write, face, tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in/good.mp4", drifting(face, 16))
    (tmp_path / "in/secret.mp4").write_bytes(b"secret")
    (tmp_path / "in/secret.mp4").chmod(0)
    (tmp_path / "in/closed").mkdir(mode=0)
    (tmp_path / "in/listed").mkdir()
    (tmp_path / "in/listed/inside.mp4").write_bytes(b"out of reach")
    (tmp_path / "in/listed").chmod(0o444)
    with caplog.at_level(logging.WARNING):
        report = prepare([tmp_path / "in"], tmp_path / "store", sync="off")
    assert [entry.source for entry in report.skipped] == ["listed/inside.mp4", "secret.mp4"]
    assert all(entry.outcome.dropped == {"unreadable": 1} for entry in report.skipped)
    assert all("Permission denied" in entry.outcome.detail for entry in report.skipped)
    assert "closed" in caplog.text


@pytest.mark.slow
def test_eight_k(write, face, outcome, tmp_path) -> None:
    """7680 × 4320; the face is 700 px wide in it."""
    image = np.full((4320, 7680, 3), 90, np.uint8)
    image[1000:2344, 3000:4344] = cv2.resize(face, (1344, 1344), interpolation=cv2.INTER_CUBIC)
    assert outcome(write(tmp_path / "8k.mp4", drifting(image, 16))).tracks == 1
