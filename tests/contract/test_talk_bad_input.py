"""Everything people give ``talk`` that it cannot use: one reason, one hint, exit code 1, the old output untouched."""

from __future__ import annotations

import struct
import threading
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program
from speech2vid.inference.talk import talk
from speech2vid.media import VideoWriter, load_photo, probe

BEFORE = b"an older video"


def tone(path: Path, seconds: float, level: float = 0.3) -> Path:
    time = np.arange(round(seconds * 16_000)) / 16_000
    samples = level * 32767 * np.sin(2 * np.pi * 600 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def two_faces(path: Path, photo: Path) -> Path:
    portrait = load_photo(photo)[:260, 90:350]
    PIL.Image.fromarray(np.concatenate([portrait, portrait], axis=1)).save(path)
    return path


def cut_short(path: Path, source: Path, share: float) -> Path:
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def video(path: Path, photo: Path, *, audio: Path | None) -> Path:
    image = load_photo(photo)[:256, :256]
    with VideoWriter(path, 256, 256, audio_source=audio) as writer:
        for _ in range(10):
            writer.write(image)
    return path


def huge_png(path: Path) -> Path:
    """A valid header of 30,000 × 30,000 pixels and 2.7 GB of zeros that were never decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


Maker = Callable[[Path, Path, Path], dict[str, Path]]
BAD: dict[str, tuple[Maker, str, str]] = {
    "two equal faces": (
        lambda at, photo, audio: {"--face": two_faces(at / "two.png", photo)},
        "two.png shows 2 faces of about the same size",
        "--face-index",
    ),
    "unreadable picture": (
        lambda at, photo, audio: {"--face": cut_short(at / "cut.jpg", photo, 0.3)},
        "cut.jpg is damaged",
        "save it",
    ),
    "huge picture": (
        lambda at, photo, audio: {"--face": huge_png(at / "huge.png")},
        "huge.png is too large: ",
        "reduce its size",
    ),
    "empty file as audio": (
        lambda at, photo, audio: {"--audio": cut_short(at / "empty.wav", audio, 0)},
        "empty.wav is empty",
        "again",
    ),
    "no samples in the audio": (lambda at, photo, audio: {"--audio": tone(at / "none.wav", 0)}, "none.wav", " "),
    "audio shorter than a frame": (
        lambda at, photo, audio: {"--audio": tone(at / "click.wav", 0.01)},
        "click.wav lasts 10 ms, too short",
        "longer",
    ),
    "video without audio": (
        lambda at, photo, audio: {"--audio": video(at / "mute.mp4", photo, audio=None)},
        "mute.mp4 has no audio stream",
        "with an audio track",
    ),
    "truncated mp4 as audio": (
        lambda at, photo, audio: {
            "--audio": cut_short(at / "cut.mp4", video(at / "whole.mp4", photo, audio=audio), 0.02)
        },
        "cut.mp4 is not a media file that can be read",
        "damaged",
    ),
    "truncated mp4 as face": (
        lambda at, photo, audio: {
            "--face": cut_short(at / "cut.mp4", video(at / "whole.mp4", photo, audio=audio), 0.02)
        },
        "cut.mp4 is not a media file that can be read",
        "damaged",
    ),
    "output in a file": (
        lambda at, photo, audio: {"--outfile": audio / "a.mp4"},
        "folder",
        "create it",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str, folder: Path, tmp_path: Path, photo: Path, drawn_weights: Path) -> None:
    make, reason, hint = BAD[what]
    audio = tone(tmp_path / "good.wav", 0.4)
    options = {"--face": photo, "--audio": audio, "--outfile": folder / "a.mp4", "--weights": drawn_weights}
    options |= make(tmp_path, photo, audio)
    words = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(program, ["talk", *words, "--json"])
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert reason in first
    assert second.startswith("hint: ")
    assert hint in second
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert (folder / "a.mp4").read_bytes() == BEFORE


@pytest.mark.parametrize("role", ["--face", "--audio"])
def test_an_input_is_never_overwritten(role: str, tmp_path: Path, photo: Path, drawn_weights: Path) -> None:
    given = tmp_path / "given.mp4"
    given.write_bytes((photo if role == "--face" else tone(tmp_path / "tone.wav", 0.4)).read_bytes())
    before = given.read_bytes()
    options = {"--face": photo, "--audio": tone(tmp_path / "tone.wav", 0.4), role: given, "--outfile": given}
    words = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(program, ["talk", *words, "--weights", str(drawn_weights)])
    assert result.exit_code == 1
    assert "is also an input" in result.stderr
    assert given.read_bytes() == before


def test_ctrl_c_midway(folder: Path, tmp_path: Path, photo: Path, drawn_weights: Path) -> None:
    threads = threading.active_count()

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talk(photo, tone(tmp_path / "t.wav", 4), folder / "a.mp4", weights=drawn_weights, progress=stop)
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert (folder / "a.mp4").read_bytes() == BEFORE
    assert threading.active_count() == threads


def test_a_failing_network_midway(
    folder: Path, tmp_path: Path, photo: Path, drawn_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speech2vid.inference.talkers.warp import WarpNetworks

    generate, calls = WarpNetworks.generate, []

    def fail_later(self: WarpNetworks, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return generate(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(WarpNetworks, "generate", fail_later)
    threads = threading.active_count()
    words = ["--face", photo, "--audio", tone(tmp_path / "t.wav", 4), "--outfile", folder / "a.mp4"]
    result = CliRunner().invoke(program, ["talk", *map(str, words), "--weights", str(drawn_weights)])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "error: not enough memory"
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert threading.active_count() == threads


def test_disk_full(on_a_full_disk: Callable[..., None], tmp_path: Path, photo: Path, drawn_weights: Path) -> None:
    on_a_full_disk("talk", "--face", photo, "--audio", tone(tmp_path / "t.wav", 3), "--weights", drawn_weights)


@pytest.mark.parametrize(("seconds", "level"), [(0.1, 0.3), (1.0, 0.0)])
def test_short_and_silent_audio_work(
    seconds: float, level: float, tmp_path: Path, photo: Path, drawn_weights: Path
) -> None:
    """A tone and silence: neither is speech."""
    outfile = tmp_path / "a.mp4"
    result = talk(photo, tone(tmp_path / "t.wav", seconds, level), outfile, weights=drawn_weights)
    assert result.frames == round(seconds * 25)
    assert abs(probe(outfile).duration_s - seconds) <= 0.04 + 1e-6
    assert [("mouth stays closed" in note) for note in result.notes] == [True]


def test_a_truncated_video_gives_what_can_be_decoded(tmp_path: Path, photo: Path, drawn_weights: Path) -> None:
    whole = tmp_path / "whole.mkv"
    image = load_photo(photo)[:256, 60:316]
    with VideoWriter(whole, 256, 256, Fraction(25), audio_source=tone(tmp_path / "t.wav", 4)) as writer:
        for index in range(100):
            writer.write(np.roll(image, index % 5, axis=1))
    half = cut_short(tmp_path / "half.mkv", whole, 0.7)
    result = talk(half, half, tmp_path / "a.mp4", weights=drawn_weights)
    assert 5 <= result.frames < 90
