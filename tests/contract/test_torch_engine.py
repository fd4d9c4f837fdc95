"""``--engine torch`` makes the pictures that ONNX Runtime makes, from the same shipped weight files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid import load_talker, make_identity
from speech2vid.cli.program import program
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError
from speech2vid.inference.audio_stream import drive_of
from speech2vid.inference.talk import generate_frames
from speech2vid.media import load_audio, probe
from speech2vid.runtime.torch import torch_loader


def test_both_engines_give_the_same_fields_and_images(photo: Path, speech: Path) -> None:
    audio = load_audio(speech)[:SAMPLE_RATE_HZ]
    generated = []
    for networks in (load_talker(threads=1), load_talker(engine="torch", device="cpu")):
        identity = make_identity([photo], networks, max_size_px=256)
        motions = np.concatenate(list(drive_of([audio], networks.audio_stream())))
        fields = networks.fields(identity.features, identity.mouths, np.float32(identity.neutral_mouth + motions))
        images = np.stack(list(generate_frames(identity, networks, [motions])))
        generated.append((motions, fields, images, networks.hashes))
    (ours, our_fields, our_images, our_hashes), (theirs, their_fields, their_images, their_hashes) = generated
    assert np.abs(ours).max() > 1
    assert np.abs(ours - theirs).max() <= 1e-3
    for name in ("flow", "masks", "residual"):
        assert np.abs(getattr(our_fields, name) - getattr(their_fields, name)).max() <= 1e-3
    assert np.abs(our_images.astype(int) - their_images).max() <= 1
    assert our_hashes == their_hashes


def test_the_command_takes_it(photo: Path, speech: Path, tmp_path: Path) -> None:
    words = ["talk", "--face", str(photo), "--audio", str(speech), "--outfile", str(tmp_path / "a.mp4"), "--crop"]
    result = CliRunner().invoke(program, [*words, "--engine", "torch", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert probe(tmp_path / "a.mp4").frame_rate_hz == 25


def test_a_device_that_is_not_there() -> None:
    import torch

    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match="mps is not available"):
            torch_loader("mps")
    with pytest.raises(ConfigError, match="no device 'tpu'"):
        torch_loader("tpu")
    with pytest.raises(ConfigError, match="no device 'mps'"):
        load_talker(device="mps")
