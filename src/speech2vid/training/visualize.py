"""Images and short videos to look at: rows of faces side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech2vid.types import Frames, Image

ROWS = 8
VIDEO_ROWS = 4


def contact_sheet(rows: Sequence[Sequence[Image]]) -> Image:
    """Images of equal size → one, the first eight rows below each other; shorter rows end in grey."""
    rows = rows[:ROWS]
    columns = max(map(len, rows))
    blank = np.full_like(rows[0][0], 128)
    return np.concatenate([np.concatenate([*row, *[blank] * (columns - len(row))], axis=1) for row in rows], axis=0)


def contact_video(rows: Sequence[Sequence[Frames]]) -> Frames:
    """Videos (T, H, W, 3) of equal images → one, the first four rows below each other, as long as the shortest."""
    rows = rows[:VIDEO_ROWS]
    length = min(len(video) for row in rows for video in row)
    wide = [np.concatenate([video[:length] for video in row], axis=2) for row in rows]
    return np.concatenate(wide, axis=1)
