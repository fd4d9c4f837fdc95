"""The shape predictor's rows: streaming equals whole, loudness and microphone are taken out, silence stays silence."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.audio.framing import mel_filters
from speech2vid.audio.logmel import (
    COLUMNS,
    LEAST_LEVEL,
    PHONE_BANDS,
    PLAIN_BANDS,
    PLAIN_FLOOR,
    LogMelStream,
    predictor_rows,
    silent_row,
)
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.types import Waveform


def noise(seconds: float, level: float = 0.05) -> Waveform:
    generator = np.random.default_rng(5)
    return (level * generator.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


@pytest.mark.parametrize("chunk", [1, 159, 640, 7001])
def test_any_cutting_gives_the_same_bits(chunk: int) -> None:
    audio = noise(0.3 if chunk == 1 else 4.3)
    stream = LogMelStream()
    for _ in range(2):  # a flushed stream starts afresh
        parts = [stream.push(audio[i : i + chunk]) for i in range(0, len(audio), chunk)]
        streamed = np.concatenate([*parts, stream.flush()])
        np.testing.assert_array_equal(streamed, predictor_rows(audio))


def test_memory_is_bounded() -> None:
    stream = LogMelStream()
    for _ in range(20):
        stream.push(noise(1.0))
    assert max(len(stream._sums), len(stream._logs)) < 500


def test_row_r_is_centred_on_sample_160_r() -> None:
    audio = np.zeros(8000, np.float32)
    audio[4000] = 1.0
    rows = predictor_rows(audio)
    assert rows.shape == (51, COLUMNS)
    assert rows.dtype == np.float32
    assert int(np.argmax(rows[:, :PLAIN_BANDS].mean(axis=1))) == 25


def test_a_tone_excites_its_band() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 1000.0 * np.arange(16000) / SAMPLE_RATE_HZ)
    loudest = int(np.argmax(predictor_rows(tone.astype(np.float32))[50, :PLAIN_BANDS]))
    assert int(np.argmax(mel_filters(64, 60.0, 7600.0)[:, 32])) == loudest


def test_loudness_is_taken_out_of_the_phone_bands_only() -> None:
    quiet, loud = predictor_rows(noise(6.0, 0.01)), predictor_rows(noise(6.0, 0.1))
    np.testing.assert_allclose(quiet[400:, PLAIN_BANDS:], loud[400:, PLAIN_BANDS:], atol=0.2)  # of log(100) = 4.6
    np.testing.assert_allclose((loud - quiet)[400:, PLAIN_BANDS - 9 : PLAIN_BANDS], np.log(100.0), atol=0.05)


def test_rows_depend_on_80_ms_ahead_at_most() -> None:
    audio = noise(2.0)
    changed = audio.copy()
    changed[16000:] = 0.0
    first, second = predictor_rows(audio), predictor_rows(changed)
    np.testing.assert_array_equal(first[:90], second[:90])
    assert not np.array_equal(first[91:93], second[91:93])


def test_silence_stays_silence() -> None:
    assert np.allclose(silent_row()[:PLAIN_BANDS], np.log(PLAIN_FLOOR))
    assert np.all(silent_row()[PLAIN_BANDS:] < LEAST_LEVEL / 2)
    assert silent_row().shape == (PLAIN_BANDS + PHONE_BANDS,)


def test_errors() -> None:
    with pytest.raises(MediaError, match="finite"):
        predictor_rows(np.array([0.0, np.nan], np.float32))
    with pytest.raises(ValueError, match="floating"):
        predictor_rows(np.zeros(10, np.int16))
