"""When somebody speaks: an activity between 0 and 1 for every video frame, from the level of the speech band.

The level (300–3700 Hz, so that mains hum hardly counts) is compared with a noise floor that follows the audio:

1. median over 7 rows: clicks shorter than 40 ms vanish;
2. noise floor: the lowest that the loudest of 7 neighbouring rows gets from 3 s before to 0.12 s after, within −72 …
   −40 dB. Taking the loudest first makes the floor a place that is quiet for 70 ms, not the gap between two pulses of a
   hum; digital silence has no noise and is left out, so the noise that follows it is not mistaken for speech;
3. speech starts 10 dB above the floor and ends 6 dB above it (hysteresis);
4. it is widened by 0.08 s before (lips open before the voice) and 0.2 s after (pauses inside words);
5. a mean over 90 ms around the middle of each frame turns the steps into ramps.

Nothing depends on the whole audio: the activity of a frame is known ``LATENCY_S`` = 0.2825 s after its middle.
Silence is what is digital silence, quieter than −62 dB, or steady up to −40 dB; steady audio above −30 dB counts as
speech, since a held vowel is steady too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.mfcc import LEVEL_FLOOR_DB, audio_features
from speech2vid.audio.windows import RowWindows, frame_count
from speech2vid.constants import MFCC_PER_FRAME, MFCC_RATE_HZ, MFCC_WINDOW, SAMPLE_RATE_HZ, exact_div
from speech2vid.types import Waveform

MEDIAN_ROWS = 3  # on either side
LOUDEST_ROWS = 3  # on either side
FLOOR_ROWS_BEFORE, FLOOR_ROWS_AFTER = 300, 9
FLOOR_MIN_DB, FLOOR_MAX_DB = -72.0, -40.0
DIGITAL_SILENCE_DB = -90.0
START_DB, END_DB = 10.0, 6.0  # above the noise floor
HANGOVER_ROWS, LEAD_ROWS = 20, 8
RAMP_ROWS = 4  # on either side

_LATENCY_ROWS = MEDIAN_ROWS + LOUDEST_ROWS + FLOOR_ROWS_AFTER + LEAD_ROWS + RAMP_ROWS
LATENCY_S = _LATENCY_ROWS / MFCC_RATE_HZ + MFCC_WINDOW / 2 / SAMPLE_RATE_HZ

Values = NDArray[np.float32]


class ActivityStream:
    """Speech activity of every video frame, from levels that arrive in chunks; the same values however they are cut."""

    def __init__(self) -> None:
        silent, idle = np.full((), LEVEL_FLOOR_DB, np.float32), np.zeros((), np.float32)
        absent = np.full((), np.nan, np.float32)  # the ramp averages only rows that exist: no fading at a hard cut
        self._median = RowWindows(MEDIAN_ROWS, MEDIAN_ROWS, silent)
        self._loudest = RowWindows(LOUDEST_ROWS, LOUDEST_ROWS, silent)
        self._floor = RowWindows(
            FLOOR_ROWS_BEFORE, FLOOR_ROWS_AFTER, np.array([LEVEL_FLOOR_DB, FLOOR_MAX_DB], np.float32)
        )
        self._widen = RowWindows(HANGOVER_ROWS, LEAD_ROWS, idle)
        self._ramp = RowWindows(RAMP_ROWS, RAMP_ROWS, absent, exact_div(MFCC_PER_FRAME, 2), MFCC_PER_FRAME)
        self._speaking = False

    def push(self, level_db: Values) -> Values:
        """Take the next levels (``AudioFeatures.level_db``), (n,) at 100 Hz; return activities now known, (m,) 0–1."""
        return self._advance(level_db, last=False)

    def flush(self) -> Values:
        """Return the activities of the last frames. The stream is then ready for another recording."""
        activity = self._advance(np.empty(0, np.float32), last=True)
        self._speaking = False
        return activity

    def _advance(self, level_db: Values, last: bool) -> Values:
        def around(stage: RowWindows, rows: Values) -> Values:
            windows = stage.push(rows)
            return np.concatenate([windows, stage.flush()]) if last else windows

        smooth = np.median(around(self._median, level_db), axis=-1)
        near = around(self._loudest, smooth)
        has_noise = near.min(axis=-1) > DIGITAL_SILENCE_DB
        noise = np.where(has_noise, near.max(axis=-1), np.float32(FLOOR_MAX_DB))
        speaking = self._decide(around(self._floor, np.stack([near[:, LOUDEST_ROWS], noise], axis=1)))
        widened = around(self._widen, speaking).max(axis=-1, initial=0.0)
        activity: Values = np.nanmean(around(self._ramp, widened), axis=-1)
        return activity

    def _decide(self, around: Values) -> Values:
        """(level, noise) around each row, (n, 2, 310) → 1 while speaking, else 0, (n,) float32; keeps the state."""
        floor = np.clip(around[:, 1].min(axis=-1), FLOOR_MIN_DB, FLOOR_MAX_DB)
        above = around[:, 0, FLOOR_ROWS_BEFORE] - floor
        verdict = np.concatenate([[self._speaking], np.where(above > START_DB, 1, 0)])
        settled = np.concatenate([[True], (above > START_DB) | (above < END_DB)])
        states = verdict[np.maximum.accumulate(np.where(settled, np.arange(len(settled)), 0))]
        self._speaking = bool(states[-1])
        return states[1:].astype(np.float32)


def speech_activity(level_db: Values) -> Values:
    """Return the speech activity of all video frames from the levels: (T,) → (N,) float32 0–1, N = (T + 1) // 4."""
    stream = ActivityStream()
    return np.concatenate([stream.push(level_db), stream.flush()])


def waveform_activity(waveform: Waveform) -> Values:
    """Return the speech activity of a whole recording, (n,) float at 16 kHz: (N,) float32 0–1, N frames."""
    return speech_activity(audio_features(waveform).level_db)[: frame_count(len(waveform))]
