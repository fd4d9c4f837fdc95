"""Speech activity: 1 for speech of any loudness, 0 for silence, noise, music and signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.audio.vad import LATENCY_S, ActivityStream, Detector, waveform_activity
from speech2vid.errors import MediaError
from speech2vid.media import load_audio
from speech2vid.runtime.voice_activity import voice_detector
from speech2vid.types import Waveform

SECONDS = 6
TIME_S = np.arange(SECONDS * 16000) / 16000
Generate = Callable[[np.random.Generator], np.ndarray]


def at_db(wave: np.ndarray, level_db: float) -> Waveform:
    """Scale to a root mean square in dB below full scale, rounded as a 16-bit file is."""
    scaled = wave * 10 ** (level_db / 20) / np.sqrt(np.mean(wave**2))
    return (np.clip(np.rint(scaled * 32768), -32768, 32767) / 32768).astype(np.float32)


def tones(*hz: float) -> np.ndarray:
    return np.sum([np.sin(2 * np.pi * each * TIME_S) for each in hz], axis=0)


def coloured(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Noise whose amplitude falls as 1 / f ** slope."""
    spectrum = np.fft.rfft(rng.standard_normal(len(TIME_S)))
    return np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** slope, len(TIME_S))


def music(rng: np.random.Generator) -> np.ndarray:
    """Chords of plucked strings, four a second, over a bass."""
    wave = np.zeros(len(TIME_S) + 16000)
    for start in range(0, len(TIME_S), 4000):
        for hz in (110.0, *220.0 * 2 ** (rng.integers(0, 24, 3) / 12)):
            decay = TIME_S[:16000]
            wave[start : start + 16000] += sum(
                np.sin(2 * np.pi * hz * k * decay) / k * np.exp(-3 * decay) for k in range(1, 5)
            )
    return wave[: len(TIME_S)]


def applause(rng: np.random.Generator) -> np.ndarray:
    """A hundred claps a second: bursts of noise that fade in 12 ms."""
    wave = np.zeros(len(TIME_S) + 4000)
    for start in rng.integers(0, len(TIME_S), 100 * SECONDS):
        wave[start : start + 4000] += rng.standard_normal(4000) * np.exp(-np.arange(4000) / 200)
    return wave[: len(TIME_S)]


NOT_SPEECH: dict[str, Generate] = {
    "white noise": lambda rng: coloured(rng, 0.0),
    "pink noise": lambda rng: coloured(rng, 0.5),
    "brown noise": lambda rng: coloured(rng, 1.0),
    "mains hum": lambda rng: np.sum([np.sin(2 * np.pi * 50 * k * TIME_S) / k for k in range(1, 13)], axis=0),
    "ring tone": lambda rng: tones(440, 480) * (TIME_S % 3 < 2),
    "melody of a telephone": lambda rng: np.sin(
        2 * np.pi * np.cumsum(np.array([1319, 1175, 740, 831])[(TIME_S * 8).astype(int) % 4]) / 16000
    ),
    "siren": lambda rng: np.sin(2 * np.pi * np.cumsum(700 + 300 * np.sin(np.pi * TIME_S)) / 16000),
    "music": music,
    "applause": applause,
}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return voice_detector()


@pytest.fixture(scope="module")
def voice(speech: Path) -> Waveform:
    """Four seconds of speech."""
    return load_audio(speech)[: 4 * 16000]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 1.0, 5.0])
def test_digital_silence_is_0_everywhere(detector: Detector, seconds: float) -> None:
    activity = waveform_activity(np.zeros(int(seconds * 16000), np.float32), detector)
    assert activity.dtype == np.float32
    assert len(activity) == round(seconds * 25)
    np.testing.assert_array_equal(activity, 0.0)


@pytest.mark.parametrize("level_db", [-60.0, -40.0, -25.0, -12.0])
@pytest.mark.parametrize("name", NOT_SPEECH)
def test_what_is_not_speech_is_0_at_any_level(detector: Detector, name: str, level_db: float) -> None:
    wave = at_db(NOT_SPEECH[name](np.random.default_rng(0)), level_db)
    assert (waveform_activity(wave, detector) > 0.05).mean() <= 0.02


