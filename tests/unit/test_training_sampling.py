"""Sampling of stills and targets: the paper's percentiles, distance to the target, one photo, other tracks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from speech2vid.training.sampling import (
    AWAY_FRAMES,
    PAPER,
    ExampleSampler,
    StillMix,
    away_from,
    every_nth,
    one_still,
    percentile_stills,
    two_stills,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_stills_stand_at_the_percentiles_of_lip_opening(rng: np.random.Generator) -> None:
    openings = rng.permutation(np.linspace(0, 10, 400))
    drawn = np.array([openings[percentile_stills(openings, rng)] for _ in range(400)])
    assert (np.diff(drawn, axis=1) > 0).all()
    assert drawn.mean(axis=0) == pytest.approx([1, 3, 5, 7, 9], abs=0.25)


def test_stills_are_a_random_sample(rng: np.random.Generator) -> None:
    openings = np.sin(np.arange(300))
    assert len({tuple(percentile_stills(openings, rng)) for _ in range(20)}) == 20


def test_stills_keep_away_from_the_target_on_both_sides(rng: np.random.Generator) -> None:
    openings = rng.random(60)
    stills = np.concatenate([percentile_stills(openings, rng, away=[30]) for _ in range(200)])
    assert np.abs(stills - 30).min() == AWAY_FRAMES
    assert (stills < 30).any()
    assert (stills > 30).any()


def test_where_nothing_is_away_the_farthest_is_taken() -> None:
    assert away_from(np.arange(5), [2]).tolist() == [0, 4]
    assert away_from(np.arange(3), [0, 1, 2]).tolist() == [0, 1, 2]
    assert away_from(np.arange(3), []).tolist() == [0, 1, 2]


def test_one_still_is_any_frame_five_times(rng: np.random.Generator) -> None:
    drawn = [one_still(np.arange(30.0), rng, away=[10]) for _ in range(500)]
    assert all(len(each) == 5 and len(set(each)) == 1 for each in drawn)
    assert {each[0] for each in drawn} == {0, 1, *range(19, 30)}


def test_two_stills_share_the_slots_by_rising_opening(rng: np.random.Generator) -> None:
    openings = rng.permutation(20.0 + np.arange(20))
    drawn = [two_stills(openings, rng) for _ in range(500)]
    assert {tuple(np.unique(each, return_index=True)[1].tolist()) for each in drawn} <= {(0, 2), (0, 3), (2, 0), (3, 0)}
    assert {int((each == each[0]).sum()) for each in drawn} == {2, 3}
    assert all(len(each) == 5 and openings[each[0]] < openings[each[-1]] for each in drawn)
    assert {frame for each in drawn for frame in each} == set(range(20))
    assert two_stills(np.zeros(1), rng).tolist() == [0] * 5


def test_every_fifth_frame_from_a_random_first_one(rng: np.random.Generator) -> None:
    drawn = [every_nth(23, 5, rng) for _ in range(100)]
    assert all((np.diff(each) == 5).all() for each in drawn)
    assert {each[0] for each in drawn} == set(range(5))
    assert every_nth(1, 5, rng).tolist() == [0]


def sampler(mix: StillMix) -> ExampleSampler:
    lengths, speakers = [90, 30, 40, 360], ["ann", "ann", "ben", "cleo"]
    openings = [np.random.default_rng(i).random(n) for i, n in enumerate(lengths)]
    return ExampleSampler(openings, speakers, mix)


def test_targets_are_away_from_the_stills_of_their_own_track(rng: np.random.Generator) -> None:
    mixed = sampler(StillMix(one_photo=0.5, other_track=0.5))
    for _ in range(300):
        example = mixed.draw(rng, targets=4)
        assert len(example.targets) == 4
        assert (np.diff(example.targets) % 5 == 0).all()
        if example.still_track == example.track:
            assert not set(example.targets) & set(example.stills)
    ones = [sampler(StillMix(one_photo=1, other_track=0)).draw(rng) for _ in range(200)]
    assert min(abs(each.targets[0] - each.stills[0]) for each in ones) == AWAY_FRAMES


def test_stills_are_from_the_past_and_the_future_where_the_track_allows(rng: np.random.Generator) -> None:
    """Fig. 3: stills lie on both sides of the target, far enough that the audio windows do not overlap."""
    long = ExampleSampler([rng.random(360)], ["cleo"], PAPER)
    for _ in range(300):
        example = long.draw(rng)
        assert example.stills.min() < example.targets[0] < example.stills.max()
        assert np.abs(example.stills - example.targets[0]).min() >= AWAY_FRAMES
    short = ExampleSampler([rng.random(12)], ["dan"], PAPER).draw(rng)
    assert len(short.targets) == 1


def test_shares_and_weights_are_those_asked_for(rng: np.random.Generator) -> None:
    drawn = [sampler(StillMix(one_photo=0.3, two_photos=0.2, other_track=0.6)).draw(rng) for _ in range(3000)]
    single = np.mean([len(set(each.stills)) == 1 for each in drawn])
    assert single == pytest.approx(0.3, abs=0.03)
    assert np.mean([len(set(each.stills)) == 2 for each in drawn]) == pytest.approx(0.2, abs=0.03)
    of_ann = [each for each in drawn if each.track < 2]
    assert np.mean([each.still_track != each.track for each in of_ann]) == pytest.approx(0.6, abs=0.04)
    assert all(each.still_track < 2 for each in of_ann)  # of the same speaker
    assert all(each.still_track == each.track for each in drawn if each.track >= 2)  # there is no other one
    weights = np.sqrt([120, 40, 360])
    assert len(of_ann) / len(drawn) == pytest.approx(weights[0] / weights.sum(), abs=0.03)
    assert Counter(each.track for each in of_ann)[0] / len(of_ann) == pytest.approx(0.75, abs=0.04)


def test_paper_draws_frames_alike_and_from_one_track(rng: np.random.Generator) -> None:
    drawn = [sampler(PAPER).draw(rng) for _ in range(2000)]
    assert all(each.still_track == each.track and len(set(each.stills)) == 5 for each in drawn)
    assert np.mean([each.track == 3 for each in drawn]) == pytest.approx(360 / 520, abs=0.03)


def test_the_generator_decides() -> None:
    first, second = (sampler(StillMix()).draw(np.random.default_rng(7), targets=3) for _ in range(2))
    assert first.track == second.track
    assert first.stills.tolist() == second.stills.tolist()
    assert first.targets.tolist() == second.targets.tolist()


@pytest.mark.parametrize("openings", [[], [np.zeros(3), np.zeros(0)]])
def test_a_track_without_frames_is_an_error(openings: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="frame"):
        ExampleSampler(openings, ["ann"] * len(openings))
