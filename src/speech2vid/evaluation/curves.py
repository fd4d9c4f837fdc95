"""Curves over a lag, as an SVG drawing in a string."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#999999", "#e7298a", "#66a61e", "#a6761d", "#1f78b4", "#222222")
WIDTH, HEIGHT, EDGE, LEGEND = 460, 300, 40, 190
TICK_FRAMES = 5


def drawing(curves: Mapping[str, NDArray[np.floating]], lowest: float, highest: float, step: float = 0.2) -> str:
    """Curves by title, each over the same lags −n … n; the vertical axis has a line each ``step``."""
    reach = max(len(curve) for curve in curves.values()) // 2

    def x(lag: float) -> float:
        return EDGE + (lag + reach) / (2 * reach) * (WIDTH - 2 * EDGE)

    def y(value: float) -> float:
        return EDGE / 2 + (highest - value) / (highest - lowest) * (HEIGHT - 1.5 * EDGE)

    parts = []
    for value in np.arange(lowest, highest + step / 2, step):
        parts.append(f'<line x1="{x(-reach)}" x2="{x(reach)}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{EDGE - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    for lag in range(-reach, reach + 1, TICK_FRAMES):
        parts.append(f'<text x="{x(lag):.1f}" y="{HEIGHT - EDGE / 2}" text-anchor="middle">{lag:+d}</text>')
    for number, (title, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(i - reach):.1f},{y(float(value)):.1f}" for i, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{WIDTH - EDGE + 10}" y="{24 + 16 * number}" fill="{colour}">{html.escape(title)}</text>'
        )
    size = f'viewBox="0 0 {WIDTH + LEGEND} {HEIGHT}" width="{WIDTH + LEGEND}"'
    return f'<svg {size} font-size="12">{"".join(parts)}</svg>'
