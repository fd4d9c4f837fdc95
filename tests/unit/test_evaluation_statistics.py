"""Intervals that hold what they should, and figures that do not explode."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.evaluation.statistics import gain_estimate, mean_estimate, ratio_estimate


def test_mean_over_clips_and_over_speakers() -> None:
    estimate = mean_estimate([1.0, 2.0, 3.0, 10.0], ["a", "a", "a", "b"])
    assert estimate.value == 4.0
    assert estimate.speaker_value == 6.0
    assert (estimate.clips, estimate.speakers) == (4, 2)
    assert 1.0 <= estimate.low < estimate.value < estimate.high <= 10.0
    assert estimate == mean_estimate([1.0, 2.0, 3.0, 10.0], ["a", "a", "a", "b"])


def test_intervals_of_95_percent_miss_the_truth_in_about_5_of_100_draws() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        estimate = mean_estimate(rng.normal(0.3, 0.2, 40).tolist(), ["a"] * 40)
        missed += not estimate.low <= 0.3 <= estimate.high
    assert 6 <= missed <= 30


def test_a_ratio_of_means_survives_a_denominator_near_nothing() -> None:
    above, below = [1.0] * 20 + [1e-3], [2.0] * 20 + [1e-9]
    assert np.mean(np.divide(above, below)) > 1e4
    estimate = ratio_estimate(above, below, ["a"] * 21)
    assert estimate.value == pytest.approx(0.5, abs=1e-3)
    assert estimate.high < 0.51


def test_a_speaker_whose_denominator_is_nothing_has_no_ratio() -> None:
    estimate = ratio_estimate([1.0, 3.0, 2.0], [2.0, 2.0, 0.0], ["a", "a", "b"])
    assert estimate.value == pytest.approx(6 / 4)
    assert estimate.speaker_value == pytest.approx(1.0)  # of a alone
    assert np.isfinite([estimate.low, estimate.high]).all()
    assert (estimate.clips, estimate.speakers) == (3, 2)
    with pytest.raises(ValueError, match="denominator"):
        ratio_estimate([1.0], [0.0], ["a"])


def test_gain_is_a_share_and_negative_where_it_is_a_loss() -> None:
    assert gain_estimate([9.0, 18.0], [10.0, 20.0], ["a", "b"]).value == pytest.approx(0.1)
    assert gain_estimate([12.0], [10.0], ["a"]).value == pytest.approx(-0.2)


@pytest.mark.parametrize(("above", "below", "names"), [([], [], []), ([1.0], [1.0, 2.0], ["a"]), ([1.0], [1.0], [])])
def test_lists_must_fit(above: list[float], below: list[float], names: list[str]) -> None:
    with pytest.raises(ValueError, match="numerators"):
        ratio_estimate(above, below, names)
