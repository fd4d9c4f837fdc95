"""Kinds of faults that people reported, each with other cases than the reported one: masks, channels, names, links."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid import Identity, OutputError, make_identity, talk
from speech2vid.media import probe

PCM, FLOAT = 1, 3
GUID = bytes.fromhex("000000001000800000aa00389b71")
FRAMES = 10


@pytest.fixture(scope="module")
def identity(photo: Path) -> Identity:
    return make_identity(photo, crop=True, max_size_px=128)


@pytest.fixture(scope="module")
def samples(speech: Path) -> tuple[np.ndarray, int]:
    """0.4 s of speech, int16, and its rate."""
    with wave.open(str(speech)) as file:
        rate_hz = file.getframerate()
        return np.frombuffer(file.readframes(int(0.4 * rate_hz)), np.int16), rate_hz


def extensible(samples: np.ndarray, rate_hz: int, mask: int, tag: int = PCM) -> bytes:
    """Return a WAV file, (N, channels), that names its speakers."""
    channels, width = samples.shape[1], samples.dtype.itemsize
    frame = width * channels
    head = struct.pack("<HHIIHH", 0xFFFE, channels, rate_hz, rate_hz * frame, frame, 8 * width)
    head += struct.pack("<HHIH", 22, 8 * width, mask, tag) + GUID
    data = samples.tobytes()
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("mask", "channels"),
    [
        (0x30, 2),  # back left and right
        (0x8, 1),  # bass alone
        (0xC, 2),  # centre and bass
        (0x108, 2),  # back centre and bass
        (0x2D000, 4),  # above the head
        (0x70, 3),
        (0x7FF, 2),  # more names than channels
        (0x3, 4),  # more channels than names
        (0x3F, 8),
        (0x80000000, 1),  # reserved
        (0, 6),
        (0, 16),
    ],
)
def test_any_mask_of_speakers_is_heard_and_written(
    mask: int, channels: int, identity: Identity, samples: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    values, rate_hz = samples
    recording = extensible(np.repeat(values[:, None], channels, axis=1), rate_hz, mask)
    result = talk(identity, recording, tmp_path / "a.mp4")
    assert (result.frames, result.notes) == (FRAMES, ())
    assert probe(tmp_path / "a.mp4").duration_s == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize("full_scale", [2.0**15, 2.0**23, 2.0**31])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_integers_stored_as_floats_are_scaled_with_a_note(
    full_scale: float, kind: type, identity: Identity, samples: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    values, rate_hz = samples
    loud = values.astype(np.float64) / np.abs(values).max() * full_scale
    recording = extensible(loud.astype(kind)[:, None], rate_hz, 0, FLOAT)
    result = talk(identity, recording, tmp_path / "a.mp4")
    assert result.frames == FRAMES
    assert f"full scale {full_scale:.0f} and scaled down" in result.notes[0]


@pytest.mark.parametrize("start_s", [-0.1, 7200, 95_443])
@pytest.mark.parametrize(
    ("suffix", "codec", "rate_hz"),
    [("ts", "aac", 48_000), ("mpg", "mp2", 48_000), ("webm", "libopus", 48_000), ("mka", "aac", 48_000),
     ("flv", "aac", 44_100), ("mp4", "aac", 48_000),],
)  # fmt: skip
def test_recording_that_starts_anywhere_is_as_long_as_its_content(
    suffix: str, codec: str, rate_hz: int, start_s: float, identity: Identity, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    if start_s < 0 and suffix in ("mpg", "ts"):
        pytest.skip("has no negative times")
    times = np.arange(int(0.8 * rate_hz)) / rate_hz
    tone = np.asarray(0.3 * np.sin(2 * np.pi * 220 * times), np.float32)
    with av.open(str(path), "w", format={"mpg": "mpeg"}.get(suffix)) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        packets = [p for part in [*resampler.resample(frame), *resampler.resample(None)] for p in stream.encode(part)]
        for packet in [*packets, *stream.encode(None)]:
            moved = round(Fraction(start_s) / packet.time_base)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            file.mux(packet)
    result = talk(identity, path, tmp_path / "out.mp4")
    assert 17 <= result.frames <= 22
    assert probe(tmp_path / "out.mp4").duration_s == pytest.approx(result.frames / 25, abs=0.05)


@pytest.mark.parametrize("name", ["ä" * 125 + "b.mp4", "😀" * 62 + ".mkv", "a\n\"b' %d ?#.mov", "x" * 251 + ".mp4"])
def test_any_name_up_to_255_bytes_can_be_written(
    name: str, identity: Identity, samples: tuple[np.ndarray, int], tmp_path: Path
) -> None:
    talk(identity, samples, tmp_path / name)
    assert [os.fsdecode(each) for each in os.listdir(os.fsencode(tmp_path))] == [name]


@pytest.mark.parametrize("name", ["ä" * 126 + ".mp4", "x" * 5000 + ".mp4"])
def test_name_that_is_too_long_is_refused_in_words(
    name: str, identity: Identity, samples: tuple[np.ndarray, int], second: Path, tmp_path: Path
) -> None:
    for audio in (samples, second):
        with pytest.raises(OutputError, match="its name is too long"):
            talk(identity, audio, tmp_path / name)
    assert not list(tmp_path.iterdir())


LINKS: dict[str, tuple[str, str]] = {  # target, what is said; "" for a video
    "dangling": ("real/new.mp4", ""),
    "chain": ("first.mp4", ""),
    "other suffix": ("real/new.data", ""),
    "no folder": ("nowhere/a.mp4", "cannot be written"),
    "folder": ("real", "is a folder"),
    "loop": ("a.mp4", "could not be written|cannot be written|symbolic links"),
    "device": ("/dev/null", "a device or a pipe"),
    "input": ("audio.wav", "is also an input"),
}


@pytest.mark.parametrize("case", LINKS)
def test_link_as_output_is_followed_or_refused_in_words(
    case: str, identity: Identity, second: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "audio.wav").write_bytes(second.read_bytes())
    (tmp_path / "first.mp4").symlink_to("real/last.mp4")
    target, said = LINKS[case]
    link = tmp_path / "a.mp4"
    link.symlink_to(target)
    if said:
        with pytest.raises(OutputError, match=said):
            talk(identity, tmp_path / "audio.wav", link)
    else:
        talk(identity, tmp_path / "audio.wav", link)
        assert link.stat().st_size > 1000
    assert link.is_symlink()
    assert (tmp_path / "audio.wav").read_bytes() == second.read_bytes()


def test_hard_link_to_the_recording_is_an_input(identity: Identity, second: Path, tmp_path: Path) -> None:
    (tmp_path / "audio.wav").write_bytes(second.read_bytes())
    os.link(tmp_path / "audio.wav", tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="is also an input"):
        talk(identity, tmp_path / "audio.wav", tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        ("prores_ks", "yuva444p10le", "mov"),
        ("qtrle", "argb", "mov"),
        ("png", "rgba", "mov"),
        ("ffv1", "yuva420p", "mkv"),
    ],
)
def test_lost_transparency_of_a_video_is_noted(
    codec: str, pixels: str, suffix: str, photo: Path, samples: tuple[np.ndarray, int], tmp_path: Path,
    face_clip: Callable[..., Path],
) -> None:  # fmt: skip
    source, path = face_clip(tmp_path / "clip.mp4", frames=6), tmp_path / f"alpha.{suffix}"
    with av.open(str(source)) as given, av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 200, 200, pixels
        for number, frame in enumerate(given.decode(video=0)):
            image = frame.reformat(format=pixels)
            image.pts, image.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(image))
        file.mux(stream.encode(None))
    result = talk(path, samples, tmp_path / "out.mp4", crop=True)
    assert any("transparency (an alpha channel), which is dropped" in note for note in result.notes)
