"""Preview pictures with numbered faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from speech2vid.types import Face, Image

Box = tuple[float, float, float, float]  # left, top, right, bottom
PREVIEW_PX = 960
TILE_PX, GAP_PX, TILES_A_ROW = 200, 8, 5
INK, PAPER, GROUND = (255, 255, 255), (194, 65, 12), (41, 37, 36)


@dataclass(frozen=True)
class FacesFound:
    """A preview picture with numbered boxes round the faces.

    Attributes:
        preview: JPEG file.
        boxes: of the faces, pixels of the preview, in the order in which the library counts them.
    """

    preview: Path
    boxes: tuple[Box, ...]


def preview_of(image: Image, faces: Sequence[Face], file: Path) -> FacesFound:
    """A picture, (H, W, 3) uint8 RGB, made smaller, with its faces boxed."""
    factor = min(1.0, PREVIEW_PX / max(image.shape))
    small = PIL.Image.fromarray(image)
    if factor < 1:
        small = small.resize((round(small.width * factor), round(small.height * factor)), PIL.Image.Resampling.BOX)
    return _numbered(small, tuple(_scaled(face, factor) for face in faces), file)


def gallery_of(people: Sequence[Image], file: Path) -> FacesFound:
    """A tile for each person, from a picture of their face, (h, w, 3) uint8 RGB."""
    rows, step = -(-len(people) // TILES_A_ROW), TILE_PX + GAP_PX
    size = (min(len(people), TILES_A_ROW) * step + GAP_PX, rows * step + GAP_PX)
    sheet = PIL.Image.new("RGB", size, GROUND)
    boxes = []
    for number, face in enumerate(people):
        left, top = (GAP_PX + step * place for place in (number % TILES_A_ROW, number // TILES_A_ROW))
        sheet.paste(PIL.ImageOps.pad(PIL.Image.fromarray(face), (TILE_PX, TILE_PX), color=GROUND), (left, top))
        boxes.append((float(left), float(top), float(left + TILE_PX), float(top + TILE_PX)))
    return _numbered(sheet, tuple(boxes), file)


def _scaled(face: Face, factor: float) -> Box:
    box = face.box
    return (box.left * factor, box.top * factor, box.right * factor, box.bottom * factor)


def _numbered(image: PIL.Image.Image, boxes: tuple[Box, ...], file: Path) -> FacesFound:
    pen = PIL.ImageDraw.Draw(image)
    width = max(2, round(max(image.size) / 240))
    for number, box in enumerate(boxes, 1):
        font = PIL.ImageFont.load_default(size=max(12, min(40, 0.3 * (box[2] - box[0]))))
        pen.rectangle(box, outline=PAPER, width=width)
        *_, right, bottom = pen.textbbox((box[0] + 2 * width, box[1] + width), str(number), font=font)
        pen.rectangle((box[0], box[1], right + 2 * width, bottom + 2 * width), fill=PAPER)
        pen.text((box[0] + 2 * width, box[1] + width), str(number), font=font, fill=INK)
    image.save(file, quality=88)
    return FacesFound(file, boxes)
