"""Audio → mouth motion of every video frame, streaming: log-mel rows, speech features, the network, silence."""

from __future__ import annotations

import numpy as np

from speech2vid.audio.logmel import ROWS_AFTER, LogMelStream, silent_row
from speech2vid.audio.vad import LATENCY_S, ActivityStream
from speech2vid.audio.windows import frame_count
from speech2vid.constants import (
    FRAME_RATE_HZ,
    MFCC_PER_FRAME,
    MFCC_RATE_HZ,
    MFCC_WINDOW,
    MOUTH_COUNT,
    SAMPLE_RATE_HZ,
    exact_div,
)
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.inference.audio_stream import SILENCE_POLICIES
from speech2vid.inference.options import Silence
from speech2vid.inference.speech_features import SpeechFeatureStream
from speech2vid.runtime.engine import RunnableGraph
from speech2vid.runtime.voice_activity import voice_detector
from speech2vid.types import Floats, Waveform

SPEAKS = 0.05  # activity from which on a frame counts as speech
TOKEN_RATE_HZ = 50
CHUNK_FRAMES = 100  # computed at once where nobody waits: each call of the network repeats a window's context


# Frame i sees speech tokens 2 i − 12 … 2 i + 4, as models/audio_to_mouth.py says
SPEECH_TOKENS_BEFORE, SPEECH_TOKENS_AFTER, SPEECH_TOKENS_PER_FRAME = 12, 4, 2
SPEECH_TOKENS = SPEECH_TOKENS_BEFORE + 1 + SPEECH_TOKENS_AFTER


