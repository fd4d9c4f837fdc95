"""``--weights`` takes the weights of any training: they talk and re-dub without torch, or what is missing is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.inference.talkers import load_talker
from speech2vid.media import VideoReader, probe
from speech2vid.runtime.weights import DEFAULT, weight_set

WITHOUT_TORCH = """
import importlib.abc, sys
class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "tensorboard"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
from speech2vid.cli import main
main()
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def record_of(*words: object) -> dict[str, object]:
    result = run(*words, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def spoken(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of speech, from its middle."""
    path = tmp_path_factory.mktemp("spoken") / "speech.wav"
    with wave.open(str(speech)) as source, wave.open(str(path), "wb") as target:
        target.setparams(source.getparams())
        source.readframes(source.getframerate())
        target.writeframes(source.readframes(source.getframerate()))
    return path


@pytest.fixture(scope="module")
def clip(face_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=25)


def images(path: Path) -> np.ndarray:
    return np.stack([frame.image for frame in VideoReader(path)]).astype(int)


def test_the_papers_talker_talks_without_torch(paper_weights: Path, photo: Path, spoken: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    words = ("--face", photo, "--audio", spoken, "--outfile", out, "--crf", 0)
    record = record_of("talk", *words, "--weights", paper_weights / "talker")
    assert (record["frames"], record["notes"]) == (25, [])
    frames = images(out)
    assert frames.std(axis=0).max() > 3  # the face follows the audio
    assert frames[:, 350:].std(axis=0).max() == 0  # below it the photo stands still


@pytest.mark.parametrize(
    ("folder", "options"),
    [
        ("talker", ["--blend", "poisson", "--region", "lower"]),
        ("talker", ["--blend", "poisson", "--region", "face", "--identity"]),
        ("redubber", ["--blend", "network"]),
    ],
    ids=["poisson", "another identity", "network"],
)
def test_the_papers_networks_redub_without_torch(
    paper_weights: Path, clip: Path, photo: Path, spoken: Path, tmp_path: Path, folder: str, options: list[str]
) -> None:
    words: list[object] = [*options, photo] if options[-1] == "--identity" else [*options]
    out = tmp_path / "b.mp4"
    given = ("--video", clip, "--audio", spoken, "--outfile", out, "--crf", 0, "--weights", paper_weights / folder)
    record = record_of("redub", *given, *words)
    assert record["frames"] == 25
    before, after = images(clip), images(out)
    assert probe(out).has_audio
    assert np.abs(after - before).max() > 30
    corners = np.s_[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_array_equal(after[corners], before[corners])  # outside the face it is the source


def test_a_folder_with_one_network_is_completed_and_it_is_said(
    drawn_weights: Path, photo: Path, spoken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in drawn_weights.glob("warp_talker*"):
        shutil.copy(path, folder)
    words = ("--face", photo, "--audio", spoken, "--outfile", tmp_path / "a.mp4", "--crop")
    record = record_of("talk", *words, "--weights", folder)
    assert record["notes"] == [f"audio_to_mouth came from the default set: {folder} has none"]
    shown = json.loads(run("info", "--weights", folder, "--json").stdout)
    sets = {each["architecture"]: each["set"] for each in shown["networks"]}
    assert (sets["warp_talker"], sets["audio_to_mouth"], sets["sync"]) == (str(folder), DEFAULT, DEFAULT)


@pytest.mark.parametrize(
    ("command", "weights", "options", "reason"),
    [
        ("talk", "paper", [], "the weight set 'paper' is not part of this installation"),
        ("talk", "nowhere", [], "nowhere does not exist"),
        ("talk", "sharpener", [], "contains sharpener, which talk does not use"),
        ("talk", "talker", ["--sharpen"], "have no sharpening network"),
        ("redub", "talker", ["--blend", "network"], "has no re-dubbing network for the paper talker"),
    ],
)
def test_what_is_missing_is_named(
    paper_weights: Path,
    photo: Path,
    clip: Path,
    spoken: Path,
    tmp_path: Path,
    command: str,
    weights: str,
    options: list[str],
    reason: str,
) -> None:
    if weights == "paper" and weight_installed("paper"):
        pytest.skip("the set is installed")
    source = ("--face", photo) if command == "talk" else ("--video", clip)
    folder = paper_weights / weights
    words = (*source, "--audio", spoken, "--outfile", tmp_path / "a.mp4", *options)
    result = run(command, *words, "--weights", folder if folder.exists() else weights)
    assert result.returncode == 1
    error, hint = result.stderr.splitlines()
    assert reason in error
    assert hint.startswith("hint: ")
    assert not (tmp_path / "a.mp4").exists()


def weight_installed(name: str) -> bool:
    from speech2vid.runtime.weights import installed_sets

    return name in {each.name for each in installed_sets()}


def test_sharpening_changes_the_face_and_the_mouth_alone_if_asked(
    paper_weights: Path, photo: Path, tmp_path: Path
) -> None:
    """On whichever talker's faces: whole faces, and warp fields on the photo's own pixels."""
    from speech2vid.constants import SAMPLES_PER_FRAME
    from speech2vid.inference.audio_stream import drive_of
    from speech2vid.inference.identity import make_identity
    from speech2vid.inference.sharpening import Sharpener, area_weight
    from speech2vid.inference.talk import generate_frames
    from speech2vid.runtime.engine import graph_loader

    load = graph_loader("cpu", 1)
    audio = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLES_PER_FRAME).astype(np.float32)
    for weights in (None, paper_weights / "talker"):
        talker = load_talker(weights, threads=1)
        identity = make_identity([photo], talker, max_size_px=256)
        drive = list(drive_of([audio], talker.audio_stream("follow")))
        plain = np.stack(list(generate_frames(identity, talker, drive))).astype(int)
        for area in ("face", "mouth"):
            sharpener = Sharpener(weight_set(paper_weights / "sharpener"), load, area)
            frames = np.stack(list(generate_frames(identity, talker, drive, sharpener=sharpener))).astype(int)
            changed = np.argwhere((frames != plain).any(axis=(0, 3)))[:, ::-1]
            assert len(changed) > 100
            x, y = (
                (changed @ identity.canvas_transform[:, :2].T + identity.canvas_transform[:, 2]).round().astype(int).T
            )
            shown = np.pad(area_weight(area), 3, mode="constant")
            near = np.maximum.reduce([shown[y + 3 + dy, x + 3 + dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)])
            assert near.min() > 0


@pytest.mark.slow
@pytest.mark.promise
@pytest.mark.parametrize("task", ["paper_talker", "paper_redubber"])
def test_after_a_training_its_weights_are_used(
    speech2vid, drawn_store: Callable[..., Path], photo: Path, clip: Path, spoken: Path, tmp_path: Path, task: str
) -> None:
    """A few steps of the paper's trainings, then what they leave behind, without torch."""
    configs = {
        "paper_talker": '[paper_talker]\nsteps = 2\nbatch = 2\nframes = 2\n[paper_talker.network]\nsize = "small"\n',
        "paper_redubber": "[paper_redubber]\nsteps = 2\nbatch = 2\npeople = 4\nframes = 2\n"
        '[paper_redubber.network]\ngeneration = "audio"\nsize = "compact"\n',
    }
    config, out = tmp_path / "small.toml", tmp_path / "run"
    config.write_text(configs[task], encoding="utf-8")
    store = drawn_store(tmp_path / "store")
    kind = task.removeprefix("paper_")
    trained = speech2vid(
        "train", kind, "--data", store, "--out", out, "--config", config, "--device", "cpu", timeout_s=900
    )
    assert trained.returncode == 0, trained.stderr
    made = tmp_path / "made.mp4"
    video = ("--video", clip, "--audio", spoken, "--outfile", made, "--weights", out / "weights")
    if task == "paper_talker":
        talk = ("--face", photo, "--audio", spoken, "--outfile", tmp_path / "t.mp4", "--weights", out / "weights")
        assert record_of("talk", *talk)["frames"] == 25
        assert record_of("redub", *video)["frames"] == 25
    else:
        assert record_of("redub", *video, "--blend", "network")["frames"] == 25
