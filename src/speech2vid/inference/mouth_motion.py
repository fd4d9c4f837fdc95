"""Audio → the mouth shape of every video frame, streaming: features, voice network, silence."""

from __future__ import annotations

import numpy as np

from speech2vid.audio.logmel import ROWS_AFTER, LogMelStream, silent_row
from speech2vid.audio.mfcc import FeatureStream
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
from speech2vid.errors import ConfigError
from speech2vid.inference.audio_stream import SILENCE_POLICIES
from speech2vid.inference.options import Silence
from speech2vid.runtime.engine import RunnableGraph
from speech2vid.types import Floats, Waveform

SPEAKS = 0.05  # activity from which on a frame counts as speech
CHUNK_FRAMES = 100  # computed at once where nobody waits: each call of the network repeats a window's context


class MouthMotionStream:
    """Mouth movement of every frame from audio that arrives in chunks; the same values however it is cut.

    Args:
        audio_to_mouth: graph ``logmel`` (1, T, bands) → ``deltas`` (1, (T − window_rows) // 4 + 1, 20, 2), aligned px.
        silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` does what the network says.
        block_frames: the network runs as soon as so many frames can be computed: 1 for the shortest delay.

    Attributes:
        spoken_frames: how many frames so far have speech.
    """

    def __init__(
        self, audio_to_mouth: RunnableGraph, silence: Silence = "hold", block_frames: int = CHUNK_FRAMES
    ) -> None:
        if silence not in SILENCE_POLICIES:
            raise ConfigError(f"unknown value {silence!r} for silence", f"choose from: {', '.join(SILENCE_POLICIES)}")
        self.spoken_frames: int | None = 0
        self._audio_to_mouth = audio_to_mouth
        self._silence = silence
        self._block_frames = block_frames
        self._window = int(audio_to_mouth.header.config["window_rows"])
        self._logmel, self._levels, self._activity = LogMelStream(), FeatureStream(), ActivityStream()
        middle = exact_div(MFCC_PER_FRAME, 2)  # the middle of frame i is row 4 i + 2
        self._rows = np.repeat(silent_row()[None], self._window // 2 - middle, axis=0)
        self._deltas = np.empty((0, MOUTH_COUNT, 2), np.float32)
        self._active = np.empty(0, np.float32)
        self._samples = self._given = 0

    @property
    def latency_s(self) -> float:
        """How far the audio must have gone past a frame's middle before its movement is returned, at most."""
        look_ahead_s = (self._window // 2 + ROWS_AFTER) / MFCC_RATE_HZ + MFCC_WINDOW / 2 / SAMPLE_RATE_HZ
        return max(look_ahead_s + (self._block_frames - 1) / FRAME_RATE_HZ, LATENCY_S)

    def push(self, chunk: Waveform) -> Floats:
        """Take the next samples, (n,) at 16 kHz; return the movements now known, (m, 20, 2) px relative to rest."""
        self._samples += len(chunk)
        self._rows = np.concatenate([self._rows, self._logmel.push(chunk)])
        self._active = np.concatenate([self._active, self._activity.push(self._levels.push(chunk).level_db)])
        return self._advance(self._block_frames)

    def flush(self) -> Floats:
        """The movements of the last frames."""
        tail = np.repeat(silent_row()[None], self._window + MFCC_PER_FRAME, axis=0)
        self._rows = np.concatenate([self._rows, self._logmel.flush(), tail])
        levels = self._activity.push(self._levels.flush().level_db)
        self._active = np.concatenate([self._active, levels, self._activity.flush()])
        missing = frame_count(self._samples) - self._given  # before the last step counts its own
        return self._advance(1)[:missing]

    def _advance(self, least: int) -> Floats:
        frames = max(0, (len(self._rows) - self._window) // MFCC_PER_FRAME + 1)
        if frames >= least:
            rows = self._rows[: (frames - 1) * MFCC_PER_FRAME + self._window]
            self._deltas = np.concatenate(
                [self._deltas, self._audio_to_mouth({"logmel": rows[None]})["mouth_motion"][0]]
            )
            self._rows = self._rows[frames * MFCC_PER_FRAME :]
        ready = min(len(self._deltas), len(self._active))
        deltas, active = self._deltas[:ready], self._active[:ready]
        self._deltas, self._active = self._deltas[ready:], self._active[ready:]
        self._given += ready
        self.spoken_frames = (self.spoken_frames or 0) + int((active > SPEAKS).sum())
        return deltas * active[:, None, None] if self._silence == "hold" else deltas
