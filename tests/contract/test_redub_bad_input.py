"""What people give ``redub`` that it cannot use, and what goes wrong midway: a reason, a hint, nothing half-written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program
from speech2vid.errors import MediaError
from speech2vid.inference.redub import redub
from speech2vid.media import RawVideoReader, VideoWriter

BEFORE = b"an older video"
FaceClip = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def clip(face_clip: FaceClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=30)


def grey(path: Path) -> Path:
    with VideoWriter(path, 160, 120) as writer:
        for level in range(60, 72):
            writer.write(np.full((120, 160, 3), level, np.uint8))
    return path


def cut_short(path: Path, source: Path, share: float) -> Path:
    content = source.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


Maker = Callable[[Path, Path, Path], dict[str, object]]
BAD: dict[str, tuple[Maker, str, str]] = {
    "no face": (lambda at, clip, audio: {"--video": grey(at / "grey.mp4")}, "no face was found in", "must be frontal"),
    "no pictures": (lambda at, clip, audio: {"--video": audio}, "has no video stream", "video file"),
    "no audio": (
        lambda at, clip, audio: {"--audio": grey(at / "mute.mp4")},
        "mute.mp4 has no audio",
        "with an audio track",
    ),
    "video cut short": (
        lambda at, clip, audio: {"--video": cut_short(at / "cut.mp4", clip, 0.02)},
        "cut.mp4 has a video stream, but no frame of it can be decoded",
        "damaged",
    ),
    "no such person": (
        lambda at, clip, audio: {"--face-index": 3},
        "has no person 3; people found: 1",
        "numbered 0 to 0",
    ),
    "a map that is none": (
        lambda at, clip, audio: {"--speakers": text(at / "map.toml", "speaker = 3")},
        "map.toml is not a valid speaker file",
        "[[speaker]]",
    ),
    "a map with a misspelling": (
        lambda at, clip, audio: {"--speakers": text(at / "map.toml", '[[speaker]]\nfase = 0\naudio = "a.wav"')},
        "invalid speaker entry",
        "face = 0",
    ),
    "no weights for the network": (lambda at, clip, audio: {"--weights": at}, "contains no weight file", "redub uses"),
    "another suffix": (
        lambda at, clip, audio: {"--outfile": at / "a.avi"},
        "a.avi has an unsupported file name extension",
        ".mp4",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str, folder: Path, tmp_path: Path, clip: Path, speech: Path, drawn_weights: Path) -> None:
    make, reason, hint = BAD[what]
    options: dict[str, object] = {"--video": clip, "--audio": speech, "--outfile": folder / "a.mp4"}
    options |= {"--weights": drawn_weights} | make(tmp_path, clip, speech)
    words = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(program, ["redub", *words, "--json"])
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert reason in first
    assert hint in second
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert (folder / "a.mp4").read_bytes() == BEFORE


def test_the_video_is_never_overwritten(clip: Path, speech: Path, drawn_weights: Path) -> None:
    before = clip.read_bytes()
    words = ["--video", clip, "--audio", speech, "--outfile", clip, "--weights", drawn_weights]
    result = CliRunner().invoke(program, ["redub", *map(str, words)])
    assert result.exit_code == 1
    assert "is also an input" in result.stderr
    assert clip.read_bytes() == before


def test_ctrl_c_midway(folder: Path, clip: Path, speech: Path, drawn_weights: Path) -> None:
    redub(clip, speech, folder.parent / "warm.mp4", weights=drawn_weights, length="shortest")
    threads = threading.active_count()

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redub(clip, speech, folder / "a.mp4", weights=drawn_weights, progress=stop)
    assert [path.name for path in folder.iterdir()] == ["a.mp4"]
    assert (folder / "a.mp4").read_bytes() == BEFORE
    assert threading.active_count() == threads


def test_audio_that_fails_halfway(tmp_path: Path, clip: Path, face_clip: FaceClip, drawn_weights: Path) -> None:
    half = cut_short(tmp_path / "half.mp4", face_clip(tmp_path / "whole.mp4", frames=60), 0.4)
    with pytest.raises(MediaError, match=r"only \d\.\d of the 2\.4 s of audio in .*half\.mp4 can be decoded"):
        redub(clip, half, tmp_path / "a.mp4", weights=drawn_weights)
    assert not (tmp_path / "a.mp4").exists()


def test_a_video_that_ends_early_is_dubbed_as_far_as_it_goes(
    tmp_path: Path, clip: Path, speech: Path, drawn_weights: Path
) -> None:
    half = cut_short(tmp_path / "half.mp4", clip, 0.5)
    result = redub(half, speech, tmp_path / "a.mp4", weights=drawn_weights, length="video")
    assert 3 <= result.frames < 30
    assert "only the first" in result.notes[0]


def test_a_hole_in_the_video_stays_a_hole(
    tmp_path: Path, face_clip: FaceClip, speech: Path, drawn_weights: Path
) -> None:
    """Bytes in the middle are overwritten: what can be decoded is dubbed, at its own times."""
    source = face_clip(tmp_path / "whole.mp4", frames=50)
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    result = redub(damaged, speech, tmp_path / "a.mp4", weights=drawn_weights, length="video")
    before, after = [p.ticks for p in RawVideoReader(damaged)], [p.ticks for p in RawVideoReader(result.outfile)]
    assert after == before
    assert 30 <= len(after) <= 50


def test_disk_full(on_a_full_disk: Callable[..., None], clip: Path, speech: Path, drawn_weights: Path) -> None:
    on_a_full_disk("redub", "--video", clip, "--audio", speech, "--weights", drawn_weights)


def test_a_video_without_audio_of_its_own_is_dubbed(
    tmp_path: Path, face_clip: FaceClip, speech: Path, drawn_weights: Path
) -> None:
    mute = face_clip(tmp_path / "mute.mp4", frames=10, audio=None)
    result = redub(mute, speech, tmp_path / "a.mp4", weights=drawn_weights, length="video")
    assert result.frames == 10


def test_preview_writes_one_frame_and_no_video(tmp_path: Path, clip: Path, speech: Path, drawn_weights: Path) -> None:
    words = ["--video", clip, "--audio", speech, "--outfile", tmp_path / "a.mp4", "--weights", drawn_weights]
    result = CliRunner().invoke(program, ["redub", *map(str, words), "--preview", str(tmp_path / "p.png"), "--json"])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "a.mp4").exists()
    frame = cv2.imread(str(tmp_path / "p.png"))
    assert frame.shape == (200, 400, 3)
    before, after = frame[:, :200].astype(int), frame[:, 200:]
    assert abs(after - before).max() > 10
    assert np.array_equal(before[:60], after[:60])