class MouthMotionStream:
    """Mouth motion of every frame from audio that arrives in chunks; the same values however it is cut.

    Args:
        audio_to_mouth: graph ``logmel`` (1, R, 89) → ``mouth_motion`` (1, (R − window_rows) // 4 + 1, 20, 2), aligned
            px. Where the network hears speech features, the graph takes them as ``speech`` (1, M, C).
        silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` does what the network says.
        block_frames: the network runs as soon as so many frames can be computed: 1 for the shortest delay.
        speech_encoder: graph of the speech encoder; see :func:`check_speech_encoder`.

    Attributes:
        spoken_frames: how many frames so far have speech.

    Raises:
        ConfigError: an unknown value for ``silence``.
        WeightsError: the network needs another speech encoder.
    """

    def __init__(
        self,
        audio_to_mouth: RunnableGraph,
        silence: Silence = "hold",
        block_frames: int = CHUNK_FRAMES,
        speech_encoder: RunnableGraph | None = None,
    ) -> None:
        if silence not in SILENCE_POLICIES:
            raise ConfigError(f"unknown value {silence!r} for silence", f"choose from: {', '.join(SILENCE_POLICIES)}")
        self.spoken_frames: int | None = 0
        self._audio_to_mouth = audio_to_mouth
        self._silence = silence
        self._block_frames = block_frames
        self._window = int(audio_to_mouth.header.config["window_rows"])
        self._logmel, self._activity = LogMelStream(), ActivityStream(voice_detector())
        middle = exact_div(MFCC_PER_FRAME, 2)  # the middle of frame i is row 4 i + 2
        self._rows = np.repeat(silent_row()[None], self._window // 2 - middle, axis=0)
        self._speech, self._tokens = None, np.empty((0, 0), np.float32)
        if needs_speech_encoder(audio_to_mouth):
            check_speech_encoder(audio_to_mouth, speech_encoder)
            assert speech_encoder is not None
            self._speech = SpeechFeatureStream(speech_encoder)
            self._tokens = np.empty((0, self._speech.channels), np.float32)
        self._motion = np.empty((0, MOUTH_COUNT, 2), np.float32)
        self._active = np.empty(0, np.float32)
        self._samples = self._given = 0

    @property
    def latency_s(self) -> float:
        """How far the audio must have gone past a frame's middle before its movement is returned, at most."""
        look_ahead_s = (self._window // 2 + ROWS_AFTER) / MFCC_RATE_HZ + MFCC_WINDOW / 2 / SAMPLE_RATE_HZ
        if self._speech:  # the middle of frame i is token 2 i + 1
            look_ahead_s = max(look_ahead_s, self._speech.latency_s + (SPEECH_TOKENS_AFTER - 1) / TOKEN_RATE_HZ)
        return max(look_ahead_s + (self._block_frames - 1) / FRAME_RATE_HZ, LATENCY_S)

    def push(self, chunk: Waveform) -> Floats:
        """Take the next samples, (n,) at 16 kHz; return the movements now known, (m, 20, 2) px relative to rest."""
        self._samples += len(chunk)
        self._rows = np.concatenate([self._rows, self._logmel.push(chunk)])
        self._active = np.concatenate([self._active, self._activity.push(chunk)])
        if self._speech:
            self._hear(self._speech.push(chunk))
        return self._advance(self._block_frames)

    def flush(self) -> Floats:
        """The movements of the last frames."""
        tail = np.repeat(silent_row()[None], self._window + MFCC_PER_FRAME, axis=0)
        self._rows = np.concatenate([self._rows, self._logmel.flush(), tail])
        self._active = np.concatenate([self._active, self._activity.flush()])
        if self._speech:
            self._hear(self._speech.flush(after=self._window))
        missing = frame_count(self._samples) - self._given  # before the last step counts its own
        return self._advance(1)[:missing]

    def _hear(self, tokens: Floats) -> None:
        """Append speech tokens; before the first one stand copies of it."""
        if len(tokens) and not self._tokens.size:
            self._tokens = np.repeat(tokens[:1], SPEECH_TOKENS_BEFORE, axis=0)
        self._tokens = np.concatenate([self._tokens, tokens])

    def _advance(self, least: int) -> Floats:
        frames = max(0, (len(self._rows) - self._window) // MFCC_PER_FRAME + 1)
        if self._speech:
            frames = min(frames, max(0, (len(self._tokens) - SPEECH_TOKENS) // SPEECH_TOKENS_PER_FRAME + 1))
        if frames >= least:
            given = {"logmel": self._rows[None, : (frames - 1) * MFCC_PER_FRAME + self._window]}
            if self._speech:
                given["speech"] = self._tokens[None, : (frames - 1) * SPEECH_TOKENS_PER_FRAME + SPEECH_TOKENS]
            self._motion = np.concatenate([self._motion, self._audio_to_mouth(given)["mouth_motion"][0]])
            self._rows = self._rows[frames * MFCC_PER_FRAME :]
            self._tokens = self._tokens[frames * SPEECH_TOKENS_PER_FRAME :]
        ready = min(len(self._motion), len(self._active))
        motion, active = self._motion[:ready], self._active[:ready]
        self._motion, self._active = self._motion[ready:], self._active[ready:]
        self._given += ready
        self.spoken_frames = (self.spoken_frames or 0) + int((active > SPEAKS).sum())
        return motion * active[:, None, None] if self._silence == "hold" else motion


def needs_speech_encoder(audio_to_mouth: RunnableGraph) -> bool:
    """Return whether an audio-to-mouth network hears speech features."""
    return bool(audio_to_mouth.header.config.get("speech_channels", 0))


def check_speech_encoder(audio_to_mouth: RunnableGraph, speech_encoder: RunnableGraph | None) -> None:
    """Raise a WeightsError unless the network was trained with the features of this speech encoder."""
    wanted = str(audio_to_mouth.header.config.get("speech_encoder", ""))
    found = speech_encoder.header.sha256 if speech_encoder else "none"
    if speech_encoder is None or not found.startswith(wanted):
        raise WeightsError(
            f"the audio-to-mouth network was trained with the speech encoder {wanted[:16]}, not with {found[:16]}",
            "give the weights of both from one release or training, or train audio_to_mouth again",
        )
