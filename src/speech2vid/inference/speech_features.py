"""Audio that arrives in chunks → features of Whisper's encoder, 50 a second, with a bounded look-ahead.

The audio is taken in steps of 0.2 s on a grid that begins with it. A step returns ten tokens; it needs the audio up to
eight tokens (0.16 s) past them and sees 1.6 s before them. Keys and values of the past are kept, so that a step costs
18 tokens; every 4 s they are computed anew, which keeps positions, and with them memory, bounded. Silence stands
before and after the audio. Offline and live take the same steps: the values are the same however the audio is cut.
"""

from __future__ import annotations

import numpy as np

from speech2vid.audio.whisper_mel import BANDS, SILENCE, WhisperMelStream, whisper_scale
from speech2vid.constants import MFCC_RATE_HZ, MFCC_WINDOW, SAMPLE_RATE_HZ, exact_div
from speech2vid.runtime.engine import RunnableGraph
from speech2vid.types import Floats, Waveform

ROWS_PER_TOKEN = 2
STEP_TOKENS = 10  # returned by a step
PAST_TOKENS = 80  # that a step sees before them
RENEWAL_STEPS = 20  # after so many steps the past is computed anew
EDGE_ROWS = 2  # that a token needs before and after its own


class SpeechFeatureStream:
    """Speech features of audio that arrives in chunks.

    Args:
        encoder: graph ``features`` of a ``speech_encoder``.

    Attributes:
        channels: of a token.
    """

    def __init__(self, encoder: RunnableGraph) -> None:
        config = encoder.header.config
        self.channels = int(config["width"])
        self._encoder = encoder
        self._ahead = int(config["ahead"])
        heads = int(config["heads"])
        self._nothing = np.zeros((2 * int(config["layers"]), heads, 0, exact_div(self.channels, heads)), np.float32)
        self._start()

    def _start(self) -> None:
        self._mel = WhisperMelStream()
        self._rows = _silence(ROWS_PER_TOKEN * PAST_TOKENS + EDGE_ROWS)  # from two rows before the past on
        self._past, self._steps = self._nothing, 0

    @property
    def latency_s(self) -> float:
        """Return how far the audio must have gone past the middle of a token before it is returned, at most."""
        rows = ROWS_PER_TOKEN * (STEP_TOKENS + self._ahead - 1) + EDGE_ROWS
        return rows / MFCC_RATE_HZ + MFCC_WINDOW / 2 / SAMPLE_RATE_HZ

    def push(self, chunk: Waveform) -> Floats:
        """Take the next samples, (n,) float at 16 kHz in −1–1; return the tokens now known, (m, C) float32.

        Token k is centred on sample 320 k. Errors as :meth:`WhisperMelStream.push`.
        """
        self._rows = np.concatenate([self._rows, self._mel.push(chunk)])
        return self._advance()

    def flush(self, after: int = 0) -> Floats:
        """Return the last tokens, and those of silence up to at least ``after`` tokens past the end of the audio."""
        tail = _silence(ROWS_PER_TOKEN * (after + STEP_TOKENS + self._ahead) + EDGE_ROWS)
        self._rows = np.concatenate([self._rows, self._mel.flush(), tail])
        last = self._advance()
        self._start()
        return last

    def _advance(self) -> Floats:
        found = [np.empty((0, self.channels), np.float32)]
        seen = ROWS_PER_TOKEN * (PAST_TOKENS + STEP_TOKENS + self._ahead - 1) + 1 + 2 * EDGE_ROWS
        while len(self._rows) >= seen:
            found.append(self._step(whisper_scale(self._rows[:seen])))
            self._rows = self._rows[ROWS_PER_TOKEN * STEP_TOKENS :]
        return np.concatenate(found)

    def _step(self, rows: Floats) -> Floats:
        """Return the ten tokens of a step from all rows that it sees."""
        number = self._steps % RENEWAL_STEPS
        if number == 0:
            position, self._past = 0, self._nothing
        else:
            position = PAST_TOKENS + number * STEP_TOKENS
            rows = rows[ROWS_PER_TOKEN * PAST_TOKENS :]
        given = {"rows": rows[None], "past": self._past, "position": np.array([position], np.float32)}
        out = self._encoder(given)
        self._past = np.concatenate([self._past, out["present"]], axis=2)[:, :, -PAST_TOKENS:]
        self._steps += 1
        tokens: Floats = out["features"][0, -STEP_TOKENS:]
        return tokens


def speech_features(encoder: RunnableGraph, waveform: Waveform, after: int = 0) -> Floats:
    """Return the features of a whole recording, (m, C) float32, m ≥ n / 320 + ``after``; see the stream."""
    stream = SpeechFeatureStream(encoder)
    return np.concatenate([stream.push(waveform), stream.flush(after)])


def _silence(count: int) -> Floats:
    return np.full((count, BANDS), SILENCE, np.float32)