@pytest.mark.parametrize("quieter_db", [0.0, 12.0, 25.0, 40.0])
def test_speech_is_heard_at_any_loudness(detector: Detector, voice: Waveform, quieter_db: float) -> None:
    level = 20 * np.log10(np.sqrt(np.mean(voice**2)))
    as_recorded = waveform_activity(voice, detector) > 0.5
    quiet = waveform_activity(at_db(voice, level - quieter_db), detector) > 0.5
    assert as_recorded.mean() > 0.85
    assert (quiet & as_recorded).sum() >= 0.97 * as_recorded.sum()


@pytest.mark.parametrize(("speech_db", "noise_db"), [(-40.0, -65.0), (-25.0, -45.0), (-15.0, -30.0)])
def test_speech_between_silences_in_noise(
    detector: Detector, voice: Waveform, speech_db: float, noise_db: float
) -> None:
    wave = np.concatenate([np.zeros(16000), at_db(voice, speech_db), np.zeros(32000)]).astype(np.float32)
    noise = at_db(np.random.default_rng(1).standard_normal(len(wave)), noise_db)
    activity = waveform_activity(wave + noise, detector)
    assert activity[:15].max() == 0.0  # until 0.4 s before the first word
    assert activity[27:120].mean() > 0.85
    assert activity[140:].max() == 0.0  # from 0.6 s after the last one


def test_speech_after_loud_music_is_heard(detector: Detector, voice: Waveform) -> None:
    loud = at_db(music(np.random.default_rng(0)), -12)
    activity = waveform_activity(np.concatenate([loud, at_db(voice, -45)]), detector)
    assert activity[: 25 * SECONDS - 10].max() <= 0.05
    assert activity[25 * SECONDS + 75 :].mean() > 0.85


def test_activity_rises_and_falls_without_steps(detector: Detector, voice: Waveform) -> None:
    wave = np.concatenate([np.zeros(16000, np.float32), voice[:24000], np.zeros(16000, np.float32)])
    activity = waveform_activity(wave, detector)
    assert activity.max() == 1.0
    assert np.abs(np.diff(activity)).max() <= 0.5


def test_audio_cut_within_speech_does_not_fade(detector: Detector, voice: Waveform) -> None:
    active = waveform_activity(voice, detector)
    middle = next(i for i in range(25, 75) if active[i - 10 : i + 15].min() == 1.0)
    assert waveform_activity(voice[: 640 * middle], detector)[-1] == 1.0


def test_a_click_is_not_speech(detector: Detector) -> None:
    wave = np.zeros(48000, np.float32)
    wave[24000] = 0.9
    np.testing.assert_array_equal(waveform_activity(wave, detector), 0.0)


@pytest.mark.parametrize("longest", [1, 700, 9000])
def test_streaming_gives_the_same_values(detector: Detector, voice: Waveform, longest: int) -> None:
    wave = voice[: 6400 if longest == 1 else len(voice)]
    whole = waveform_activity(wave, detector)
    random, stream = np.random.default_rng(longest), ActivityStream(detector)
    for _ in range(2):  # a flushed stream is ready for another recording
        parts, start = [], 0
        while start < len(wave):
            size = int(random.integers(0, longest + 1))
            parts.append(stream.push(wave[start : start + size]))
            start += size
        np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()]), whole)


@pytest.mark.parametrize("frame", [0, 1, 2, 3, 4, 5, 6, 7])
def test_latency_is_as_stated(detector: Detector, voice: Waveform, frame: int) -> None:
    stream, needed = ActivityStream(detector), 640 * frame + 320 + round(LATENCY_S * 16000)
    assert len(stream.push(voice[:needed])) > frame


def test_bad_chunks_are_refused(detector: Detector) -> None:
    stream = ActivityStream(detector)
    with pytest.raises(ValueError, match="floating point"):
        stream.push(np.zeros(10, np.int16))
    with pytest.raises(MediaError, match="not finite"):
        stream.push(np.array([0.0, np.nan], np.float32))
