"""One encode, playable while it loads, marked, with the given audio; a whole file or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from processes import start
from speech2vid import __version__
from speech2vid.errors import MediaError, OutputError
from speech2vid.media import VideoReader, VideoWriter, load_audio, probe, read_synthetic_metadata

COLOUR = (200, 40, 90)


def write(path: Path, frames: int = 25, size: tuple[int, int] = (64, 48), **options) -> Path:
    options.setdefault("preset", "ultrafast")
    with VideoWriter(path, *size, **options) as writer:
        for _ in range(frames):
            writer.write(np.full((size[1], size[0], 3), COLOUR, np.uint8))
    return path


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def ends_s(path: Path) -> tuple[float, float]:
    """Ends of picture and audio, decoded."""
    frames = list(VideoReader(path, None))
    return float(frames[-1].time_s) + 1 / 25, len(load_audio(path, 48_000)) / 48_000


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_streams(tmp_path, chirp, suffix):
    wavfile.write(tmp_path / "a.wav", 44_100, chirp(1.0, 44_100))
    info = probe(write(tmp_path / f"out.{suffix}", audio_source=tmp_path / "a.wav"))
    assert (info.video_codec, info.pixel_format, info.frame_rate_hz) == ("h264", "yuv420p", 25)
    assert (info.audio_codec, info.audio_rate_hz, info.audio_channels) == ("aac", 44_100, 1)
    assert ends_s(tmp_path / f"out.{suffix}") == pytest.approx((1.0, 1.0), abs=0.04)
    assert {p.name for p in tmp_path.iterdir()} == {"a.wav", f"out.{suffix}"}, "no hidden file is left"


def test_colours_and_their_tags(tmp_path):
    path = write(tmp_path / "out.mp4", crf=5)
    image = next(iter(VideoReader(path))).image
    assert np.abs(image.astype(int) - COLOUR).max() <= 4
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_index_comes_first(tmp_path):
    data = write(tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60)])
def test_frame_rate_is_exact(tmp_path, rate):
    path = write(tmp_path / "out.mp4", frames=31, frame_rate_hz=rate)
    assert probe(path).frame_rate_hz == rate
    assert [frame.time_s for frame in VideoReader(path, None)] == [k / rate for k in range(31)]


@pytest.mark.parametrize(("size", "written"), [((63, 48), (64, 48)), ((64, 47), (64, 48)), ((63, 47), (64, 48))])
def test_odd_sizes_repeat_the_border(tmp_path, size, written):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[-2:], image[:, -2:] = 200, 200
    with VideoWriter(tmp_path / "out.mp4", *size, crf=5) as writer:
        writer.write(image)
    found = next(iter(VideoReader(tmp_path / "out.mp4"))).image
    assert found.shape == (written[1], written[0], 3)
    assert found[-1, 5, 0] == pytest.approx(200, abs=6)
    assert found[5, -1, 0] == pytest.approx(200, abs=6)


def test_wrong_frame_is_a_programming_error(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 64, 48) as writer:
        with pytest.raises(ValueError, match=r"expected \(48, 64, 3\) uint8"):
            writer.write(np.zeros((64, 48, 3), np.uint8))
        with pytest.raises(ValueError, match="float64"):
            writer.write(np.zeros((48, 64, 3)))
        writer.write(np.zeros((48, 64, 3), np.uint8))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_mark(tmp_path, suffix):
    path = write(tmp_path / f"out.{suffix}", details={"made": "talk", "by": "Zoë"}, metadata={"title": "Mine"})
    assert read_synthetic_metadata(path) == {
        "synthetic": True, "tool": "speech2vid", "version": __version__, "made": "talk", "by": "Zoë",
    }  # fmt: skip
    with av.open(str(path)) as container:
        assert {key.lower(): text for key, text in container.metadata.items()}["title"] == "Mine"


def test_mark_survives_a_copy_into_another_container(tmp_path):
    path = write(tmp_path / "out.mp4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "copy.mkv"), "w") as copy:
        copy.metadata.update(source.metadata)
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    assert read_synthetic_metadata(tmp_path / "copy.mkv")["tool"] == "speech2vid"


def test_unmarked(tmp_path, make_clip):
    assert read_synthetic_metadata(write(tmp_path / "out.mp4", synthetic=False)) is None
    assert read_synthetic_metadata(make_clip(tmp_path / "other.mp4", [0, 3600], Fraction(1, 90_000))) is None


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (16_000, 1), (48_000, 2), (96_000, 2), (192_000, 1)])
def test_audio_keeps_rate_and_channels(tmp_path, chirp, rate_hz, channels):
    wave = chirp(1.0, rate_hz)
    wavfile.write(tmp_path / "a.wav", rate_hz, np.stack([wave] * channels, axis=1))
    path = write(tmp_path / "out.mp4", audio_source=tmp_path / "a.wav")
    info = probe(path)
    assert (info.audio_rate_hz, info.audio_channels) == (48_000 if rate_hz > 96_000 else rate_hz, channels)
    found, wanted = load_audio(path), load_audio(tmp_path / "a.wav")
    assert abs(len(found) - len(wanted)) <= 1
    middle = slice(1000, 14_000)
    errors = [np.square(np.roll(found, lag)[middle] - wanted[middle]).mean() ** 0.5 for lag in range(-3, 4)]
    assert errors[3] == min(errors) < 0.01, "same audio, not shifted"


def test_bit_rate_of_noise(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, (96_000, 2)).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 48_000, noise)
    path = write(tmp_path / "out.mp4", frames=50, audio_source=tmp_path / "a.wav")
    assert 8 * sum(map(len, packets(path, "audio"))) / 2.0 > 170_000


@pytest.fixture
def aac(tmp_path, chirp):
    """A second of AAC audio in an mp4."""
    wavfile.write(tmp_path / "a.wav", 48_000, chirp(1.0, 48_000))
    return write(tmp_path / "source.mp4", audio_source=tmp_path / "a.wav")


def test_aac_is_copied(tmp_path, aac):
    path = write(tmp_path / "out.mp4", audio_source=aac)
    assert packets(path, "audio") == packets(aac, "audio")
    assert np.array_equal(load_audio(path), load_audio(aac))


def test_aac_is_encoded_for_matroska_in_time(tmp_path, aac):
    found, wanted = load_audio(write(tmp_path / "out.mkv", audio_source=aac)), load_audio(aac)
    assert np.abs(found[1000:14_000] - wanted[1000:14_000]).max() < 0.03
    assert packets(tmp_path / "out.mkv", "audio") != packets(aac, "audio")


def test_adts_stream(tmp_path, chirp):
    """AAC without a container has no setup in a header."""
    path = tmp_path / "a.aac"
    with av.open(str(path), "w", format="adts") as output:
        stream = output.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(chirp(1.0, 48_000)[None], "fltp", "mono")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found, wanted = load_audio(write(tmp_path / "out.mp4", audio_source=path)), load_audio(path)
    assert np.abs(found[2000:14_000] - wanted[2000:14_000]).max() < 0.03


@pytest.mark.parametrize("source", ["wav", "aac"])
@pytest.mark.parametrize("limit_s", [0.4, 0.5])
def test_audio_ends_with_the_frame(tmp_path, aac, source, limit_s):
    source = tmp_path / "a.wav" if source == "wav" else aac
    frames = round(limit_s * 25)
    path = write(tmp_path / "out.mp4", frames=frames, audio_source=source, audio_limit_s=Fraction(frames, 25))
    frame_s, audio_s = ends_s(path)
    assert frame_s == pytest.approx(frames / 25)
    assert abs(frame_s - audio_s) <= 0.04


def test_audio_is_counted_like_read_audio(tmp_path, make_clip, chirp):
    """Audio that starts half a second after the first picture of its own file starts there in the output too."""
    pts = [1000 + 40 * k for k in range(50)]
    source = make_clip(tmp_path / "a.mkv", pts, Fraction(1, 1000), audio=chirp(1.0, 16_000), audio_start=24_000)
    found, wanted = load_audio(write(tmp_path / "out.mp4", frames=50, audio_source=source)), load_audio(source)
    assert len(wanted) == 24_000
    assert np.abs(found[:23_000] - wanted[:23_000]).max() < 0.03


def test_copied_audio_keeps_its_start(tmp_path, make_clip, chirp):
    pts = [1000 + 40 * k for k in range(50)]
    options = {"audio": chirp(1.0, 48_000), "audio_start": 72_000, "audio_rate_hz": 48_000, "audio_codec": "aac"}
    source = make_clip(tmp_path / "late.mp4", pts, Fraction(1, 1000), **options)
    path = write(tmp_path / "out.mp4", frames=50, audio_source=source)
    assert packets(path, "audio") == packets(source, "audio")
    found, wanted = load_audio(path), load_audio(source)
    assert len(wanted) == pytest.approx(24_000, abs=16), "mp4 keeps a late start to the millisecond"
    errors = {lag: np.abs(np.roll(found, lag)[8000:23_000] - wanted[8000:23_000]).max() for lag in range(-16, 17)}
    assert min(errors.values()) < 0.05


def test_source_without_audio(tmp_path, make_clip):
    source = make_clip(tmp_path / "mute.mp4", [0, 3600], Fraction(1, 90_000))
    with pytest.raises(MediaError, match=r"mute\.mp4 has no audio stream"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, audio_source=source)
    assert {p.name for p in tmp_path.iterdir()} == {"mute.mp4"}


def test_output_over_its_own_source(tmp_path, aac):
    before = load_audio(aac)
    write(aac, audio_source=aac)
    assert np.array_equal(load_audio(aac), before)


# Whole or nothing


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_nothing_behind(tmp_path, error):
    (tmp_path / "out.mp4").write_bytes(b"precious")

    def fail_midway() -> None:
        with VideoWriter(tmp_path / "out.mp4", 64, 48) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            assert len(list(tmp_path.iterdir())) == 2, "a hidden file beside the output"
            raise error

    with pytest.raises(error):
        fail_midway()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"


def test_no_frame(tmp_path):
    with pytest.raises(OutputError, match="no picture"), VideoWriter(tmp_path / "out.mp4", 64, 48):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.avi", "out", "out.mp3"])
def test_suffix(tmp_path, name):
    with pytest.raises(OutputError, match=r"suffix.*\.mp4, \.mov, \.mkv"):
        VideoWriter(tmp_path / name, 64, 48)


def test_output_places(tmp_path):
    with pytest.raises(OutputError, match="nowhere does not exist"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", 64, 48)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", 64, 48)


def test_folder_that_refuses(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"out\.mp4 cannot be written: Permission denied"):
        VideoWriter(tmp_path / "out.mp4", 64, 48)


DISK_FULL = """
    import resource, signal, sys
    import numpy as np
    from speech2vid.errors import OutputError
    from speech2vid.media import VideoWriter
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    noise = np.random.default_rng(0)
    try:
        with VideoWriter(sys.argv[1], 128, 96, preset="ultrafast", threads=1) as writer:
            for _ in range(50):
                writer.write(noise.integers(0, 255, (96, 128, 3), np.uint8))
    except OutputError as error:
        print(error)
        sys.exit(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_disk_full(tmp_path, suffix):
    """Wherever the disk ends, also within the very last bytes, there is an error and the old file stays."""
    path = tmp_path / f"out.{suffix}"
    program = [sys.executable, "-c", textwrap.dedent(DISK_FULL), str(path)]
    subprocess.run([*program, str(10**9)], check=True)
    whole = path.stat().st_size
    path.write_bytes(b"precious")
    for room in (100, whole // 2, whole - 3000, whole - 1):
        result = subprocess.run([*program, str(room)], capture_output=True, text=True, check=False)
        assert result.returncode == 1, (room, result.stderr)
        assert f"out.{suffix} could not be written" in result.stdout
        assert "free some disk space" in result.stdout
        assert [p.name for p in tmp_path.iterdir()] == [f"out.{suffix}"]
        assert path.read_bytes() == b"precious"


INTERRUPTED = """
    import sys
    import numpy as np
    from speech2vid.media import VideoWriter
    with VideoWriter(sys.argv[1], 128, 96) as writer:
        for k in range(10**9):
            writer.write(np.zeros((96, 128, 3), np.uint8))
            if k == 20:
                print("running", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    program = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(path)]
    with start(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) != 0
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(("width", "height", "label"), [(128, 96, False), (131, 97, False), (131, 97, True)])
def test_parts_give_the_file_of_whole_frames(tmp_path, width, height, label):
    """Bit for bit, also where a part begins at odd pixels or ends at the border."""
    random = np.random.default_rng(0)
    background = random.integers(0, 256, (height, width, 3), np.uint8)
    boxes = [(33, 21, 40, 31), (0, 0, 9, 8), (width - 17, height - 11, 17, 11), (33, 21, 40, 31), (0, 0, width, height)]
    parts = [(random.integers(0, 256, (h, w, 3), np.uint8), x, y) for x, y, w, h in boxes]
    with VideoWriter(tmp_path / "parts.mkv", width, height, crf=0, label=label) as writer:
        writer.prepare(background)
        for part, left, top in parts:
            writer.write_part(part, left, top)
    frame = background.copy()
    with VideoWriter(tmp_path / "whole.mkv", width, height, crf=0, label=label) as writer:
        for part, left, top in parts:
            frame[top : top + part.shape[0], left : left + part.shape[1]] = part
            writer.write(frame)
    assert packets(tmp_path / "parts.mkv", "video") == packets(tmp_path / "whole.mkv", "video")
    assert not np.array_equal(frame, background)


def test_a_part_must_fit(tmp_path):
    part = np.zeros((8, 8, 3), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 64, 48) as writer:
        with pytest.raises(ValueError, match="no picture was prepared"):
            writer.write_part(part, 0, 0)
        writer.prepare(np.zeros((48, 64, 3), np.uint8))
        for left, top in ((57, 0), (-1, 0), (0, 41)):
            with pytest.raises(ValueError, match="leaves the picture"):
                writer.write_part(part, left, top)
        writer.discard()
