"""The report as one HTML file that needs no other: tables, curves, images, videos."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from speech2vid.constants import FACE_PX
from speech2vid.evaluation.curves import drawing
from speech2vid.evaluation.qualitative import Grid, QualitativeExample, labelled
from speech2vid.evaluation.report import (
    COLUMN_TITLES,
    NOTES,
    Table,
    row_title,
    setting_lines,
    silence_table,
    summary_table,
    transposed,
)
from speech2vid.evaluation.summary import Summary
from speech2vid.types import Frames, Image

JPEG_QUALITY = 88
GAP_PX = 8
TITLE_PX = 220  # left of a strip

REDUB_NOTES = (
    "As in the paper's Fig. 16: the beginning of a real clip, re-dubbed with another person's audio; that person's own "
    "face is shown on top. Mouth motion comes from the audio-to-mouth network and all steps are as in redub; the rows "
    "differ only in how the generated mouth is blended into the face: pasted, Poisson editing, blending network."
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto; }
td, th { border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: left; vertical-align: top; }
td { white-space: nowrap; } td.long { white-space: normal; max-width: 60rem; }
tr td:first-child { position: sticky; left: 0; background: #fff; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: 13px; } img, video { max-width: 100%; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; }
"""


def page(
    settings: Mapping[str, Any],
    summaries: Mapping[str, Summary],
    examples: Sequence[QualitativeExample] = (),
    grid: Grid | None = None,
    redubs: Sequence[QualitativeExample] = (),
    redub_note: str = "",
) -> str:
    """The content of ``report.html``."""
    parts = ["<h1>Evaluation</h1>", _table([["", ""], *setting_lines(settings)], "long"), _paragraph(NOTES)]
    for column, summary in summaries.items():
        parts += [f"<h2>{COLUMN_TITLES[column]}</h2>"]
        parts += [_table(transposed(summary_table(summary, settings["clips"]))), _table(silence_table(summary))]
        parts += [_curves(summary)]
    if examples:
        parts += ["<h2>Videos</h2>", *map(_video, examples)]
        parts += ["<h2>Weights, number of stills, sharpening</h2>"]
        parts += [
            _paragraph("As in the paper's Figs. 11 and 12: the same frames of a clip, generated in each way evaluated.")
        ]
        parts += map(_strips, examples)
    if grid is not None:
        parts += ["<h2>Identities and recordings</h2>", _grid(grid)]
    if redubs or redub_note:
        parts += ["<h2>Re-dubbing</h2>", *([_paragraph(REDUB_NOTES)] if redubs else [])]
        parts += [_paragraph(redub_note)] if redub_note else []
    for example in redubs:
        parts += [_video(example), _strips(example)]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>speech2vid evaluation</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(table: Table, kind: str = "") -> str:
    head, *lines = table
    rows = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)] if any(head) else []
    rows += ["".join(f'<td class="{kind}">{html.escape(cell)}</td>' for cell in line) for line in lines]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _curves(summary: Summary) -> str:
    def titled(curves: Mapping[str, Any]) -> dict[str, Any]:
        return {row_title(row): curve for row, curve in curves.items()}

    lags = drawing(titled(summary.lag_curves), -0.4, 1.0)
    parts = [
        _figure(
            lags, "Correlation of lip opening with the truth, by lag in frames; right of 0 the generated mouth is late."
        )
    ]
    if summary.sync_curves:
        top = max(float(curve.max()) for curve in summary.sync_curves.values())
        low = min(float(curve.min()) for curve in summary.sync_curves.values())
        syncs = drawing(titled(summary.sync_curves), np.floor(10 * low) / 10, np.ceil(10 * top) / 10, 0.1)
        parts.append(
            _figure(syncs, "Similarity of picture and audio (sync network), by offset of the audio in frames.")
        )
    return f'<div class="curves">{"".join(parts)}</div>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _video(example: QualitativeExample) -> str:
    url = f"data:video/mp4;base64,{base64.b64encode(example.video).decode()}"
    return _figure(f'<video controls loop preload="metadata" src="{url}"></video>', example.key)


def _strips(example: QualitativeExample) -> str:
    """Lines of faces; where any is made of a photo, that stands before them."""
    side = example.strips[0].frames.shape[1]
    photos = any(strip.photo is not None for strip in example.strips)
    rows = []
    for strip in example.strips:
        photo = [_or_blank(strip.photo), _gap(side)] if photos else []
        rows.append(np.hstack([labelled(strip.title, TITLE_PX, side), *photo, *strip.frames]))
    first = "the photo; " if photos else ""
    return _figure(_image(np.vstack(rows)), f"{example.key}: {first}frames {', '.join(map(str, example.moments))}")


def _grid(grid: Grid) -> str:
    def line(photo: Image | None, frames: Frames) -> Image:
        return np.hstack([_or_blank(photo), _gap(FACE_PX), *frames])

    header = line(None, grid.header)
    between = np.full((GAP_PX, header.shape[1], 3), 255, np.uint8)
    caption = (
        "Top row: real frames of other people's clips, lips wide open and closed in turn. Left column: the photos. "
        "Every other cell: that person speaking that clip's audio, at the same frame."
    )
    return _figure(_image(np.vstack([header, between, *(line(row.photo, row.frames) for row in grid.rows)])), caption)


def _or_blank(image: Image | None) -> Image:
    return np.full((FACE_PX, FACE_PX, 3), 255, np.uint8) if image is None else image


def _gap(height_px: int) -> Image:
    return np.full((height_px, GAP_PX, 3), 255, np.uint8)


def _image(image: Image) -> str:
    return f'<img alt="" src="{_data_url(image)}">'


def _data_url(image: Image) -> str:
    written, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert written
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(data)).decode()}"
