"""What an evaluation found, as Markdown tables and as one line a clip and row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
LOWER, HIGHER, NEAR_1 = "↓", "↑", "→ 1"
METRIC_TITLES = {
    "mse": f"MSE (0–255) {LOWER}",
    "psnr": f"PSNR (dB) {HIGHER}",
    "ssim": f"SSIM {HIGHER}",
    "mouth_error": f"mouth error (0–255) {LOWER}",
    "gain_over_other_audio": f"… below another recording's {HIGHER}",
    "gain_over_best_still": f"… below the best still's {HIGHER}",
    "embedding_distance": f"embedding distance to the true frame {LOWER}",
    "content_distance": f"content distance {LOWER}",
    "identity_distance": f"identity distance to the photo {LOWER}",
    "identity_similarity": f"identity similarity to the photo (cosine) {HIGHER}",
    "retrieval_accuracy": f"retrieval accuracy, mean of clips {HIGHER}",
    "retrieval_accuracy_windows": f"retrieval accuracy, all windows {HIGHER}",
    "sync_confidence": f"sync confidence {HIGHER}",
    "sync_distance": f"sync distance {LOWER}",
    "sync_offset_frames": f"sync offset, absolute (frames) {LOWER}",
    "opening_correlation": f"lip opening: correlation {HIGHER}",
    "opening_std_ratio": f"lip opening: std / true std {NEAR_1}",
    "lmd_mouth_px": f"LMD mouth (px of 112) {LOWER}",
    "lmd_face_px": f"LMD face (px of 112) {LOWER}",
    "lmd_mouth_nme": f"LMD mouth / eye distance {LOWER}",
    "lmd_face_nme": f"LMD face / eye distance {LOWER}",
    "sharpness_ratio": f"sharpness of the mouth / true {NEAR_1}",
    "jitter_ratio": f"mouth jitter / true {NEAR_1}",
    "face_jitter_ratio": f"upper-face jitter / true {NEAR_1}",
}
COLUMN_TITLES = {"five_stills": "Five stills", "one_still": "One still, any mouth state"}
SILENCE_TITLES = {
    "movement_ratio": "std of lip opening in digital silence / in speech",
    "opening_px": "lip opening in digital silence, px",
    "closed_px": "true lip opening, 10th percentile, px",
}
SHARES = ("gain_over_other_audio", "gain_over_best_still", "retrieval_accuracy", "retrieval_accuracy_windows")
FINE = ("lmd_mouth_nme", "lmd_face_nme", "sync_confidence", "identity_similarity", "ssim")  # three decimals
NOTES = (
    "Each figure: value [95 % interval, bootstrap over clips] (mean over speakers); n is given if clips lack a "
    f"value. {LOWER}: lower is better; {HIGHER}: higher is better; {NEAR_1}: best at the real value. Landmarks "
    "of generated and real frames are measured by the same landmarker on the 112 px face; the real video's own "
    "correlation is with the landmarks of the source video, and is the upper limit of this measurement. Retrieval, "
    "confidence, distance and offset come from our own sync network over ±15 frames in windows of 25, and are not "
    f"comparable with SyncNet's. Chance level of retrieval: {100 * RETRIEVAL_CHANCE:.1f} %."
)

LISTED = 6  # of a long setting, in the tables

Table = list[list[str]]


def row_title(row: str) -> str:
    """What a table calls a row."""
    kind, generator = split_row(row)
    return f"{ROW_TITLES[kind]}, {generator}" if generator else ROW_TITLES[kind]


def summary_table(summary: Summary, clips: int) -> Table:
    """Header and lines: a line for each row of the evaluation, a column for each metric that there is."""
    there = [name for name in METRIC_TITLES if any(name in metrics for metrics in summary.rows.values())]
    lines = [["", *(METRIC_TITLES[name] for name in there), "best lag (frames)"]]
    for row, metrics in summary.rows.items():
        cells = [format_estimate(name, metrics[name], clips) if name in metrics else "–" for name in there]
        lag = f"{summary.best_lag_frames(row):+d}" if row in summary.lag_curves else "–"
        lines.append([row_title(row), *cells, lag])
    return lines


def silence_table(summary: Summary) -> Table:
    """Header and lines of what the mouth does in digital silence."""
    names = [split_row(row)[1] for row in summary.silence]
    lines = [["digital silence", *names]]
    for name, title in SILENCE_TITLES.items():
        cells = [format_estimate(name, each[name]) if name in each else "–" for each in summary.silence.values()]
        lines.append([title, *cells])
    return lines


def format_estimate(name: str, estimate: Estimate, clips: int | None = None) -> str:
    """``0.31 [0.27, 0.36] (0.33)``, in per cent for shares, with the number of clips if it is not ``clips``."""
    scale, unit = (100.0, " %") if name in SHARES else (1.0, "")
    digits = 3 if name in FINE else 1 if name in SHARES or abs(estimate.value) >= 10 else 2
    if 0 < abs(estimate.value) < 0.005 and name not in SHARES:
        digits = 3
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


def markdown(settings: Mapping[str, Any], summaries: Mapping[str, Summary]) -> str:
    """The content of ``table.md``."""
    parts = ["# Evaluation", "", *(f"- {name}: {value}" for name, value in setting_lines(settings)), "", NOTES]
    for column, summary in summaries.items():
        parts += ["", f"## {COLUMN_TITLES[column]}", ""]
        parts += [_markdown_table(transposed(summary_table(summary, settings["clips"])))]
        parts += ["", _markdown_table(silence_table(summary))]
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


def transposed(table: Table) -> Table:
    """Lines become columns."""
    return [list(column) for column in zip(*table, strict=True)]


def _markdown_table(table: Table) -> str:
    head, *lines = (f"| {' | '.join(line)} |" for line in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *lines])
