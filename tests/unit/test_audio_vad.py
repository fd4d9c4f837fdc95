"""Activity: silence and quiet noise are 0, speech of any loudness is 1, streaming equals whole-clip."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.audio.mfcc import FeatureStream, audio_features
from speech2vid.audio.vad import LATENCY_S, ActivityStream, speech_activity, waveform_activity
from speech2vid.types import Waveform

VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))


def at_db(wave: np.ndarray, level_db: float) -> Waveform:
    """Scale to a root mean square in dB below full scale."""
    return (wave * 10 ** (level_db / 20) / np.sqrt(np.mean(wave**2))).astype(np.float32)


def white(seconds: float, level_db: float, seed: int = 0) -> Waveform:
    return at_db(np.random.default_rng(seed).standard_normal(int(seconds * 16000)), level_db)


def hum(seconds: float, level_db: float) -> Waveform:
    """Mains hum with harmonics up to 600 Hz."""
    time_s = np.arange(int(seconds * 16000)) / 16000
    return at_db(sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in range(1, 13)), level_db)  # type: ignore[arg-type]


def speech(seconds: float, level_db: float, pitch_hz: float = 120.0, seed: int = 0) -> Waveform:
    """Syllables of 0.22 s: a burst of hiss, a vowel of three formants, a closure of 40 ms."""
    random = np.random.default_rng(seed)
    syllables = []
    for _ in range(int(np.ceil(seconds / 0.22))):
        time_s = np.arange(2560) / 16000
        phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(6 * time_s + random.uniform(0, 6)))) / 16000
        formants = VOWELS_HZ[random.integers(len(VOWELS_HZ))]
        vowel = np.zeros(2560)
        for harmonic in range(1, int(4000 / pitch_hz)):
            hz = harmonic * pitch_hz
            vowel += sum(1 / (1 + ((hz - f) / 60) ** 2) for f in formants) / harmonic * np.sin(harmonic * phase)
        hiss = 0.02 * random.standard_normal(320)
        syllables += [hiss, vowel / np.abs(vowel).max() * np.sin(np.pi * time_s / 0.16) ** 0.5, np.zeros(640)]
    return at_db(np.concatenate(syllables)[: int(seconds * 16000)], level_db)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 1.0, 5.0])
def test_digital_silence_is_0_everywhere(seconds: float) -> None:
    activity = waveform_activity(np.zeros(int(seconds * 16000), np.float32))
    assert activity.dtype == np.float32
    assert len(activity) == round(seconds * 25)
    np.testing.assert_array_equal(activity, 0.0)


@pytest.mark.parametrize("level_db", [-80.0, -70.0, -62.0, -55.0, -45.0, -35.0])
def test_steady_noise_is_0(level_db: float) -> None:
    np.testing.assert_array_equal(waveform_activity(white(8, level_db)), 0.0)
    np.testing.assert_array_equal(waveform_activity(hum(8, level_db)), 0.0)


def test_noise_that_follows_digital_silence_is_0() -> None:
    wave = np.concatenate([np.zeros(16000, np.float32), white(2, -55), np.zeros(9000, np.float32), white(1, -55)])
    np.testing.assert_array_equal(waveform_activity(wave), 0.0)


@pytest.mark.parametrize("level_db", [-40.0, -30.0, -20.0, -10.0, 0.0])
@pytest.mark.parametrize("pitch_hz", [90.0, 120.0, 220.0])
def test_speech_is_1_at_any_loudness(level_db: float, pitch_hz: float) -> None:
    activity = waveform_activity(speech(8, level_db, pitch_hz))
    assert activity.mean() > 0.97
    assert activity[2:-2].min() > 0.5


@pytest.mark.parametrize(("speech_db", "noise_db"), [(-40.0, -70.0), (-40.0, -60.0), (-25.0, -55.0), (-20.0, -45.0)])
def test_speech_between_silences_in_noise(speech_db: float, noise_db: float) -> None:
    wave = np.concatenate([np.zeros(16000), speech(4, speech_db), np.zeros(32000)]).astype(np.float32)
    activity = waveform_activity(wave + white(7, noise_db))
    assert activity[:20].max() == 0.0  # until 0.2 s before the first audio
    assert activity[25:124].mean() > 0.97
    assert activity[134:].max() == 0.0  # from 0.36 s after the last audio


def test_it_rises_and_falls_about_the_speech() -> None:
    wave = np.concatenate([np.zeros(16000), speech(2, -20), np.zeros(16000)]).astype(np.float32)
    activity = waveform_activity(wave)
    spoken = np.flatnonzero(activity > 0.5)
    assert 22 <= spoken[0] <= 25
    assert 74 <= spoken[-1] <= 82
    assert (np.diff(activity[:40]) >= 0).all()
    assert (np.diff(activity[60:]) <= 0).all()


def test_a_audio_cut_within_speech_does_not_fade() -> None:
    activity = waveform_activity(speech(4, -20)[2000:-2000])
    assert activity[0] == activity[-1] == 1.0


def test_what_nobody_can_hear_is_0_even_above_a_perfect_floor() -> None:
    nothing, inaudible, quiet = (
        np.full(100, -88, np.float32),
        np.full(50, -65, np.float32),
        np.full(50, -55, np.float32),
    )
    assert speech_activity(np.concatenate([nothing, inaudible, nothing])).max() == 0.0
    assert speech_activity(np.concatenate([nothing, quiet, nothing])).max() == 1.0


def test_a_audio_between_the_two_thresholds_neither_starts_nor_ends_speech() -> None:
    room, faint, loud = np.full(100, -60, np.float32), np.full(100, -52, np.float32), np.full(50, -30, np.float32)
    activity = speech_activity(np.concatenate([room, faint, loud, faint, room]))
    assert activity[:45].max() == 0.0
    assert activity[50:85].min() == 1.0
    assert activity[95:].max() == 0.0


def test_a_click_is_not_speech() -> None:
    wave = np.zeros(48000, np.float32)
    wave[24000] = 0.9
    np.testing.assert_array_equal(waveform_activity(wave), 0.0)


def test_speech_is_heard_again_after_a_long_silence() -> None:
    gap = np.zeros(16000 * 5, np.float32)
    wave = np.concatenate([speech(2, -20), gap, speech(2, -35), gap]) + white(14, -65)
    activity = waveform_activity(wave)
    assert activity[:48].mean() > 0.97
    assert activity[177:223].mean() > 0.95
    assert activity[60:170].max() == 0.0
    assert activity[235:].max() == 0.0


def test_streaming_gives_the_same_values() -> None:
    levels = audio_features(np.concatenate([speech(3, -30), white(2, -50), speech(1, -40, seed=3)])).level_db
    whole = speech_activity(levels)
    for longest in (1, 4, 50, 300):
        random, stream, parts, start = np.random.default_rng(longest), ActivityStream(), [], 0
        while start < len(levels):
            size = int(random.integers(0, longest + 1))
            parts.append(stream.push(levels[start : start + size]))
            start += size
        np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()]), whole)
        np.testing.assert_array_equal(np.concatenate([stream.push(levels), stream.flush()]), whole)  # used again


def test_latency_is_as_stated() -> None:
    assert LATENCY_S <= 0.3
    features, activity = FeatureStream(), ActivityStream()
    wave, needed = speech(2, -20), 320 + round(LATENCY_S * 16000)
    assert len(activity.push(features.push(wave[: needed - 1]).level_db)) == 0
    assert len(activity.push(features.push(wave[needed - 1 : needed]).level_db)) == 1
