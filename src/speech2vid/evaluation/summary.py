"""Scores of clips → the figures of the table: measure by row, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from speech2vid.evaluation.measures import Values, best_lag
from speech2vid.evaluation.scoring import BEST_STILL, GENERATED, OTHER_SOUND, TRUE_SHAPES, TRUTH, Scores
from speech2vid.evaluation.statistics import Estimate, gain_estimate, mean_estimate, ratio_estimate

MEANS = ("opening_correlation", "mouth_error", "squared_error", "mouth_distance_px", "identity_distance")
RATIOS = {"opening_std_ratio": "opening_std_px", "sharpness_ratio": "sharpness", "jitter_ratio": "jitter_px"}
GAINS = {"gain_over_other_sound": OTHER_SOUND, "gain_over_best_still": BEST_STILL}
SILENCE = "silence"


@dataclass(frozen=True)
class ClipScores:
    """All rows of one clip made from one set of stills.

    Attributes:
        key, speaker, frames: of the clip.
        stills_of: key of the clip that the stills come from.
        rows: row → scores; ``truth`` among them.
        silence: values of :func:`speech2vid.evaluation.scoring.score_silence`; empty where it was not tried.
    """

    key: str
    speaker: str
    frames: int
    stills_of: str
    rows: Mapping[str, Scores]
    silence: Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """The table for one set of stills.

    Attributes:
        rows: row → measure → estimate.
        lag_curves: row → mean over clips of the correlation at lags −10 … 10.
        silence: measure → estimate, in digital silence.
    """

    rows: dict[str, dict[str, Estimate]]
    lag_curves: dict[str, Values]
    silence: dict[str, Estimate]

    def best_lag_frames(self, row: str) -> int:
        """At which lag the mean curve of a row is highest; positive where the generated mouth is late."""
        return best_lag(self.lag_curves[row])

    def to_dict(self) -> dict[str, Any]:
        """JSON values: row → measure → estimate, and ``silence`` beside the rows."""
        record: dict[str, Any] = {
            row: {name: asdict(estimate) for name, estimate in measures.items()} for row, measures in self.rows.items()
        }
        for row, curve in self.lag_curves.items():
            record[row]["best_lag_frames"] = self.best_lag_frames(row)
            record[row]["lag_curve"] = [round(float(value), 4) for value in curve]
        record[SILENCE] = {name: asdict(estimate) for name, estimate in self.silence.items()}
        return record


def summarise(clips: Sequence[ClipScores]) -> Summary:
    """The figures over clips, all of them with the same rows."""
    speakers = [clip.speaker for clip in clips]

    def values(row: str, measure: str) -> list[float]:
        return [clip.rows[row].values[measure] for clip in clips]

    table: dict[str, dict[str, Estimate]] = {}
    for row, first in clips[0].rows.items():
        table[row] = {name: mean_estimate(values(row, name), speakers) for name in MEANS if name in first.values}
        for name, measure in RATIOS.items():
            table[row][name] = ratio_estimate(values(row, measure), values(TRUTH, measure), speakers)
        if row in (GENERATED, TRUE_SHAPES):
            for name, other in GAINS.items():
                table[row][name] = gain_estimate(values(row, "mouth_error"), values(other, "mouth_error"), speakers)
    curves = {
        row: np.mean([clip.rows[row].lag_curve for clip in clips], axis=0)
        for row, first in clips[0].rows.items()
        if len(first.lag_curve)
    }
    return Summary(table, curves, _silence([clip for clip in clips if clip.silence]))


def _silence(clips: Sequence[ClipScores]) -> dict[str, Estimate]:
    speakers = [clip.speaker for clip in clips]

    def values(name: str) -> list[float]:
        return [clip.silence[name] for clip in clips]

    return {
        "movement_ratio": ratio_estimate(values("silence_std_px"), values("speech_std_px"), speakers),
        "opening_px": mean_estimate(values("silence_opening_px"), speakers),
        "closed_px": mean_estimate(values("closed_px"), speakers),
    }
