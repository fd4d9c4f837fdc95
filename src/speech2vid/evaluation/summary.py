"""Scores of clips → the figures of the table: row by metric, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2vid.evaluation.metric_records import BUILT_IN, RATIOS, Metric
from speech2vid.evaluation.metrics import Scores
from speech2vid.evaluation.mouth_metrics import Values, best_lag
from speech2vid.evaluation.scoring import BEST_STILL, GENERATED, OTHER_AUDIO, TARGET_MOTION
from speech2vid.evaluation.statistics import Estimate, gain_estimate, mean_estimate, ratio_estimate
from speech2vid.evaluation.sync_metrics import CHANCE as RETRIEVAL_CHANCE

GAINS = {"gain_over_other_audio": OTHER_AUDIO, "gain_over_best_still": BEST_STILL}
MEANS = tuple(name for name in BUILT_IN if name not in RATIOS and name not in GAINS)
SILENCE = "silence"

ClipValues = tuple[str, Mapping[str, float]]  # speaker, metric → value


def summarise(rows: Iterable[ClipValues], metrics: Sequence[Metric] = ()) -> dict[str, Estimate]:
    """One figure a metric over clips, of the values of :func:`speech2vid.evaluation.metrics.evaluate_frames`.

    A metric counts the clips that have it, and ``Estimate.clips`` says how many; one that no clip has is left out.
    ``metrics``: those of ``Scorers.metrics``, in addition to the package's.

    Raises:
        ValueError: a value is not a number: it would spoil the mean, and hiding it would flatter.
    """
    clips = list(rows)
    for _, values in clips:
        if bad := sorted(name for name, value in values.items() if not np.isfinite(value)):
            raise ValueError(f"{', '.join(bad)} is not a number")
    table: dict[str, Estimate] = {}
    for name in (*MEANS, *(metric.name for metric in metrics)):
        own = [(speaker, values) for speaker, values in clips if name in values]
        if own:
            table[name] = mean_estimate([values[name] for _, values in own], [speaker for speaker, _ in own])
    for name, (above, below) in RATIOS.items():
        own = [(speaker, values) for speaker, values in clips if above in values and below in values]
        if own and any(values[below] for _, values in own):
            numerators, denominators = ([values[part] for _, values in own] for part in (above, below))
            table[name] = ratio_estimate(numerators, denominators, [speaker for speaker, _ in own])
    return table


def row_of(row: str, generator: str, alone: bool) -> str:
    """What a row made by a generator is called: ``generated``, and ``generated: NAME`` where there are several."""
    return row if alone else f"{row}: {generator}"


def split_row(row: str) -> tuple[str, str]:
    """The row and the generator of a name of :func:`row_of`; "" where there is one only."""
    kind, _, generator = row.partition(": ")
    return kind, generator


@dataclass(frozen=True)
class ClipScores:
    """All rows of one clip made from one set of stills.

    Attributes:
        key, speaker, frames: of the clip.
        stills_of: key of the clip that the stills come from.
        rows: row → scores; ``truth`` among them.
        silence: row → values of :func:`speech2vid.evaluation.scoring.score_silence`; empty where it was not tried.
    """

    key: str
    speaker: str
    frames: int
    stills_of: str
    rows: Mapping[str, Scores]
    silence: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        rows = {
            row: {"values": each.values, "lag": each.lag_curve.tolist(), "sync": each.sync_curve.tolist()}
            for row, each in self.rows.items()
        }
        return asdict(self) | {"rows": rows, "silence": {row: dict(values) for row, values in self.silence.items()}}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ClipScores:
        """Of :meth:`to_dict`."""
        rows = {
            row: Scores(each["values"], np.array(each["lag"]), np.array(each["sync"]))
            for row, each in record["rows"].items()
        }
        return cls(**{**record, "rows": rows})


@dataclass(frozen=True)
class Summary:
    """The table for one set of stills.

    Attributes:
        rows: row → metric → estimate.
        lag_curves: row → mean over clips of the correlation at lags −10 … 10.
        sync_curves: row → mean over clips of the similarity of image and audio at offsets −15 … 15.
        silence: row → metric → estimate, in digital silence.
        metrics: in addition to the package's.
    """

    rows: dict[str, dict[str, Estimate]]
    lag_curves: dict[str, Values]
    sync_curves: dict[str, Values]
    silence: dict[str, dict[str, Estimate]]
    metrics: tuple[Metric, ...] = ()

    def best_lag_frames(self, row: str) -> int:
        """At which lag the mean curve of a row is highest; positive where the generated mouth is late."""
        return best_lag(self.lag_curves[row])

    def to_dict(self) -> dict[str, Any]:
        """JSON values: row → metric → estimate, and ``silence`` next to the rows."""
        record: dict[str, Any] = {
            row: {name: asdict(estimate) for name, estimate in metrics.items()} for row, metrics in self.rows.items()
        }
        for row, curve in self.lag_curves.items():
            record[row]["best_lag_frames"] = self.best_lag_frames(row)
            record[row]["lag_curve"] = [round(float(value), 4) for value in curve]
        for row, curve in self.sync_curves.items():
            record[row]["sync_curve"] = [round(float(value), 4) for value in curve]
        for row, values in self.silence.items():
            record[row] = {name: asdict(estimate) for name, estimate in values.items()}
        record["retrieval_chance"] = RETRIEVAL_CHANCE
        return record


def tabulate(clips: Sequence[ClipScores], metrics: Sequence[Metric] = ()) -> Summary:
    """The figures over clips, all of them with the same rows; ``metrics`` as for :func:`summarise`."""
    names = list(clips[0].rows)
    table = {row: summarise(((clip.speaker, clip.rows[row].values) for clip in clips), metrics) for row in names}
    for row in names:
        kind, generator = split_row(row)
        if kind not in (GENERATED, TARGET_MOTION):
            continue
        for gain, other in GAINS.items():
            baseline = row_of(other, generator, not generator) if other == OTHER_AUDIO else other
            if baseline in names:
                errors, theirs = ([clip.rows[each].values["mouth_error"] for clip in clips] for each in (row, baseline))
                table[row][gain] = gain_estimate(errors, theirs, [clip.speaker for clip in clips])
    lags = {row: _mean_curve([clip.rows[row].lag_curve for clip in clips]) for row in names}
    syncs = {row: _mean_curve([clip.rows[row].sync_curve for clip in clips]) for row in names}
    silent: dict[str, list[tuple[str, Mapping[str, float]]]] = {}
    for clip in clips:
        for row, values in clip.silence.items():
            silent.setdefault(row, []).append((clip.speaker, values))
    return Summary(
        table,
        {row: curve for row, curve in lags.items() if len(curve)},
        {row: curve for row, curve in syncs.items() if len(curve)},
        {row: _silence(own) for row, own in silent.items()},
        tuple(metrics),
    )


def _mean_curve(curves: Sequence[NDArray[np.float64]]) -> Values:
    there = [curve for curve in curves if len(curve)]
    return np.asarray(np.mean(there, axis=0)) if there else np.empty(0)


def _silence(clips: Sequence[ClipValues]) -> dict[str, Estimate]:
    speakers = [speaker for speaker, _ in clips]

    def values(name: str) -> list[float]:
        return [each[name] for _, each in clips]

    measured = {
        "opening_px": mean_estimate(values("silence_opening_px"), speakers),
        "closed_px": mean_estimate(values("closed_px"), speakers),
    }
    if any(values("speech_std_px")):
        ratio = ratio_estimate(values("silence_std_px"), values("speech_std_px"), speakers)
        measured = {"movement_ratio": ratio, **measured}
    return measured
