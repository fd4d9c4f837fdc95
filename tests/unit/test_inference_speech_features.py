"""The speech encoder: as CTranslate2 computes it, the same however the audio is cut, with the look-ahead stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech2vid.audio.whisper_mel import SILENCE, WhisperMelStream, whisper_scale
from speech2vid.errors import MediaError
from speech2vid.inference.speech_features import (
    PAST_TOKENS,
    RENEWAL_STEPS,
    STEP_TOKENS,
    SpeechFeatureStream,
    speech_features,
)
from speech2vid.media import load_audio
from speech2vid.runtime.engine import RunnableGraph, graph_loader
from speech2vid.runtime.weights import weight_set
from speech2vid.types import Waveform

REFERENCE = Path(__file__).parents[1] / "data" / "whisper_reference.npz"  # of research/convert_whisper.py
TOKEN = 320  # samples


@pytest.fixture(scope="module")
def encoder() -> RunnableGraph:
    return graph_loader("cpu", threads=1)(weight_set().path("speech_encoder"), "features")


@pytest.fixture(scope="module")
def voice(speech: Path) -> Waveform:
    return load_audio(speech)[: 6 * 16000]


@pytest.fixture(scope="module")
def whole(encoder: RunnableGraph, voice: Waveform) -> np.ndarray:
    return speech_features(encoder, voice)


def test_rows_are_those_of_faster_whisper() -> None:
    stored = np.load(REFERENCE)
    stream = WhisperMelStream()
    rows = np.concatenate([stream.push(stored["audio"].astype(np.float32) / 32768), stream.flush()])
    np.testing.assert_allclose(whisper_scale(rows)[: len(stored["mel"])], stored["mel"], atol=1e-5)


def test_features_are_those_of_ctranslate2(encoder: RunnableGraph) -> None:
    stored = np.load(REFERENCE)
    config = encoder.header.config
    rows = np.pad(stored["mel"], ((2, 1), (0, 0)))[None]  # Whisper pads with zeros
    past = np.zeros((2 * config["layers"], config["heads"], 0, config["width"] // config["heads"]), np.float32)
    features = encoder({"rows": rows, "past": past, "position": np.zeros(1, np.float32)})["features"][0]
    assert len(features) == len(stored["features"]) - config["ahead"]
    np.testing.assert_allclose(features, stored["features"][: len(features)], atol=1e-3)
    assert np.abs(stored["features"]).mean() > 0.5


@pytest.mark.parametrize("size", [333, 4096, 40_000])
def test_the_same_however_the_audio_is_cut(
    encoder: RunnableGraph, voice: Waveform, whole: np.ndarray, size: int
) -> None:
    stream = SpeechFeatureStream(encoder)
    parts = [stream.push(voice[start : start + size]) for start in range(0, len(voice), size)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.flush()]), whole)


def test_a_flushed_stream_starts_anew(encoder: RunnableGraph, voice: Waveform) -> None:
    stream = SpeechFeatureStream(encoder)
    first, second = (np.concatenate([stream.push(voice[:20_000]), stream.flush()]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_tokens_cover_the_audio_and_what_follows(encoder: RunnableGraph) -> None:
    for samples in (0, 1, 3199, 3200, 16_001):
        tokens = speech_features(encoder, np.zeros(samples, np.float32), after=20)
        assert len(tokens) >= samples / TOKEN + 20
        assert len(tokens) % STEP_TOKENS == 0


def test_a_token_comes_when_the_audio_is_as_far_as_stated(encoder: RunnableGraph, voice: Waveform) -> None:
    stream = SpeechFeatureStream(encoder)
    assert stream.latency_s < 0.38
    first = round(stream.latency_s * 16000)
    assert len(stream.push(voice[: first - 2])) == 0
    assert len(stream.push(voice[first - 2 : first + 2])) == STEP_TOKENS


def test_nothing_depends_on_later_audio(encoder: RunnableGraph, voice: Waveform, whole: np.ndarray) -> None:
    cut = round(3.3 * 16000)
    known = SpeechFeatureStream(encoder).push(voice[:cut])
    other = SpeechFeatureStream(encoder).push(np.concatenate([voice[:cut], voice[:8000][::-1]]))
    np.testing.assert_array_equal(known, whole[: len(known)])
    np.testing.assert_array_equal(known, other[: len(known)])


def test_kept_keys_and_values_give_what_a_whole_window_gives(
    encoder: RunnableGraph, voice: Waveform, whole: np.ndarray
) -> None:
    """The first step that follows a renewal, computed from scratch: only its past had less look-ahead."""
    stream = WhisperMelStream()
    silence = np.full((2 * PAST_TOKENS + 2, 80), SILENCE, np.float32)
    rows = np.concatenate([silence, stream.push(voice), stream.flush()])
    config = encoder.header.config
    past = np.zeros((2 * config["layers"], config["heads"], 0, config["width"] // config["heads"]), np.float32)
    length = 2 * (PAST_TOKENS + 2 * STEP_TOKENS + config["ahead"]) + 3
    given = {"rows": whisper_scale(rows[:length])[None], "past": past, "position": np.zeros(1, np.float32)}
    second = encoder(given)["features"][0, -STEP_TOKENS:]
    close = [np.corrcoef(a, b)[0, 1] for a, b in zip(second, whole[STEP_TOKENS : 2 * STEP_TOKENS], strict=True)]
    assert min(close) > 0.85


def test_memory_does_not_grow(encoder: RunnableGraph, voice: Waveform) -> None:
    stream = SpeechFeatureStream(encoder)
    sizes = set()
    for _ in range(2):
        for start in range(0, len(voice), 3200):
            stream.push(voice[start : start + 3200])
            sizes.add((stream._past.shape[2], len(stream._rows)))
    assert max(past for past, _ in sizes) <= PAST_TOKENS + STEP_TOKENS
    assert max(rows for _, rows in sizes) < 2 * (PAST_TOKENS + 3 * STEP_TOKENS)
    assert len(voice) > 3200 * RENEWAL_STEPS


def test_bad_audio_is_refused(encoder: RunnableGraph) -> None:
    with pytest.raises(MediaError, match="not finite"):
        SpeechFeatureStream(encoder).push(np.array([np.inf], np.float32))
