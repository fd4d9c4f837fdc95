"""Every number of channels, and speech that neither cancels nor fades in the mono mix."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from speech2vid import media
from speech2vid.media import VideoWriter, load_audio
from speech2vid.media.downmix import AudioBlock, SpeechMixer

RATE_HZ = 48_000


def mixed(samples: np.ndarray, layout: str, block: int = 1024) -> np.ndarray:
    mixer = SpeechMixer()
    samples = np.asarray(samples, np.float32)
    parts = [samples[:, at : at + block] for at in range(0, samples.shape[1], block)]
    return np.concatenate([mixer(AudioBlock(part, RATE_HZ, layout)) for part in parts])


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.fixture
def voice(chirp: Callable[..., np.ndarray]) -> np.ndarray:
    return chirp(1.0, RATE_HZ)


@pytest.mark.parametrize("gain", [-1.0, -0.8, -0.6])
def test_stereo_of_opposite_polarity_does_not_cancel(voice: np.ndarray, gain: float) -> None:
    assert rms(mixed(np.stack([voice, gain * voice]), "stereo")) > 0.7 * rms(voice)


@pytest.mark.parametrize("second", ["same", "silent", "quieter", "noise"])
def test_usual_stereo_is_the_mean_bit_for_bit(voice: np.ndarray, second: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, len(voice)).astype(np.float32)
    other = {"same": voice, "silent": 0 * voice, "quieter": 0.3 * voice, "noise": noise}[second]
    pair = np.stack([voice, other]).astype(np.float32)
    assert np.array_equal(mixed(pair, "stereo"), pair.mean(axis=0))


@pytest.mark.parametrize("layout", ["5.1", "7.1", "3.0"])
def test_the_centre_alone_is_heard_at_its_own_level(voice: np.ndarray, layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    samples = np.zeros((len(names), len(voice)), np.float32)
    samples[names.index("FC")] = voice
    assert rms(mixed(samples, layout)) == pytest.approx(rms(voice), rel=0.01)
    samples[0] = samples[1] = np.random.default_rng(0).normal(0, 0.3, len(voice))  # music to both sides
    assert np.abs(mixed(samples, layout) - voice).max() < 1e-6


def test_surround_with_a_silent_centre_is_heard(voice: np.ndarray) -> None:
    samples = np.zeros((6, len(voice)), np.float32)
    samples[0], samples[1], samples[3] = voice, voice, 0.9
    assert rms(mixed(samples, "5.1")) == pytest.approx(rms(voice), rel=0.01)
    samples[1] = -voice
    assert rms(mixed(samples, "5.1")) == pytest.approx(rms(voice), rel=0.01)


def test_one_of_sixteen_channels_is_heard(voice: np.ndarray) -> None:
    samples = np.zeros((16, len(voice)), np.float32)
    samples[9] = voice
    assert rms(mixed(samples, "16 channels")) == pytest.approx(rms(voice), rel=0.01)


def test_a_change_of_mind_makes_no_step(voice: np.ndarray) -> None:
    half = len(voice) // 2
    other = np.concatenate([voice[:half], -voice[half:]])
    steps = np.abs(np.diff(mixed(np.stack([voice, other]), "stereo")))
    assert steps.max() < 1.3 * np.abs(np.diff(voice)).max()


def clip_of(path: Path, samples: np.ndarray, codec: str, layout: str, options: dict[str, str] | None = None) -> Path:
    """Encode (C, N) samples; packed on the way, as PyAV cannot take more than 7 planes."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE_HZ, layout=layout, options=options or {})
        kind = stream.codec_context.codec.audio_formats[0].name
        packed = np.ascontiguousarray(samples.T, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(kind, layout, RATE_HZ, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "suffix", "layout"),
    [
        ("aac", "m4a", "7.1"),
        ("libopus", "ogg", "7.1"),
        ("flac", "flac", "7.1"),
        ("pcm_s16le", "wav", "7.1"),
        ("pcm_s16le", "mka", "hexadecagonal"),
        ("aac", "m4a", "6.1"),
        ("flac", "flac", "quad"),
    ],
)
def test_any_number_of_channels_is_read_and_written(
    tmp_path: Path, voice: np.ndarray, codec: str, suffix: str, layout: str
) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    samples = np.zeros((len(names), len(voice)), np.float32)
    samples[names.index("FC") if "FC" in names else 0] = voice
    source = clip_of(tmp_path / f"a.{suffix}", samples, codec, layout)
    assert rms(load_audio(source, RATE_HZ)) == pytest.approx(rms(voice), rel=0.1)
    with VideoWriter(tmp_path / "out.mp4", 64, 48, audio_source=source) as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert rms(load_audio(tmp_path / "out.mp4", RATE_HZ)) > 0.3 * rms(voice)


@pytest.mark.parametrize("channels", [2, 9, 16, 24])
def test_channels_without_an_order_are_read_and_written(tmp_path: Path, voice: np.ndarray, channels: int) -> None:
    samples = np.zeros((channels, len(voice)), np.float32)
    samples[channels - 1] = voice
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples.T * 32767).astype(np.int16).tobytes())
    expected = rms(voice) / (2 if channels == 2 else 1)
    assert rms(load_audio(path, RATE_HZ)) == pytest.approx(expected, rel=0.02)
    with VideoWriter(tmp_path / "out.mp4", 64, 48, audio_source=path) as writer:
        for _ in range(25):
            writer.write(np.zeros((48, 64, 3), np.uint8))
    assert rms(load_audio(tmp_path / "out.mp4", RATE_HZ)) > 0.3 * expected


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("scale", [32768, 2**23, 2**31])
def test_integers_stored_as_floats_are_scaled_and_that_is_said(
    tmp_path: Path, voice: np.ndarray, kind: str, scale: float
) -> None:
    wavfile.write(tmp_path / "a.wav", RATE_HZ, (voice * scale).astype(kind))
    with media.open(tmp_path / "a.wav") as file:
        assert np.abs(load_audio(file, RATE_HZ) - voice).max() < 1e-4
        (note,) = file.notes
    assert f"full scale {scale:.0f}" in note


def test_loud_floats_stay_as_they_are(tmp_path: Path, voice: np.ndarray) -> None:
    wavfile.write(tmp_path / "a.wav", RATE_HZ, (4 * voice).astype(np.float32))
    with media.open(tmp_path / "a.wav") as file:
        assert np.array_equal(load_audio(file, RATE_HZ), 4 * voice)
        assert file.notes == ()
