"""Any weights behind one interface: which talker lies in a folder, both engines, the frame it fills, the sharpener."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from speech2vid.data.records import Track
from speech2vid.errors import WeightsError
from speech2vid.evaluation.generation import MotionSpeaker
from speech2vid.evaluation.protocol import five_stills, stills_at
from speech2vid.evaluation.sharpening import SharpenedGenerator, mouth_part
from speech2vid.evaluation.weights import fingerprint_of, load_generator, load_sharpener
from speech2vid.inference.sharpening import sharpened, sharpened_part
from speech2vid.inference.talkers.paper import framed
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
from speech2vid.models.sharpener import Sharpener, SharpenerConfig
from speech2vid.runtime.torch import save
from speech2vid.runtime.weights import SHIPPED_SETS, weight_set
from speech2vid.training.export import export_graphs
from speech2vid.types import FaceBox

FRAMES = 6


@pytest.fixture(scope="module")
def track(drawn_tracks: Callable[..., list[Track]]) -> Track:
    return drawn_tracks(1, 1, frames=FRAMES)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run/weights`` with the paper's talker and its graphs, ``run/talker/best.safetensors`` without, a sharpener."""
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("run")
    talker = PaperTalker(PaperTalkerConfig(size="compact")).eval()
    with torch.no_grad():
        talker.face_decoder.conv9[1].weight.mul_(30)  # far enough from grey to tell recordings apart
    for place in (run / "weights" / "paper_talker.safetensors", run / "paper_talker" / "best.safetensors"):
        place.parent.mkdir()
        save(talker, place)
    export_graphs(run / "weights" / "paper_talker.safetensors", PaperTalker)
    sharpener = Sharpener(SharpenerConfig(layers=3, channels=4)).eval()
    torch.nn.init.normal_(sharpener.residual.weight, std=0.1)
    save(sharpener, run / "sharpener.safetensors")
    return run


def test_both_engines_say_the_same_in_the_frame_of_the_face(folder: Path, track: Track) -> None:
    stills = stills_at(track, five_stills(track))
    generated = {}
    for weights in (folder / "weights", folder / "paper_talker" / "best.safetensors"):
        generator = load_generator(weights, threads=1)
        assert generator.name == folder.name
        speaker = generator.speaker(stills)
        generated[weights] = speaker.says(track)
        assert not isinstance(speaker, MotionSpeaker)  # it cannot be told mouth shapes
        assert speaker.says(track, FRAMES + 3).shape == (FRAMES + 3, 112, 112, 3)
        assert speaker.says_nothing(3).shape == (3, 112, 112, 3)
    onnx, torched = generated.values()
    assert onnx.shape == track.frames.shape
    assert np.abs(onnx.astype(int) - torched).max() <= 1
    assert np.abs(onnx[0].astype(int) - onnx[-1]).max() > 0  # the audio is heard


def test_a_face_lies_where_the_target_was_cut_out() -> None:
    faces = np.random.default_rng(0).random((2, 3, 109, 109)).astype(np.float32)
    frames = framed(faces)
    np.testing.assert_array_equal(frames[:, 1:110, 1:110], np.rint(faces.transpose(0, 2, 3, 1) * 255).astype(np.uint8))
    np.testing.assert_array_equal(frames[:, 0, 1:110], frames[:, 1, 1:110])
    np.testing.assert_array_equal(frames[:, 1:110, 111], frames[:, 1:110, 109])
    with pytest.raises(ValueError, match="109"):
        framed(faces[:, :, :100])


def test_the_warp_talker_of_the_package_is_found_and_can_be_told_shapes(track: Track) -> None:
    generator = load_generator(threads=1)
    assert generator.name == "default"
    speaker = generator.speaker(stills_at(track, five_stills(track)))
    assert isinstance(speaker, MotionSpeaker)
    assert speaker.says(track).shape == track.frames.shape


