"""What an evaluation found, as Markdown tables and as one line a clip and row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speech2vid.evaluation.metric_records import ARROWS, BUILT_IN, COLUMNS, Metric
from speech2vid.evaluation.motion_metrics import MotionTable, motion_lines
from speech2vid.evaluation.statistics import Estimate
from speech2vid.evaluation.summary import ClipScores, Summary, split_row
from speech2vid.evaluation.sync_metrics import CHANCE as RETRIEVAL_CHANCE

ROW_TITLES = {
    "truth": "ground truth",
    "generated": "generated",
    "target_motion": "true mouth shapes",
    "other_audio": "another clip's audio",
    "best_still": "best still repeated",
    "mean_still": "mean of the stills",
    "first_still": "first still repeated",
    "chance": "another person's video",
}
COLUMN_TITLES = {"five_stills": "Five stills", "one_still": "One still, any mouth state"}
SILENCE_METRICS = (
    Metric("movement_ratio", "std of lip opening in digital silence / in speech"),
    Metric("opening_px", "lip opening in digital silence, px"),
    Metric("closed_px", "true lip opening, 10th percentile, px"),
)
LOWER, HIGHER, NEAR_1 = ARROWS["lower"], ARROWS["higher"], ARROWS["near 1"]
NOTES = (
    "Each figure: value [95 % interval, bootstrap over clips] (mean over speakers); n is given if clips lack a "
    f"value. {LOWER}: lower is better; {HIGHER}: higher is better; {NEAR_1}: best at the real value. Landmarks "
    "of generated and real frames are measured by the same landmarker on the 112 px face; the real video's own "
    "correlation is with the landmarks of the source video, and is the upper limit of this measurement. Retrieval, "
    "confidence, distance and offset come from our own sync network over ±15 frames in windows of 25, and are not "
    f"comparable with SyncNet's. Chance level of retrieval: {100 * RETRIEVAL_CHANCE:.1f} %."
)

MOTION_NOTE = (
    "Median over speakers [quartiles], of clips of three seconds and more. Filmed motion is measured from landmarks "
    "and includes their jitter; the other rows are what `talk --motion` draws for the same audio. All other figures of "
    "this report are those of a still head."
)
LISTED = 6  # of a long setting, in the tables

Table = list[list[str]]


def row_title(row: str) -> str:
    """What a table calls a row."""
    kind, generator = split_row(row)
    return f"{ROW_TITLES[kind]}, {generator}" if generator else ROW_TITLES[kind]


def summary_table(summary: Summary, clips: int) -> Table:
    """Header and lines: a line for each row of the evaluation, a column for each metric that there is."""
    known = (*BUILT_IN.values(), *summary.metrics)
    there = [metric for metric in known if any(metric.name in row for row in summary.rows.values())]
    lines = [["", *(metric.heading for metric in there), "best lag (frames)"]]
    for row, estimates in summary.rows.items():
        cells = [
            format_estimate(each, estimates[each.name], clips) if each.name in estimates else "–" for each in there
        ]
        lag = f"{summary.best_lag_frames(row):+d}" if row in summary.lag_curves else "–"
        lines.append([row_title(row), *cells, lag])
    return lines


def silence_table(summary: Summary) -> Table:
    """Header and lines of what the mouth does in digital silence."""
    names = [split_row(row)[1] for row in summary.silence]
    lines = [["digital silence", *names]]
    for metric in SILENCE_METRICS:
        rows = summary.silence.values()
        cells = [format_estimate(metric, row[metric.name]) if metric.name in row else "–" for row in rows]
        lines.append([metric.heading, *cells])
    return lines


def format_estimate(metric: Metric, estimate: Estimate, clips: int | None = None) -> str:
    """``0.31 [0.27, 0.36] (0.33)``, in per cent for shares, with the number of clips if it is not ``clips``."""
    scale, unit = (100.0, " %") if metric.share else (1.0, "")
    digits = 1 if metric.share or abs(estimate.value) >= 10 else 2
    if 0 < abs(estimate.value) < 0.005 and not metric.share:
        digits = 3
    if metric.decimals is not None:
        digits = metric.decimals
    value, low, high, speakers = (
        f"{scale * each:.{digits}f}" for each in (estimate.value, estimate.low, estimate.high, estimate.speaker_value)
    )
    count = "" if clips in (None, estimate.clips) else f" n={estimate.clips}"
    return f"{value}{unit} [{low}, {high}] ({speakers}){count}"


def setting_lines(settings: Mapping[str, Any]) -> Table:
    """Name and value of each setting; of a long list its length and beginning."""
    lines = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{key}: {each}" for key, each in value.items())
        elif isinstance(value, list):
            shown = ", ".join(map(str, value[:LISTED])) or "none"
            text = f"{len(value)}: {shown}, … (all in metrics.json)" if len(value) > LISTED else shown
        else:
            text = str(value)
        lines.append([name.replace("_", " "), text])
    return lines


def markdown(settings: Mapping[str, Any], summaries: Mapping[str, Summary], motion: MotionTable | None = None) -> str:
    """The content of ``table.md``."""
    parts = ["# Evaluation", "", *(f"- {name}: {value}" for name, value in setting_lines(settings)), "", NOTES]
    for column, summary in summaries.items():
        parts += ["", f"## {COLUMN_TITLES[column]}", ""]
        parts += [_markdown_table(transposed(summary_table(summary, settings["clips"])))]
        parts += ["", _markdown_table(silence_table(summary))]
    if motion:
        parts += [
            "",
            "## Head motion and blinks",
            "",
            MOTION_NOTE,
            "",
            _markdown_table(transposed(motion_lines(motion))),
        ]
    return "\n".join(parts) + "\n"


def clip_table(clips: Mapping[str, Sequence[ClipScores]]) -> str:
    """The content of ``clips.tsv``: one line a column, clip and row."""
    names = list(
        dict.fromkeys(n for column in clips.values() for c in column for s in c.rows.values() for n in s.values)
    )
    lines = [[*COLUMNS, *names]]
    for column, scored in clips.items():
        for clip in scored:
            for row, scores in clip.rows.items():
                values = [f"{scores.values[name]:.4f}" if name in scores.values else "" for name in names]
                lines.append([column, clip.key, clip.speaker, str(clip.frames), clip.stills_of, row, *values])
    return "".join("\t".join(line) + "\n" for line in lines)


def transposed(table: Table) -> Table:
    """Lines become columns."""
    return [list(column) for column in zip(*table, strict=True)]


def _markdown_table(table: Table) -> str:
    head, *lines = (f"| {' | '.join(line)} |" for line in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *lines])
