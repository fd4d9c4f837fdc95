"""From values of clips to one figure with a confidence interval: bootstrap over clips, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A figure over clips.

    Attributes:
        value: over all clips.
        low, high: 95 % interval, percentile bootstrap over clips.
        speaker_value: the mean over speakers of each speaker's own figure: nobody counts more for having more clips.
        clips, speakers: how many.
    """

    value: float
    low: float
    high: float
    speaker_value: float
    clips: int
    speakers: int


def mean_estimate(values: Sequence[float], speakers: Sequence[str]) -> Estimate:
    """Mean of one value a clip."""
    return ratio_estimate(values, np.ones(len(values)), speakers)


def ratio_estimate(
    numerators: Sequence[float] | NDArray[np.float64],
    denominators: Sequence[float] | NDArray[np.float64],
    speakers: Sequence[str],
) -> Estimate:
    """Mean numerator over mean denominator, one of each a clip, resampled in pairs.

    Unlike a mean of ratios it does not explode on the clip whose denominator is nearly nothing. A speaker, or a
    resample, whose denominators are all 0 has no ratio and does not count.

    Raises:
        ValueError: no clips, lists of different lengths, or nothing but 0 below.
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not 0 < len(above) == len(below) == len(speakers):
        raise ValueError(f"{len(above)} numerators, {len(below)} denominators, {len(speakers)} speakers")
    picks = np.random.default_rng(SEED).integers(len(above), size=(RESAMPLES, len(above)))
    if not below.any():
        raise ValueError("every denominator is 0: there is no ratio")
    drawn = below[picks].mean(axis=1)
    resampled = above[picks].mean(axis=1)[drawn != 0] / drawn[drawn != 0]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, (tail, 100 - tail))
    names = np.asarray(speakers)
    parts = [(above[names == name].mean(), below[names == name].mean()) for name in sorted(set(speakers))]
    own = [numerator / denominator for numerator, denominator in parts if denominator != 0]
    return Estimate(
        float(above.mean() / below.mean()), float(low), float(high), float(np.mean(own)), len(above), len(set(speakers))
    )


def gain_estimate(errors: Sequence[float], baseline: Sequence[float], speakers: Sequence[str]) -> Estimate:
    """How much lower the mean error is than the baseline's, as a share of it: 0.05 is 5 % lower."""
    baseline_values = np.asarray(baseline, np.float64)
    return ratio_estimate(baseline_values - np.asarray(errors, np.float64), baseline_values, speakers)