def test_sharpening_is_the_networks_and_names_itself(folder: Path, track: Track) -> None:
    sharpen = load_sharpener(folder)
    frames = sharpened(track.frames, sharpen)
    pixels = torch.from_numpy(track.frames[:, 1:110, 1:110].transpose(0, 3, 1, 2).astype(np.float32) / 255)
    from speech2vid.runtime.torch import load

    network, _ = load(folder / "sharpener.safetensors", Sharpener)
    with torch.no_grad():
        wanted = framed(network(pixels).clamp(0, 1).numpy())
    assert np.abs(frames.astype(int) - wanted).max() <= 1
    assert np.abs(frames.astype(int) - track.frames).mean() > 0
    generator = SharpenedGenerator(load_generator(folder / "weights", threads=1), sharpen)
    assert generator.name == f"{folder.name}, sharpened"
    speaker = generator.speaker(stills_at(track, five_stills(track)))
    assert not speaker.for_chance
    assert speaker.says(track).shape == track.frames.shape


def test_a_part_is_sharpened_as_the_whole_is_and_the_rest_stays(track: Track, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sharpener = Sharpener(SharpenerConfig(layers=10, channels=4)).eval()
    torch.nn.init.normal_(sharpener.residual.weight, std=0.1)
    save(sharpener, tmp_path / "sharpener.safetensors")
    sharpen = load_sharpener(tmp_path)
    frames = np.random.default_rng(0).integers(60, 200, (3, 112, 112, 3), np.uint8)
    whole = sharpened(frames, sharpen)
    for left, top, right, bottom in ((36, 60, 76, 95), (0, 50, 112, 112)):  # inside; reaching over the edges
        part = sharpened_part(frames, FaceBox(left, top, right, bottom), sharpen)
        inside = np.zeros((112, 112), bool)
        inside[max(1, top) : min(110, bottom), max(1, left) : min(110, right)] = True
        assert np.abs(part[:, inside].astype(int) - whole[:, inside]).max() <= 1
        assert np.abs(part[:, inside].astype(int) - frames[:, inside]).mean() > 1
        np.testing.assert_array_equal(part[:, ~inside], frames[:, ~inside])


def test_the_mouths_of_all_frames_are_in_the_part() -> None:
    boxes = np.array([[30, 60, 70, 90], [32, 58, 74, 88]])
    box = mouth_part(boxes)
    assert (box.left, box.top, box.right, box.bottom) == (30, 58, 74, 90)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere", "does not exist"),
        ("empty", "contains no weight file"),
        ("sharpener.safetensors", "contains sharpener, which evaluate does not use"),
        ("both", "two talkers"),
        ("paper", "the weight set 'paper' is not part of this installation"),
    ],
)
def test_weights_without_a_talker_are_refused_by_name(
    folder: Path, drawn_weights: Path, tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHIPPED_SETS, "paper", "nowhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "both").mkdir()
    for source in (drawn_weights / "warp_talker.safetensors", folder / "weights" / "paper_talker.safetensors"):
        (tmp_path / "both" / source.name).write_bytes(source.read_bytes())
    (tmp_path / "sharpener.safetensors").write_bytes((folder / "sharpener.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=reason):
        load_generator(name if name == "paper" else tmp_path / name)


def test_half_a_talker_is_completed_from_the_default_set(drawn_weights: Path, tmp_path: Path) -> None:
    for path in drawn_weights.glob("warp_talker*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    hashes = load_generator(tmp_path).talker.hashes
    assert hashes["warp_talker"] == load_generator(drawn_weights).talker.hashes["warp_talker"]
    assert hashes["audio_to_mouth"] == load_generator().talker.hashes["audio_to_mouth"]
    found = weight_set(tmp_path)
    assert found.borrowed(list(hashes)) == ["audio_to_mouth", "speech_encoder"]
    assert (found.origin("warp_talker"), found.origin("sync")) == (str(tmp_path), "default")


def test_other_weights_have_another_fingerprint(folder: Path) -> None:
    assert fingerprint_of(folder / "weights") == fingerprint_of(folder / "paper_talker" / "best.safetensors")
    assert fingerprint_of(folder / "weights") != fingerprint_of(folder / "sharpener.safetensors")
    assert fingerprint_of(None)
