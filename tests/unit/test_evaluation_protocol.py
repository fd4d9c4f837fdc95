"""Whose stills and whose audio: never the clip's own where there is a choice, and the same ones every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from speech2vid.data.records import Track
from speech2vid.errors import DataError
from speech2vid.evaluation.protocol import five_stills, one_still, percentile_frames, plan_trials, stills_at
from speech2vid.faces import lip_opening

Draw = Callable[..., list[Track]]


def test_stills_come_from_another_clip_and_chance_from_another_person(drawn_tracks: Draw) -> None:
    records = [track.record for track in drawn_tracks(3, 4)]
    trials = plan_trials(records)
    assert [trial.clip.key for trial in trials] == sorted(record.key for record in records)
    for trial in trials:
        assert trial.stills_of.speaker == trial.clip.speaker != trial.other.speaker
        assert trial.stills_of.key != trial.clip.key


def test_a_clip_alone_gives_its_own_stills(drawn_tracks: Draw) -> None:
    first, second = plan_trials([track.record for track in drawn_tracks(2, 1)])
    assert first.stills_of == first.clip
    assert first.other == second.clip


def test_trials_depend_on_the_seed_and_on_nothing_else(drawn_tracks: Draw) -> None:
    records = [track.record for track in drawn_tracks(3, 4)]
    assert plan_trials(records, 1) == plan_trials(records[::-1], 1)
    assert plan_trials(records, 1) != plan_trials(records, 2)


def test_clips_below_a_second_are_left_out(drawn_tracks: Draw) -> None:
    records = [track.record for track in drawn_tracks(2, 2)]
    short = [replace(record, key=f"short-{record.key}", frames=24) for record in records]
    assert plan_trials([*records, *short]) == plan_trials(records)
    with pytest.raises(DataError, match="at least one second"):
        plan_trials(short)


def test_one_person_cannot_tell_what_chance_is(drawn_tracks: Draw) -> None:
    with pytest.raises(DataError, match="speaker0"):
        plan_trials([track.record for track in drawn_tracks(1, 3)])


def test_percentile_frames_are_those_of_numpy() -> None:
    openings = np.random.default_rng(0).permutation(101).astype(np.float32)
    chosen = percentile_frames(openings)
    np.testing.assert_array_equal(openings[chosen], np.percentile(openings, (10, 30, 50, 70, 90)))


def test_stills_of_a_track(drawn_tracks: Draw) -> None:
    (track, *_) = drawn_tracks(1, 1)
    stills = stills_at(track, five_stills(track))
    openings = [still.opening for still in stills]
    assert openings == sorted(openings)
    assert openings[0] < np.median(lip_opening(track.landmarks)) < openings[-1]
    for frame, still in zip(five_stills(track), stills, strict=True):
        np.testing.assert_array_equal(still.aligned.image, track.frames[frame])
        np.testing.assert_array_equal(still.transform, np.eye(2, 3))


def test_one_still_is_any_frame(drawn_tracks: Draw) -> None:
    (track, *_) = drawn_tracks(1, 1)
    seen = {one_still(track, seed)[0] for seed in range(200)}
    assert len(seen) > 25  # of 30
    assert one_still(track, 3) == one_still(track, 3)
