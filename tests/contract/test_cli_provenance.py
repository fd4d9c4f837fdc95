"""What an output says of itself: signed, verified, tampered with and refused; the visible label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program
from speech2vid.media import VideoReader, VideoWriter
from speech2vid.media.visible_label import VisibleLabel

pytest.importorskip("c2pa")


def run(*words: object, code: int = 0):
    result = CliRunner().invoke(program, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def verdict(path: Path, *words: object, code: int = 0) -> dict:
    return json.loads(run("verify", path, *words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def pair(make_pair, tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def signed(pair, photo, second, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "a.mp4"
    words = ["--face", photo, "--audio", second, "--outfile", path]
    run("talk", *words, "--crop", "--label", "--sign-cert", pair.cert, "--sign-key", pair.key)
    return path


def test_a_signed_output_is_intact(signed, pair) -> None:
    said = verdict(signed)
    assert (said["verdict"], said["synthetic"], said["credentials"]["trusted"]) == ("signed", True, False)
    assert said["credentials"]["facts"]["command"] == "talk"
    assert set(said["credentials"]["facts"]["weights"]) == {"audio_to_mouth", "speech_encoder", "warp_talker"}
    assert all(len(sha) == 64 for sha in said["credentials"]["facts"]["weights"].values())
    assert verdict(signed, "--roots", pair.root)["credentials"]["trusted"] is True
    text = run("verify", signed).stdout
    assert "signed and intact: signer Ada Signer, Test House (not verified by a trusted root)" in text


def test_one_changed_bit_is_refused(signed, tmp_path) -> None:
    content = bytearray(signed.read_bytes())
    content[content.rindex(b"mdat") + 2000] ^= 1
    (tmp_path / "a.mp4").write_bytes(content)
    said = verdict(tmp_path / "a.mp4", code=1)
    assert (said["verdict"], said["synthetic"]) == ("tampered", True)
    result = run("verify", tmp_path / "a.mp4", code=1)
    assert "was changed after it was signed: assertion.bmffHash.mismatch" in result.stderr


def test_marked_stripped_and_unmarked(tmp_path, speech) -> None:
    for name, options, want, code in (
        ("marked", {"details": {"command": "talk", "signed": False}}, "marked", 0),
        ("stripped", {"details": {"command": "talk", "signed": True}}, "stripped", 1),
        ("plain", {"synthetic": False}, "none", 1),
    ):
        with VideoWriter(tmp_path / f"{name}.mp4", 16, 16, **options) as writer:
            writer.write(np.zeros((16, 16, 3), np.uint8))
        said = verdict(tmp_path / f"{name}.mp4", code=code)
        assert (said["verdict"], said["synthetic"], said["credentials"]) == (want, name != "plain", None)
        run("verify", tmp_path / f"{name}.mp4", code=code)


def test_the_label_is_in_every_frame(signed) -> None:
    for frame in VideoReader(signed):
        height, width = frame.image.shape[:2]
        drawn = VisibleLabel(width, height)(np.zeros_like(frame.image))[..., 0] > 200  # where letters are
        seen = frame.image.mean(axis=2)
        assert seen[drawn].mean() > seen[-15:, -60:][~drawn[-15:, -60:]].mean() + 60


@pytest.mark.parametrize("words", [["--sign-cert", "a.pem"], ["--sign-key", "a.pem"], ["--sign-alg", "es256"]])
def test_half_a_signer_is_wrong_usage(words, photo, speech, tmp_path) -> None:
    run("talk", "--face", photo, "--audio", speech, "--outfile", tmp_path / "a.mp4", *words, code=2)
    assert not list(tmp_path.iterdir())


def test_a_bad_certificate_is_refused_before_the_work(photo, speech, tmp_path) -> None:
    words = ["--face", photo, "--audio", speech, "--outfile", tmp_path / "a.mp4"]
    result = run("talk", *words, "--sign-cert", photo, "--sign-key", photo, code=1)
    assert "is not a PEM certificate" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def dubbed(pair, face_clip, speech, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dubbed")
    clip = face_clip(folder / "clip.mp4", frames=12)
    words = ["--video", clip, "--audio", clip, "--outfile", folder / "new.mp4", "--no-cache", "--label"]
    run("redub", *words, "--sign-cert", pair.cert, "--sign-key", pair.key)
    return folder


def test_a_dubbed_video_is_signed_as_an_edit(dubbed) -> None:
    said = verdict(dubbed / "new.mp4")
    assert said["verdict"] == "signed"
    assert said["credentials"]["source_types"] == ["compositeWithTrainedAlgorithmicMedia"]
    assert said["credentials"]["facts"]["command"] == "redub"
    assert sorted(path.name for path in dubbed.iterdir()) == ["clip.mp4", "new.mp4"]


def test_the_label_is_in_a_dubbed_video_and_the_rest_stays(dubbed) -> None:
    left, top, right, bottom = VisibleLabel(200, 200).box
    for old, new in zip(VideoReader(dubbed / "clip.mp4"), VideoReader(dubbed / "new.mp4"), strict=True):
        apart = np.abs(old.image.astype(float) - new.image)
        wanted = VisibleLabel(200, 200)(old.image)[top:bottom, left:right].astype(float)
        seen = new.image[top:bottom, left:right]
        assert np.corrcoef(wanted.ravel(), seen.ravel())[0, 1] > 0.9
        assert apart[:20].mean() < 3, "the other end of the picture is as it was"
