"""What an evaluation found, as Markdown tables and as one line a clip and row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speech2vid.evaluation.statistics import Estimate
from speech2vid.evaluation.summary import ClipScores, Summary

ROW_TITLES = {
    "truth": "ground truth",
    "generated": "generated",
    "true_shapes": "true mouth shapes",
    "other_sound": "another clip's sound",
    "best_still": "best still repeated",
    "mean_still": "mean of the stills",
    "first_still": "first still repeated",
}
MEASURE_TITLES = {
    "opening_correlation": "lip opening: correlation",
    "opening_std_ratio": "lip opening: std / true std",
    "mouth_error": "mouth error (0–255)",
    "gain_over_other_sound": "error below another sound's",
    "gain_over_best_still": "error below the best still's",
    "squared_error": "MSE (0–255)",
    "mouth_distance_px": "mouth landmarks (px of 112)",
    "identity_distance": "identity distance to the photo",
    "sharpness_ratio": "sharpness / true",
    "jitter_ratio": "jitter / true",
}
COLUMN_TITLES = {"five_stills": "Five stills", "one_still": "One still, any mouth state"}
SILENCE_TITLES = {
    "movement_ratio": "std of lip opening in digital silence / in speech",
    "opening_px": "lip opening in digital silence, px",
    "closed_px": "true lip opening, 10th percentile, px",
}
SHARES = ("gain_over_other_sound", "gain_over_best_still")
NOTES = (
    "Figures: value [95 % interval, bootstrap over clips] (mean over speakers). Landmarks of generated and of true "
    "frames are measured with the same tool on the 112 px aligned face; the ground truth's correlation is with the "
    "landmarks found in the source video, and so the most that this measuring can show."
)

Table = list[list[str]]


def summary_table(summary: Summary) -> Table:
    """Header and lines: a line for each row of the evaluation, a column for each measure."""
    lines = [["", *MEASURE_TITLES.values(), "best lag (frames)"]]
    for row, measures in summary.rows.items():
        cells = [format_estimate(name, measures[name]) if name in measures else "–" for name in MEASURE_TITLES]
        lag = f"{summary.best_lag_frames(row):+d}" if row in summary.lag_curves else "–"
        lines.append([ROW_TITLES[row], *cells, lag])
    return lines


def silence_table(summary: Summary) -> Table:
    """Header and lines of what the mouth does in digital silence."""
    lines = [["digital silence", ""]]
    return lines + [[title, format_estimate(name, summary.silence[name])] for name, title in SILENCE_TITLES.items()]


def format_estimate(name: str, estimate: Estimate) -> str:
    """``0.31 [0.27, 0.36] (0.33)``, in per cent for shares."""
    scale, unit = (100.0, " %") if name in SHARES else (1.0, "")
    digits = 1 if name in SHARES or abs(estimate.value) >= 10 else 2 if abs(estimate.value) >= 0.005 else 3
    value, low, high, speakers = (
        f"{scale * each:.{digits}f}" for each in (estimate.value, estimate.low, estimate.high, estimate.speaker_value)
    )
    return f"{value}{unit} [{low}, {high}] ({speakers})"


def markdown(settings: Mapping[str, Any], summaries: Mapping[str, Summary]) -> str:
    """The content of ``table.md``."""
    parts = ["# Evaluation", *(f"- {name.replace('_', ' ')}: {value}" for name, value in settings.items()), "", NOTES]
    for column, summary in summaries.items():
        parts += ["", f"## {COLUMN_TITLES[column]}", ""]
        parts += [_markdown_table(_transposed(summary_table(summary))), "", _markdown_table(silence_table(summary))]
    return "\n".join(parts) + "\n"


def clip_table(clips: Mapping[str, Sequence[ClipScores]]) -> str:
    """The content of ``clips.tsv``: one line a column, clip and row."""
    names = list(
        dict.fromkeys(n for column in clips.values() for c in column for s in c.rows.values() for n in s.values)
    )
    lines = [["stills", "clip", "speaker", "frames", "stills_of", "row", *names]]
    for column, scored in clips.items():
        for clip in scored:
            for row, scores in clip.rows.items():
                values = [f"{scores.values[name]:.4f}" if name in scores.values else "" for name in names]
                lines.append([column, clip.key, clip.speaker, str(clip.frames), clip.stills_of, row, *values])
    return "".join("\t".join(line) + "\n" for line in lines)


def _transposed(table: Table) -> Table:
    return [list(column) for column in zip(*table, strict=True)]


def _markdown_table(table: Table) -> str:
    head, *lines = (f"| {' | '.join(line)} |" for line in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *lines])
