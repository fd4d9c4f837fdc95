"""The page on adding a talker, followed literally: its one file runs in talk, redub, the stream and evaluate."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid import TalkStream
from speech2vid.cli.program import program
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.media import VideoReader, load_audio, probe

MOST_FILES = 4


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "how-to" / "add-a-talker.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's module, written where Python finds it, by the name that the page's commands give."""
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folder = tmp_path_factory.mktemp("own")
    (folder / "toy_talker.py").write_text(code, encoding="utf-8")
    names = set(re.findall(r"--generator (\S+:\S+)", page))
    assert names == {"toy_talker:ToyTalker"}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield names.pop()


@pytest.fixture(scope="module")
def spoken(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech."""
    import wave

    path = tmp_path_factory.mktemp("spoken") / "speech.wav"
    with wave.open(str(speech)) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        target.writeframes(source.readframes(source.getframerate()))
    return path


def run(*words: object) -> str:
    result = CliRunner().invoke(program, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_few_files_are_touched(page: str) -> None:
    _, own, part = re.split(r"^## ", page, flags=re.MULTILINE)
    assert own.count("```python") == 1
    assert len(re.findall(r"^\d+\. `", part, re.MULTILINE)) <= MOST_FILES


def test_it_talks(generator: str, photo: Path, spoken: Path, tmp_path: Path) -> None:
    words = ("--face", photo, "--audio", spoken, "--outfile", tmp_path / "a.mp4", "--json")
    record = json.loads(run("talk", "--generator", generator, *words))
    assert record["frames"] == 25
    assert record["notes"] == []
    frames = np.stack([frame.image for frame in VideoReader(tmp_path / "a.mp4")]).astype(int)
    assert frames.std(axis=0).max() > 10
    assert frames[:, 300:].std(axis=0).max() < 8  # below the face the photo stands still, but for the codec


def test_the_stream_gives_the_same_frames(generator: str, photo: Path, spoken: Path) -> None:
    audio = load_audio(spoken)
    stream = TalkStream.of(photo, generator=generator, crop=True)
    whole = [*stream.push(audio), *stream.flush()]
    assert len(whole) == round(25 * len(audio) / SAMPLE_RATE_HZ)
    pieces = [frame for start in range(0, len(audio), 999) for frame in stream.push(audio[start : start + 999])]
    np.testing.assert_array_equal([*pieces, *stream.flush()], whole)


def test_it_redubs(generator: str, face_clip: Callable[..., Path], spoken: Path, tmp_path: Path) -> None:
    video = face_clip(tmp_path / "clip.mp4", frames=30)
    words = ("--video", video, "--audio", spoken, "--outfile", tmp_path / "b.mp4", "--length", "shortest")
    run("redub", "--generator", generator, *words)
    before, after = ([frame.image.astype(int) for frame in VideoReader(path)] for path in (video, tmp_path / "b.mp4"))
    assert probe(tmp_path / "b.mp4").has_audio
    assert len(after) == 25
    assert max(np.abs(a - b).max() for a, b in zip(after, before, strict=False)) > 30


@pytest.mark.slow
def test_it_is_evaluated(generator: str, drawn_store: Callable[..., Path], tmp_path: Path) -> None:
    store = drawn_store(tmp_path / "store", clips=1)
    words = ("--data", store, "--out", tmp_path / "out", "--stills", "1", "--json")
    record = json.loads(run("evaluate", "--generator", generator, *words))
    assert record["settings"]["generators"] == [generator]
    assert record["metrics"]["one_still"]["generated"]["mse"]["value"] > 0
