"""The report as one HTML file that needs no other: tables, the curve of lags, pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from speech2vid.evaluation.measures import REACH_FRAMES
from speech2vid.evaluation.report import (
    COLUMN_TITLES,
    NOTES,
    ROW_TITLES,
    Table,
    silence_table,
    summary_table,
)
from speech2vid.evaluation.summary import Summary
from speech2vid.records import Frames, Image

COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#999999", "#e7298a", "#66a61e", "#a6761d")
WIDTH, HEIGHT, EDGE = 640, 300, 44  # of the curve's drawing
LOWEST, HIGHEST = -0.4, 1.0  # correlations it shows
JPEG_QUALITY = 88

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto; }
td, th { border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: left; white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: 13px; } img { max-width: 100%; }
"""


@dataclass(frozen=True)
class Example:
    """A clip at a few moments.

    Attributes:
        key: of the clip.
        photo: (112, 112, 3) the still that came alive.
        moments: frame numbers.
        strips: row → (len(moments), 112, 112, 3).
    """

    key: str
    photo: Image
    moments: list[int]
    strips: dict[str, Frames]


def page(
    settings: Mapping[str, Any], summaries: Mapping[str, Summary], examples: Mapping[str, Sequence[Example]]
) -> str:
    """The content of ``report.html``."""
    about = [["", ""], *([name.replace("_", " "), str(value)] for name, value in settings.items())]
    parts = ["<h1>Evaluation</h1>", _table(about), f"<p>{html.escape(NOTES)}</p>"]
    for column, summary in summaries.items():
        parts += [f"<h2>{COLUMN_TITLES[column]}</h2>", _table(summary_table(summary)), _table(silence_table(summary))]
        parts += [_curves(summary), "<h3>Pictures</h3>", *map(_strip, examples[column])]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>speech2vid evaluation</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _table(table: Table) -> str:
    head, *lines = table
    rows = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    rows += ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in lines]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _curves(summary: Summary) -> str:
    """Mean correlation of generated and true lip opening against the lag between them, as SVG."""

    def x(lag: float) -> float:
        return EDGE + (lag + REACH_FRAMES) / (2 * REACH_FRAMES) * (WIDTH - 2 * EDGE)

    def y(value: float) -> float:
        return EDGE / 2 + (HIGHEST - value) / (HIGHEST - LOWEST) * (HEIGHT - 1.5 * EDGE)

    parts = []
    for value in np.arange(LOWEST, HIGHEST + 0.1, 0.2):
        parts.append(f'<line x1="{x(-10)}" x2="{x(10)}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{EDGE - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    for lag in range(-REACH_FRAMES, REACH_FRAMES + 1, 5):
        parts.append(f'<text x="{x(lag):.1f}" y="{HEIGHT - EDGE / 2}" text-anchor="middle">{lag:+d}</text>')
    for number, (row, curve) in enumerate(summary.lag_curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(i - REACH_FRAMES):.1f},{y(float(value)):.1f}" for i, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{x(10) - 4}" y="{18 + 15 * number}" text-anchor="end" fill="{colour}">{ROW_TITLES[row]}</text>'
        )
    drawing = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" font-size="12">{"".join(parts)}</svg>'
    caption = (
        "Correlation of lip opening with the truth against the lag, frames; right of 0 the generated mouth is late."
    )
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _strip(example: Example) -> str:
    gap = np.full((*example.photo.shape[:1], 8, 3), 255, np.uint8)
    blank = np.full_like(example.photo, 255)
    rows = [
        np.hstack([example.photo if number == 1 else blank, gap, *frames])
        for number, frames in enumerate(example.strips.values())
    ]
    names = ", ".join(ROW_TITLES[row] for row in example.strips)
    caption = f"{example.key}: the photo; from above: {names}; frames {', '.join(map(str, example.moments))}"
    picture = f'<img alt="" src="{_data_url(np.vstack(rows))}">'
    return f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _data_url(image: Image) -> str:
    written, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert written
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(data)).decode()}"
