"""Moving the audio against the picture: by how much, what stays the same to the byte, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError, OutputError
from speech2vid.media import VideoReader, VideoWriter, load_audio, shift_audio

CLICK_S = 0.6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 s of noise pictures with a click at 0.6 s."""
    import wave

    folder = tmp_path_factory.mktemp("clip")
    samples = np.zeros(2 * 48_000, np.int16)
    samples[int(CLICK_S * 48_000) : int(CLICK_S * 48_000) + 200] = 20_000
    with wave.open(str(folder / "click.wav"), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    rng = np.random.default_rng(0)
    path = folder / "clip.mp4"
    with VideoWriter(path, 64, 48, audio_source=folder / "click.wav", metadata={"title": "a click"}) as writer:
        for _ in range(50):
            writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return path


def click_s(path: Path) -> float:
    """When the click is heard, counted from the first picture."""
    audio = np.abs(load_audio(path))
    return float(np.flatnonzero(audio > 0.5 * audio.max())[0]) / SAMPLE_RATE_HZ


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "shift_s", [Fraction(-8, 25), Fraction(-1, 25), Fraction(0), Fraction(1, 25), Fraction(12, 25)]
)
def test_audio_moves_by_the_shift_and_images_stay(clip: Path, tmp_path: Path, shift_s: Fraction, suffix: str) -> None:
    moved = shift_audio(clip, tmp_path / f"moved{suffix}", shift_s)
    assert click_s(moved) - click_s(clip) == pytest.approx(float(shift_s), abs=0.003)
    assert packets(moved, "video") == packets(clip, "video")
    times = [frame.time_s for frame in VideoReader(moved, None)]
    assert [float(t) for t in times] == pytest.approx([i / 25 for i in range(50)], abs=0.0011)


def test_audio_is_copied_not_encoded(clip: Path, tmp_path: Path) -> None:
    assert packets(shift_audio(clip, tmp_path / "late.mp4", Fraction(1, 5)), "audio") == packets(clip, "audio")


def test_title_and_mark_stay(clip: Path, tmp_path: Path) -> None:
    with av.open(str(shift_audio(clip, tmp_path / "moved.mp4", 0.2))) as container, av.open(str(clip)) as source:
        assert container.metadata["title"] == "a click"
        assert container.metadata["comment"] == source.metadata["comment"]


def test_there_and_back_is_where_it_was(clip: Path, tmp_path: Path) -> None:
    there = shift_audio(clip, tmp_path / "there.mp4", 0.4)
    assert click_s(shift_audio(there, tmp_path / "back.mp4", -0.4)) == pytest.approx(click_s(clip), abs=0.003)


def test_the_source_is_never_overwritten(clip: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(OutputError, match="also the input"):
        shift_audio(clip, clip, 0.04)
    assert clip.read_bytes() == before


@pytest.mark.parametrize("name", ["out.avi", "missing/out.mp4"])
def test_bad_output_names(clip: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        shift_audio(clip, tmp_path / name, 0.04)
    assert list(tmp_path.iterdir()) == []


def test_without_audio(face_clip: Callable[..., Path], tmp_path: Path) -> None:
    silent = face_clip(tmp_path / "silent.mp4", frames=3, audio=None)
    with pytest.raises(MediaError, match="no audio stream"):
        shift_audio(silent, tmp_path / "out.mp4", 0.04)
    assert not (tmp_path / "out.mp4").exists()
