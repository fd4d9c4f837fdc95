"""Audio → mouth movement: one for each frame, the same however the audio is cut, none in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speech2vid.audio.logmel import LogMelStream
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError, MediaError, WeightsError
from speech2vid.inference.audio_stream import batches, drive_of
from speech2vid.inference.mouth_motion import CHUNK_FRAMES, MouthMotionStream
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.media import load_audio
from speech2vid.types import Waveform

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def networks(drawn_weights: Path) -> WarpNetworks:
    return load_talker(drawn_weights, threads=1)


@pytest.fixture(scope="module")
def audio_to_mouth(speech: Path) -> Waveform:
    """Five seconds of speech with a second of digital silence in the middle."""
    audio = load_audio(speech)[: 5 * SAMPLE_RATE_HZ].copy()
    audio[2 * SAMPLE_RATE_HZ : 3 * SAMPLE_RATE_HZ] = 0
    return audio


def motions(networks: WarpNetworks, chunks: list[Waveform], **options: str) -> np.ndarray:
    stream = MouthMotionStream(networks.audio_to_mouth, **options)
    return np.concatenate([*(stream.push(chunk) for chunk in chunks), stream.flush()])


@pytest.mark.parametrize("samples", [321, 640, 1600, 16000, 16319, 16320, 72000, 70000])
def test_one_movement_for_each_frame(networks: WarpNetworks, samples: int) -> None:
    noise = RANDOM.normal(0, 0.1, samples).astype(np.float32)
    assert motions(networks, [noise]).shape == (round(samples / 640), 20, 2)


def test_the_same_however_the_audio_is_cut(networks: WarpNetworks, audio_to_mouth: Waveform) -> None:
    whole = motions(networks, [audio_to_mouth])
    assert len(whole) > CHUNK_FRAMES
    for size in (137, 4096, 30_000):
        cut = motions(networks, [audio_to_mouth[i : i + size] for i in range(0, len(audio_to_mouth), size)])
        np.testing.assert_allclose(cut, whole, atol=1e-4)
    blocks = list(drive_of([audio_to_mouth[:100], audio_to_mouth[100:]], MouthMotionStream(networks.audio_to_mouth)))
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-4)


def test_each_movement_is_of_the_window_round_its_frame(networks: WarpNetworks, audio_to_mouth: Waveform) -> None:
    ours = motions(networks, [audio_to_mouth], silence="follow")
    stream = LogMelStream()
    rows = np.concatenate([stream.push(audio_to_mouth), stream.flush()])
    frame, window = 40, int(networks.audio_to_mouth.header.config["window_rows"])
    middle = 4 * frame + 2
    around = rows[middle - window // 2 : middle + window // 2 + 1]
    np.testing.assert_allclose(
        ours[frame], networks.audio_to_mouth({"logmel": around[None]})["mouth_motion"][0, 0], atol=1e-4
    )


def test_the_mouth_rests_in_silence_and_moves_in_speech(networks: WarpNetworks, audio_to_mouth: Waveform) -> None:
    moved = np.abs(motions(networks, [audio_to_mouth])).max(axis=(1, 2))
    assert moved[60:65].max() == 0
    assert moved[:45].max() > 2


def test_follow_does_not_hold_the_mouth(networks: WarpNetworks) -> None:
    faint = RANDOM.normal(0, 10 ** (-45 / 20), SAMPLE_RATE_HZ).astype(np.float32)
    held, free = (motions(networks, [faint], silence=policy) for policy in ("hold", "follow"))
    assert np.abs(held).max() == 0
    assert np.abs(free).max() > 0


def test_digital_silence_is_known_as_such(networks: WarpNetworks) -> None:
    stream = MouthMotionStream(networks.audio_to_mouth)
    moved = np.concatenate(list(drive_of([np.zeros(SAMPLE_RATE_HZ, np.float32)], stream)))
    assert (stream.spoken_frames, len(moved), np.abs(moved).max()) == (0, 25, 0)


@pytest.fixture(scope="module")
def shipped() -> WarpNetworks:
    return load_talker(threads=1)


def test_the_shipped_network_hears_the_same_however_the_audio_is_cut(
    shipped: WarpNetworks, audio_to_mouth: Waveform
) -> None:
    whole = np.concatenate(list(drive_of([audio_to_mouth], shipped.audio_stream())))
    stream = shipped.audio_stream(block_frames=1)
    parts = [stream.push(audio_to_mouth[at : at + 1000]) for at in range(0, len(audio_to_mouth), 1000)]
    np.testing.assert_allclose(np.concatenate([*parts, stream.flush()]), whole, atol=1e-3)


@pytest.mark.parametrize("frame", [0, 3, 4, 7, 12])
def test_the_shipped_network_answers_as_soon_as_stated(
    shipped: WarpNetworks, audio_to_mouth: Waveform, frame: int
) -> None:
    stream = shipped.audio_stream(block_frames=1)
    assert stream.latency_s <= 0.45
    assert len(stream.push(audio_to_mouth[: 640 * frame + 320 + round(stream.latency_s * SAMPLE_RATE_HZ)])) > frame


def test_another_speech_encoder_is_refused(shipped: WarpNetworks) -> None:
    wanted = shipped.audio_to_mouth.header
    other = SimpleNamespace(header=replace(wanted, config={**wanted.config, "speech_encoder": "0123456789abcdef" * 4}))
    for encoder in (None, shipped.speech_encoder):
        with pytest.raises(WeightsError, match="trained with the speech encoder 0123456789abcdef, not with"):
            MouthMotionStream(other, speech_encoder=encoder)  # type: ignore[arg-type]


def test_unknown_policy(networks: WarpNetworks) -> None:
    with pytest.raises(ConfigError, match="unknown value 'loud' for silence"):
        MouthMotionStream(networks.audio_to_mouth, "loud")  # type: ignore[arg-type]


def test_too_short_a_audio_is_refused(tmp_path: Path) -> None:
    import wave

    from speech2vid.inference.audio_stream import speech_of

    path = tmp_path / "click.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 300))
    with pytest.raises(MediaError, match=r"click\.wav lasts 19 ms"):
        list(speech_of(path))


def test_batches_keep_every_row() -> None:
    rows = np.arange(50)
    blocks = [rows[:3], rows[3:3], rows[3:40], rows[40:]]
    cut = list(batches(blocks, 16))
    assert [len(block) for block in cut] == [16, 16, 16, 2]
    assert np.array_equal(np.concatenate(cut), rows)
    assert [len(block) for block in batches([rows[:32]], 16)] == [16, 16]
