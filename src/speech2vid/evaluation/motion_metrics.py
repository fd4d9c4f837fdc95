"""How much heads move and eyes blink: filmed people, what ``--motion`` draws for the same audio, and a still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from speech2vid.audio.mfcc import audio_features
from speech2vid.constants import FRAME_RATE_HZ, MFCC_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.evaluation.metric_records import Metric
from speech2vid.faces.head_motion import COLUMNS, TURNS, head_motion, motion_figures
from speech2vid.inference.head.motion import level_in_frames
from speech2vid.inference.head.samplers import LIVELINESS, MotionNetwork
from speech2vid.types import Floats, Waveform

FILMED, STILL = "filmed", "still"
LEAST_S = 3.0  # shorter clips are left out
METRICS = (
    Metric("blinks_per_min", "blinks", "1/min"),
    Metric("blink_s", "length of a blink", "s"),
    Metric("speed_deg_s", "speed of turning", "°/s"),
    Metric("range_deg", "range of turns, std within 3 s", "°"),
    Metric("shift_cm", "range of shifts, std within 3 s", "cm of a head"),
    Metric("stress_correlation", "correlation of turning speed and audio level"),
)
Quartiles = dict[str, float]  # low, value and high: 25th, 50th and 75th percentile over speakers
MotionTable = dict[str, dict[str, Quartiles]]  # row → metric → quartiles


def motion_table(tracks: Sequence[Track], network: MotionNetwork, seed: int = 0) -> MotionTable:
    """Measure head motion, filmed and drawn.

    Generated motion is measured before rendering; filmed motion includes the jitter of landmarks, which the row of a
    rendered video would have, too.

    Args:
        tracks: of a split; those of three seconds and more count.
        network: of ``natural`` and ``subtle``.
        seed: of the motion; every clip gets its own.

    Returns:
        rows ``filmed``, ``natural``, ``subtle`` and ``still``, each with the quartiles over speakers of every metric;
        empty if no track is long enough.
    """
    by_speaker: dict[str, list[Track]] = {}
    for track in tracks:
        if len(track) >= LEAST_S * FRAME_RATE_HZ:
            by_speaker.setdefault(track.record.speaker, []).append(track)
    if not by_speaker:
        return {}
    table: MotionTable = {}
    for row in (FILMED, *LIVELINESS, STILL):
        speakers = [
            _speaker_values([(_motion(track, row, network, seed + n), track.waveform) for n, track in enumerate(own)])
            for _, own in sorted(by_speaker.items())
        ]
        table[row] = {
            metric.name: quartiles
            for metric in METRICS
            if (quartiles := _quartiles([values[metric.name] for values in speakers if metric.name in values]))
        }
    return table


def motion_lines(table: Mapping[str, Mapping[str, Quartiles]]) -> list[list[str]]:
    """Return header and lines of a table: a line a row, a column a metric."""
    lines = [["head motion", *(metric.heading for metric in METRICS)]]
    for row, values in table.items():
        cells = [
            "{value:.2f} [{low:.2f}, {high:.2f}]".format(**values[m.name]) if m.name in values else "–" for m in METRICS
        ]
        lines.append([row, *cells])
    return lines


def _motion(track: Track, row: str, network: MotionNetwork, seed: int) -> Floats:
    if row == FILMED:
        return head_motion(track.source_landmarks)
    if row == STILL:
        return np.zeros((len(track), len(COLUMNS)), np.float32)
    stream = network.stream(row, seed)  # type: ignore[arg-type]  # the rows between are the names of --motion
    assert stream is not None
    rows = np.concatenate([stream.push(track.waveform), stream.flush()])
    return rows[: len(track)]


def _speaker_values(clips: Sequence[tuple[Floats, Waveform]]) -> dict[str, float]:
    """Return the mean of each metric over a speaker's clips; the rate of blinks counts all of them together."""
    figures = [motion_figures(motion) for motion, _ in clips]
    blinks, minutes = sum(each.blinks for each in figures), sum(len(motion) for motion, _ in clips) / FRAME_RATE_HZ / 60
    values = {
        name: [asdict(each)[name] for each in figures] for name in ("blink_s", "speed_deg_s", "range_deg", "shift_cm")
    }
    values["stress_correlation"] = [_stress_correlation(motion, waveform) for motion, waveform in clips]
    means = {name: float(np.nanmean(each)) for name, each in values.items() if not np.isnan(each).all()}
    return {**means, "blinks_per_min": blinks / minutes}


def _stress_correlation(motion: Floats, waveform: Waveform) -> float:
    """Return the correlation of turning speed and audio level over frames; NaN where either does not change."""
    level_db = audio_features(waveform).level_db
    level = level_in_frames(level_db[: len(level_db) // MFCC_PER_FRAME * MFCC_PER_FRAME])
    speed = np.linalg.norm(np.diff(motion[:, TURNS], axis=0), axis=1)
    count = min(len(level), len(speed))
    if count < 2 or speed[:count].std() < 1e-9 or level[:count].std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(speed[:count], level[:count])[0, 1])


def _quartiles(values: Sequence[float]) -> Quartiles:
    if not values:
        return {}
    low, value, high = np.percentile(values, [25, 50, 75])
    return {"value": float(value), "low": float(low), "high": float(high)}
