"""``report.html``: what a store holds, as one page that needs nothing else: Table 1, histograms, a contact sheet."""

from __future__ import annotations

import base64
import hashlib
import heapq
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from speech2vid.data.report import PrepareReport

CONTACTS = 48  # faces on the sheet
BINS = 24
BAR_PX, PLOT_PX = 12, 80
SKIPPED_ROWS = 200
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ccc}"
    "td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:.5em}"
    "figcaption{font-size:12px;color:#555;max-width:300px}.faces figure{width:112px;overflow-wrap:anywhere}"
    "rect{fill:#4a7ab5}text{font-size:11px}"
)


class ContactSheet:
    """One face each of some tracks, few in memory: as many speakers as possible, by hash, so always the same ones."""

    def __init__(self) -> None:
        self._speakers: dict[str, tuple[int, str, bytes]] = {}  # the first track of each by the hash of its key
        self._others: list[tuple[int, str, bytes]] = []  # a heap, the largest hash first

    def offer(self, key: str, speaker: str, jpeg: bytes) -> None:
        """Take a track's face (JPEG) into account."""
        face = (_rank(key), key, jpeg)
        self._speakers[speaker] = min(self._speakers.get(speaker, face), face)
        if len(self._speakers) > CONTACTS:
            del self._speakers[max(self._speakers, key=_rank)]
        heapq.heappush(self._others, (-face[0], key, jpeg))
        if len(self._others) > 2 * CONTACTS:
            heapq.heappop(self._others)

    @property
    def faces(self) -> list[tuple[str, bytes]]:
        """Key and JPEG, by key."""
        chosen = {key: jpeg for _, key, jpeg in self._speakers.values()}
        for _, key, jpeg in sorted(self._others, reverse=True):
            if len(chosen) < CONTACTS:
                chosen.setdefault(key, jpeg)
        return sorted(chosen.items())


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def report_page(report: PrepareReport, sheet: ContactSheet) -> bytes:
    """The page, UTF-8. The same report gives the same bytes."""
    record = report.as_dict()
    tracks = report.tracks
    plots = (
        ("face size, source px", [track.face_px for track in tracks]),
        ("head turn, 0 (frontal) – 1", [track.turn for track in tracks]),
        ("track duration, s", [track.seconds for track in tracks]),
        ("audio offset, s (corrected)", [track.offset_s for track in tracks]),
        ("confidence that this person speaks", [track.confidence for track in tracks]),
    )
    splits = [(name, *column.values()) for name, column in record["splits"].items()]
    skipped = [(each["source"], each["reason"], each["detail"]) for each in record["skipped"]]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Sample store</title><style>{STYLE}</style>",
        "<h1>Sample store</h1>",
        f"<p>{record['tracks_kept']} tracks from {record['files_kept']} of {record['files_in']} files; "
        f"{record['hours_kept']} of {record['hours_in']}.</p>",
        "<h2>Splits (Table 1)</h2>",
        _table(("split", "speakers", "tracks", "samples", "hours"), splits),
        "<h2>Rejected</h2>",
        _table(("reason", "count"), list(record["tracks_dropped"].items())),
        "<h2>Tracks kept</h2>",
        *(_histogram(title, values) for title, values in plots if values),
        "<h2>Contact sheet</h2><div class=faces>",
        *(_contact(key, jpeg) for key, jpeg in sheet.faces),
        "</div>",
        "<h2>Files without usable tracks</h2>",
        _table(("file", "reason", "detail"), skipped[:SKIPPED_ROWS]),
        f"<p>… and {len(skipped) - SKIPPED_ROWS} more in files.tsv.</p>" if len(skipped) > SKIPPED_ROWS else "",
        "</html>\n",
    ]
    return "\n".join(parts).encode()


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "<p>None.</p>"
    names = "".join(f"<th>{escape(each)}" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(each))}" for each in row) for row in rows)
    return f"<table><tr>{names}{body}</table>"


def _histogram(title: str, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    counts, _ = np.histogram(values, BINS, (low, high if high > low else low + 1))
    top = int(counts.max())
    bars = "".join(
        f'<rect x="{BAR_PX * i}" y="{PLOT_PX - h}" width="{BAR_PX - 1}" height="{h}"/>'
        for i, h in enumerate(round(PLOT_PX * math.log1p(int(count)) / math.log1p(top)) for count in counts)
    )
    width = BAR_PX * BINS
    axis = (
        f'<text x="0" y="{PLOT_PX + 14}">{low:.3g}</text>'
        f'<text x="{width}" y="{PLOT_PX + 14}" text-anchor="end">{high:.3g}</text>'
    )
    middle = float(np.median(values))
    return (
        f'<figure><svg width="{width}" height="{PLOT_PX + 18}" role="img">{bars}{axis}</svg>'
        f"<figcaption>{escape(title)}; median {middle:.3g}, highest bar {top} tracks, heights logarithmic</figcaption>"
        "</figure>"
    )


def _contact(key: str, jpeg: bytes) -> str:
    data = base64.b64encode(jpeg).decode()
    return f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{escape(key)}</figcaption></figure>'
