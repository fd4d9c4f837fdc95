"""A picture as a PNG file: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from speech2vid.errors import OutputError
from speech2vid.media.mark import MARK_KEY, mark_text
from speech2vid.media.video_writer import create_hidden, hidden_name, output_errors
from speech2vid.records import Image


def save_picture(image: Image, outfile: str | Path) -> Path:
    """Write (H, W, 3) uint8 RGB, marked as synthetic.

    Raises:
        OutputError: unwritable, or a suffix other than .png.
    """
    outfile = Path(outfile)
    if outfile.suffix.lower() != ".png":
        raise OutputError(f"{outfile} does not end in .png", "name the picture with .png")
    hidden = hidden_name(outfile)
    create_hidden(hidden, outfile)
    try:
        with output_errors(outfile):
            mark = PngInfo()
            mark.add_text(MARK_KEY, mark_text({"command": "redub"}))
            PIL.Image.fromarray(image).save(hidden, format="PNG", pnginfo=mark)
            os.replace(hidden, outfile)
    finally:
        hidden.unlink(missing_ok=True)
    return outfile
