"""The lag of a speaker's recordings, from what the audio makes one expect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from speech2vid.data.records import Track
from speech2vid.training.av_offset import speaker_av_offsets
from speech2vid.training.dataset import TrackSet, TrainingTrack

MakeTracks = Callable[..., list[Track]]
TARGET = {"speaker0": 1.3, "speaker1": -0.6, "speaker2": 0.2}


def late(lag: float, rng: np.random.Generator) -> Callable[[TrainingTrack], np.ndarray]:
    """What is expected of a track whose filmed mouth is ``lag`` frames late."""

    def expected(track: TrainingTrack) -> np.ndarray:
        times = np.arange(len(track))
        moved = np.interp(times + lag, times, track.opening)
        return moved + 0.1 * moved.std() * rng.standard_normal(len(track))

    return expected


def test_lags_are_found_below_a_frame(drawn_tracks: MakeTracks) -> None:
    rng = np.random.default_rng(0)
    tracks = TrackSet(drawn_tracks(3, 4, 60))
    found = speaker_av_offsets(lambda track: late(TARGET[track.speaker], rng)(track), tracks)
    assert found == pytest.approx(TARGET, abs=0.15)


def test_a_lag_that_all_speakers_share_counts(drawn_tracks: MakeTracks) -> None:
    rng = np.random.default_rng(0)
    tracks = TrackSet(drawn_tracks(3, 2, 60))
    found = speaker_av_offsets(late(0.8, rng), tracks)
    assert found == pytest.approx(dict.fromkeys(TARGET, 0.8), abs=0.15)


def test_short_tracks_tell_nothing(drawn_tracks: MakeTracks) -> None:
    tracks = TrackSet(drawn_tracks(2, 2, 12))
    assert speaker_av_offsets(lambda track: track.opening, tracks) == {"speaker0": 0.0, "speaker1": 0.0}
