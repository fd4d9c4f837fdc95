"""A media file is opened once: probing, several passes over its video, and its audio share it."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid import media
from speech2vid.errors import MediaError
from speech2vid.media import VideoReader, read_audio, read_keyframes


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is opened, by name."""
    counts: Counter[str] = Counter()
    really_open = av.open

    def counted(file, *args, **options):
        counts[Path(str(file)).name] += 1
        return really_open(file, *args, **options)

    monkeypatch.setattr(av, "open", counted)
    return counts


CODECS = [
    ("libx264", "yuv420p", "mp4", {"bf": "3", "g": "12"}),
    ("libx264", "yuv420p", "mkv", {"bf": "3", "g": "12"}),
    ("libx265", "yuv420p10le", "mov", {"x265-params": "log-level=none:bframes=3"}),
    ("libvpx-vp9", "yuv420p", "webm", {"cpu-used": "8"}),
    ("mpeg4", "yuv420p", "mp4", {"bf": "2"}),
    ("mpeg2video", "yuv420p", "ts", {"bf": "2"}),
    ("mpeg4", "yuv420p", "avi", {}),
]


def write(path: Path, codec: str, pixel_format: str, options: dict[str, str]) -> Path:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, pixel_format
        audio = output.add_stream("libopus" if path.suffix == ".webm" else "mp2", rate=48_000, layout="mono")
        for number in range(30):
            image = np.roll(noise, 2 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
        wave = av.AudioFrame.from_ndarray((1e4 * np.sin(np.arange(57_600) / 9)).astype(np.int16)[None], "s16", "mono")
        wave.sample_rate, wave.pts, wave.time_base = 48_000, 0, Fraction(1, 48_000)
        for part in av.AudioResampler(audio.codec_context.codec.audio_formats[0].name, "mono", 48_000).resample(wave):
            output.mux(audio.encode(part))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    return path


def pixels(file: media.MediaFile) -> list[tuple[int | None, bytes]]:
    return [(frame.pts, b"".join(bytes(plane) for plane in frame.planes)) for frame in file.frames()]


@pytest.mark.parametrize(("codec", "pixel_format", "suffix", "options"), CODECS)
def test_every_pass_gives_the_frames_of_a_file_opened_anew(
    tmp_path: Path, opens: Counter[str], codec: str, pixel_format: str, suffix: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / f"a.{suffix}", codec, pixel_format, options)
    with media.open(path) as fresh:
        wanted = pixels(fresh)
    opens.clear()
    with media.open(path) as file:
        assert file.info.has_audio
        assert pixels(file) == wanted
        assert len(list(read_keyframes(file))) >= 1
        assert pixels(file) == wanted
        frames = file.frames()
        next(frames)
        frames.close()
        assert pixels(file) == wanted
    assert opens[path.name] == (1 if suffix in ("mp4", "mov", "mkv", "webm") else 5)


def test_audio_is_read_next_to_the_video(tmp_path: Path, opens: Counter[str]) -> None:
    path = write(tmp_path / "a.mp4", *CODECS[0][:2], CODECS[0][3])
    opens.clear()
    with media.open(path) as file:
        both = list(zip(VideoReader(file), read_audio(file), strict=False))
        assert len(both) > 10
        again = np.concatenate(list(read_audio(file)))
        assert len(again) == pytest.approx(19_200, abs=400)
    assert opens[path.name] <= 3


def test_a_reader_leaves_an_open_file_open_and_closes_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", *CODECS[0][:2], CODECS[0][3])
    with media.open(path) as file:
        with VideoReader(file) as reader:
            first = len(list(reader))
        assert len(list(VideoReader(file))) == first
    with VideoReader(path) as reader:
        assert len(list(reader)) == len(list(reader)) == first


def test_facts_of_a_file_without_video(tmp_path: Path, speech: Path) -> None:
    with media.open(speech) as file:
        assert (file.has_video, file.has_audio) == (False, True)
        assert file.video_start_s is None
        with pytest.raises(MediaError, match="no video stream"):
            _ = file.first_frame


def test_containers_say_what_they_hold() -> None:
    assert media.CONTAINERS[".mp4"].can_hold("mov_text")
    assert not media.CONTAINERS[".mp4"].can_hold("subrip")
    assert media.CONTAINERS[".mkv"].can_hold("subrip")
    assert {suffix for suffix, each in media.CONTAINERS.items() if each.signed_as} == {".mp4", ".mov"}
    assert [each.edit_lists for each in media.CONTAINERS.values()] == [True, True, False]
