"""Pictures to look at: rows of faces side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech2vid.records import Image

ROWS = 8


def contact_sheet(rows: Sequence[Sequence[Image]]) -> Image:
    """Pictures of equal size → one, the first eight rows below each other; shorter rows end in grey."""
    rows = rows[:ROWS]
    columns = max(map(len, rows))
    blank = np.full_like(rows[0][0], 128)
    return np.concatenate([np.concatenate([*row, *[blank] * (columns - len(row))], axis=1) for row in rows], axis=0)
