"""Labelled contact sheets and short videos of validation: a row a face, a column a kind of image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from speech2vid.types import Frames, Image

ROWS = 8
VIDEO_ROWS = 4
TEXT_PX, GAP_PX = 10, 3
LEFT_PX = 120  # for the labels of the rows
BACKGROUND, INK = 255, 0


@dataclass(frozen=True)
class Row:
    """A labelled row of images (H, W, 3), or of videos (T, H, W, 3), uint8 RGB, all of one size."""

    label: str
    images: Sequence[Frames]


def contact_sheet(rows: Sequence[Row], columns: Sequence[str]) -> Image:
    """Return the first eight rows of images below each other, labelled; shorter rows end in grey.

    Args:
        columns: label of each column.
    """
    still = [Row(row.label, [image[None] for image in row.images]) for row in rows[:ROWS]]
    sheet: Image = _labelled(still, columns)[0]
    return sheet


def contact_video(rows: Sequence[Row], columns: Sequence[str]) -> Frames:
    """Return the first four rows of videos as one labelled video (T, H, W, 3), as long as the shortest of them."""
    return _labelled(rows[:VIDEO_ROWS], columns)


def _labelled(rows: Sequence[Row], columns: Sequence[str]) -> Frames:
    length = min(len(video) for row in rows for video in row.images)
    _, height, width, _ = rows[0].images[0].shape
    blank = np.full((length, height, width, 3), 128, np.uint8)
    wide = [
        np.concatenate([*(video[:length] for video in row.images), *[blank] * (len(columns) - len(row.images))], axis=2)
        for row in rows
    ]
    faces = np.concatenate(wide, axis=1)
    shown = np.repeat(_labels([row.label for row in rows], columns, height, width)[None], length, axis=0)
    shown[:, -faces.shape[1] :, -faces.shape[2] :] = faces
    return shown


def _labels(rows: Sequence[str], columns: Sequence[str], height: int, width: int) -> Image:
    """Return an empty sheet for images of ``height`` × ``width`` with labels at its left and upper margins."""
    font = ImageFont.load_default(TEXT_PX)
    names = [_wrapped(name, font, width - GAP_PX) for name in columns]
    top = max(name.count("\n") + 1 for name in names) * (TEXT_PX + GAP_PX) + GAP_PX
    page = PillowImage.new("RGB", (LEFT_PX + width * len(columns), top + height * len(rows)), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(page)
    for number, name in enumerate(names):
        draw.text((LEFT_PX + number * width + GAP_PX, GAP_PX), name, (INK,) * 3, font)
    for number, name in enumerate(rows):
        draw.text(
            (GAP_PX, top + number * height + GAP_PX), _wrapped(name, font, LEFT_PX - 2 * GAP_PX), (INK,) * 3, font
        )
    return np.asarray(page).copy()


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return ``text`` with line breaks, so that no line is wider than ``width`` px."""
    lines = [""]
    for letter in text:
        if letter == "\n" or font.getlength(lines[-1] + letter) > width:
            start = lines[-1].rfind(" ") + 1
            rest = lines[-1][start:] if start and letter not in " \n" else ""
            lines[-1] = lines[-1][: len(lines[-1]) - len(rest)].rstrip()
            lines.append(rest)
        if letter != "\n" and (lines[-1] or letter != " "):
            lines[-1] += letter
    return "\n".join(lines)
