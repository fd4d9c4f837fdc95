"""MFCC, log-mel and level: held against librosa, and streaming against whole-clip bit for bit."""

from __future__ import annotations

import tracemalloc

import librosa
import numpy as np
import pytest

from speech2vid.audio.mfcc import (
    MEL_FLOOR,
    AudioFeatures,
    FeatureStream,
    audio_features,
    concatenate,
    logmel,
    mfcc,
    mfcc_filters,
    silent_features,
)
from speech2vid.errors import MediaError
from speech2vid.types import Waveform


def audio(samples: int, seed: int = 0) -> Waveform:
    """Noise of changing loudness over a rising tone, with some digital silence."""
    random = np.random.default_rng(seed)
    time_s = np.arange(samples) / 16000
    wave = 0.1 * random.standard_normal(samples) * np.abs(np.sin(3 * time_s)) + 0.3 * np.sin(2000 * time_s**1.5)
    wave[samples // 3 : samples // 2] = 0.0
    return wave.astype(np.float32)


def in_chunks(wave: Waveform, seed: int, longest: int) -> AudioFeatures:
    random = np.random.default_rng(seed)
    stream, parts, start = FeatureStream(), [], 0
    while start < len(wave):
        size = int(random.integers(0, longest + 1))
        parts.append(stream.push(wave[start : start + size]))
        start += size
    return concatenate([*parts, stream.flush()])


def librosa_logmel(wave: Waveform) -> np.ndarray:
    """The same settings in librosa: symmetric Hamming, HTK mel, no area normalisation, zeros around the audio."""
    padded = np.pad(wave.astype(np.float64), (256, 512))
    emphasised = librosa.effects.preemphasis(padded, coef=0.97, zi=[0.0])
    energies = librosa.feature.melspectrogram(
        y=emphasised,
        sr=16000,
        n_fft=512,
        hop_length=160,
        win_length=400,
        window=np.hamming(400),
        center=False,
        power=2.0,
        n_mels=40,
        fmin=300.0,
        fmax=3700.0,
        htk=True,
        norm=None,
    )
    return np.log(np.maximum(energies, MEL_FLOOR)).T[: len(wave) // 160 + 1]


@pytest.mark.parametrize("samples", [16000, 16001, 16159, 12345])
def test_logmel_and_cepstra_equal_librosa(samples: int) -> None:
    wave = audio(samples)
    reference = librosa_logmel(wave)
    np.testing.assert_allclose(logmel(wave), reference, rtol=1e-5, atol=1e-4)
    cepstra = librosa.feature.mfcc(S=reference.T, n_mfcc=13, dct_type=2, norm="ortho", lifter=0).T
    lifter = np.array([1.0 + 11.0 * np.sin(np.pi * n / 22.0) for n in range(13)])  # HTK book, eq. 5.14
    np.testing.assert_allclose(mfcc(wave), cepstra * lifter, rtol=1e-4, atol=1e-3)


def test_filters_are_librosas_htk_filters_and_none_is_empty() -> None:
    reference = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, fmin=300, fmax=3700, htk=True, norm=None)
    np.testing.assert_allclose(mfcc_filters(), reference, atol=1e-6)
    assert (mfcc_filters().max(axis=1) > 0.3).all()


def test_types_and_shapes() -> None:
    features = audio_features(audio(4000))
    assert features.mfcc.shape == (26, 13)
    assert features.mfcc.dtype == np.float32
    assert features.logmel.shape == (26, 40)
    assert features.logmel.dtype == np.float32
    assert features.level_db.shape == (26,)
    assert features.level_db.dtype == np.float32
    assert len(features) == 26


@pytest.mark.parametrize("longest", [1, 7, 160, 640, 1000, 5000, 40000])
def test_chunks_of_any_size_give_the_same_bits(longest: int) -> None:
    wave = audio(700 if longest == 1 else 100_123, seed=longest)
    whole = audio_features(wave)
    for seed in range(3):
        parts = in_chunks(wave, seed, longest)
        for name in ("mfcc", "logmel", "level_db"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)


def test_rows_do_not_depend_on_what_comes_later() -> None:
    wave = audio(20_000)
    np.testing.assert_array_equal(mfcc(wave)[:60], mfcc(wave[:10_000])[:60])


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161, 199, 200, 201, 359, 360, 361, 400, 1600])
def test_row_count_of_short_audio(samples: int) -> None:
    assert len(audio_features(audio(samples))) == samples // 160 + 1


def test_a_row_is_out_200_samples_after_its_centre() -> None:
    stream, wave = FeatureStream(), audio(2000)
    assert len(stream.push(wave[:199])) == 0
    assert len(stream.push(wave[199:200])) == 1
    assert len(stream.push(wave[200:359])) == 0
    assert len(stream.push(wave[359:360])) == 1


def test_digital_silence_is_finite_and_flat() -> None:
    features = audio_features(np.zeros(16000, np.float32))
    np.testing.assert_allclose(features.logmel, np.log(MEL_FLOOR), rtol=1e-6)
    np.testing.assert_allclose(features.mfcc[:, 1:], 0.0, atol=1e-9)
    np.testing.assert_array_equal(features.level_db, -100.0)
    np.testing.assert_array_equal(features.mfcc, np.repeat(silent_features().mfcc, 101, axis=0))


@pytest.mark.parametrize(("hz", "amplitude"), [(400.0, 1.0), (1000.0, 0.1), (3000.0, 0.01)])
def test_level_is_the_root_mean_square_in_db(hz: float, amplitude: float) -> None:
    wave = amplitude * np.sin(2 * np.pi * hz * np.arange(8000) / 16000)
    expected = 20 * np.log10(amplitude / np.sqrt(2))
    np.testing.assert_allclose(audio_features(wave.astype(np.float32)).level_db[5:-5], expected, atol=0.5)


@pytest.mark.parametrize("hz", [50.0, 6000.0])
def test_level_hears_only_the_speech_band(hz: float) -> None:
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(8000) / 16000)
    assert audio_features(wave.astype(np.float32)).level_db[5:-5].max() < -45


def test_a_flushed_stream_begins_anew() -> None:
    wave, stream = audio(5000), FeatureStream()
    first = concatenate([stream.push(wave), stream.flush()])
    second = concatenate([stream.push(wave), stream.flush()])
    np.testing.assert_array_equal(first.mfcc, second.mfcc)


def test_wrong_audio_is_refused() -> None:
    with pytest.raises(ValueError, match="floating point"):
        mfcc(np.zeros(100, np.int16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="floating point"):
        mfcc(np.zeros((100, 2), np.float32))
    with pytest.raises(MediaError, match="finite"):
        mfcc(np.array([0.0, np.nan], np.float32))


def test_a_stream_is_flat_in_memory() -> None:
    wave = audio(16000 * 60)
    stream = FeatureStream()
    tracemalloc.start()
    for begin in range(0, len(wave), 16000):
        stream.push(wave[begin : begin + 16000])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6
