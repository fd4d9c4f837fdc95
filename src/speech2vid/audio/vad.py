"""When somebody speaks: an activity between 0 and 1 for every video frame, by Silero's voice activity detector.

The detector (MIT, https://github.com/snakers4/silero-vad) hears 32 ms at a time, keeps a state, and returns the
probability of speech. Music, hum, ringing, applause and noise are not speech, whatever their level. Around it:

1. the audio is amplified to −20 dB by its loudness of the last seconds, so that quiet recordings are heard as well;
2. speech starts above a probability of 0.65 and ends below 0.4 (hysteresis);
3. it is widened by 0.32 s before (lips open before the voice, the detector answers late) and 0.2 s after (pauses
   inside words);
4. a mean over 90 ms around the middle of each frame turns the steps into ramps.

Nothing depends on the whole audio: the activity of a frame is known ``LATENCY_S`` = 0.388 s after its middle.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.framing import check_chunk
from speech2vid.audio.windows import RowWindows, frame_count
from speech2vid.constants import MFCC_HOP, MFCC_PER_FRAME, MFCC_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME, exact_div
from speech2vid.types import Waveform

CHUNK, CHUNK_CONTEXT = 512, 64  # samples that are judged, and samples before them that the detector sees
STATE = 128  # numbers in each of the two halves of the detector's state
LOUDNESS_DB, FALL_DB, LEAST_LOUDNESS_DB = -20.0, 0.3, -75.0  # amplified to; how fast loudness is forgotten a chunk
START, END = 0.65, 0.4
LEAD_ROWS, HANGOVER_ROWS = 32, 20
RAMP_ROWS = 4  # on either side

# The last row that a frame needs waits for the end of its chunk, longest where it is early in one. Frames and chunks
# meet every gcd(640, 512) samples.
_EARLIEST = (exact_div(MFCC_PER_FRAME, 2) + LEAD_ROWS + RAMP_ROWS) * MFCC_HOP % gcd(SAMPLES_PER_FRAME, CHUNK)
LATENCY_S = (LEAD_ROWS + RAMP_ROWS) / MFCC_RATE_HZ + (CHUNK - _EARLIEST) / SAMPLE_RATE_HZ

Values = NDArray[np.float32]
State = tuple[Values, Values]
# chunks (n, 576) and the state before them → probabilities of speech (n,) and the state after them
Detector = Callable[[Values, State], tuple[Values, State]]


class ActivityStream:
    """Speech activity of every video frame, from audio that arrives in chunks; the same values however it is cut.

    Args:
        detector: of :func:`speech2vid.runtime.voice_activity.voice_detector`.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        idle = np.zeros((), np.float32)
        absent = np.full((), np.nan, np.float32)  # the ramp averages only rows that exist: no fading at a hard cut
        self._widen = RowWindows(HANGOVER_ROWS, LEAD_ROWS, idle)
        self._ramp = RowWindows(RAMP_ROWS, RAMP_ROWS, absent, exact_div(MFCC_PER_FRAME, 2), MFCC_PER_FRAME)
        self._start()

    def _start(self) -> None:
        self._pending: Waveform = np.zeros(CHUNK_CONTEXT, np.float32)
        self._state: State = (np.zeros((1, 1, STATE), np.float32), np.zeros((1, 1, STATE), np.float32))
        self._loudness_db, self._speaking = LEAST_LOUDNESS_DB, False
        self._samples = self._chunks = self._rows = 0

    def push(self, chunk: Waveform) -> Values:
        """Take the next samples, (n,) float at 16 kHz in −1–1; return the activities now known, (m,) 0–1.

        Raises:
            ValueError: the chunk is not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        check_chunk(chunk)
        self._samples += len(chunk)
        speaking = self._judge(chunk.astype(np.float32, copy=False))
        return self._smooth(self._as_rows(speaking), last=False)

    def flush(self) -> Values:
        """Return the activities of the last frames. The stream is then ready for another recording."""
        missing = (CHUNK_CONTEXT - len(self._pending)) % CHUNK
        speaking = self._judge(np.zeros(missing, np.float32))
        rows = self._as_rows(speaking)
        surplus = self._rows - (self._samples // MFCC_HOP + 1)
        activity = self._smooth(np.append(rows, rows[-1:])[: len(rows) - surplus], last=True)
        self._start()
        return activity

    def _judge(self, samples: Waveform) -> Values:
        """Return for each chunk that is complete now whether somebody speaks, 0 or 1."""
        pending = np.concatenate([self._pending, samples])
        count = (len(pending) - CHUNK_CONTEXT) // CHUNK
        self._pending = pending[count * CHUNK :]
        if not count:
            return np.empty(0, np.float32)
        starts = np.arange(count)[:, None] * CHUNK
        chunks = pending[starts + np.arange(CHUNK_CONTEXT + CHUNK)]
        louder = np.clip(chunks * self._gains(chunks[:, CHUNK_CONTEXT:])[:, None], -1, 1)
        probabilities, self._state = self._detector(louder.astype(np.float32), self._state)
        verdict = np.concatenate([[self._speaking], probabilities > START])
        settled = np.concatenate([[True], (probabilities > START) | (probabilities < END)])
        states = verdict[np.maximum.accumulate(np.where(settled, np.arange(len(settled)), 0))]
        self._speaking = bool(states[-1])
        return states[1:].astype(np.float32)

    def _gains(self, chunks: Values) -> Values:
        """Return the factor on each chunk, (n, 512) → (n,); keeps the loudness."""
        powers = np.square(chunks.astype(np.float64)).mean(axis=1)
        gains = np.empty(len(chunks), np.float32)
        for k, level_db in enumerate(10 * np.log10(powers + 1e-12)):
            self._loudness_db = max(level_db, self._loudness_db - FALL_DB, LEAST_LOUDNESS_DB)
            gains[k] = 10 ** ((LOUDNESS_DB - self._loudness_db) / 20)
        return gains

    def _as_rows(self, speaking: Values) -> Values:
        """Return chunks as rows at 100 Hz: each row belongs to the chunk that holds its middle, sample 160 r."""
        first, self._chunks = self._chunks, self._chunks + len(speaking)
        stop = -(-self._chunks * CHUNK // MFCC_HOP)
        rows = np.arange(self._rows, stop)
        self._rows = stop
        return speaking[rows * MFCC_HOP // CHUNK - first]

    def _smooth(self, rows: Values, last: bool) -> Values:
        def around(stage: RowWindows, rows: Values) -> Values:
            windows = stage.push(rows)
            return np.concatenate([windows, stage.flush()]) if last else windows

        widened = around(self._widen, rows).max(axis=-1, initial=0.0)
        activity: Values = np.nanmean(around(self._ramp, widened), axis=-1)
        return activity


def waveform_activity(waveform: Waveform, detector: Detector) -> Values:
    """Return the speech activity of a whole recording, (n,) float at 16 kHz: (N,) float32 0–1, N frames."""
    stream = ActivityStream(detector)
    return np.concatenate([stream.push(waveform), stream.flush()])[: frame_count(len(waveform))]
