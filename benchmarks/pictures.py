"""Make the pictures of the documents: photos beside moments of the videos made from them.

    python benchmarks/pictures.py docs/images/faces.png PHOTO… [--audio SPEECH] [--moments 8] [--zoom]

One row a photo: the photo itself, then moments evenly spread over the speech. ``--zoom`` shows the aligned face instead
of the whole picture. Only photos that anyone may publish belong into the repository.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from speech2vid import talk
from speech2vid.media import VideoReader, load_photo
from speech2vid.records import Image

HEIGHT_PX = 168


def row(photo: Path, audio: Path, moments: int, zoom: bool) -> Image:
    """The photo and ``moments`` frames of it speaking, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "talk.mp4"
        count = talk(photo, audio, video, crop=zoom).frames
        wanted = set(np.linspace(0.03 * count, 0.97 * count, moments).astype(int).tolist())
        shown = [frame.image for frame in VideoReader(video) if frame.index in wanted]
    shown.insert(0, load_photo(photo))
    return np.hstack([_square(picture) for picture in shown])


def _square(picture: Image) -> Image:
    """The upper middle square of a picture, small."""
    side = min(picture.shape[:2])
    left = (picture.shape[1] - side) // 2
    square = Pictures.fromarray(picture[:side, left : left + side])
    return np.asarray(square.resize((HEIGHT_PX, HEIGHT_PX), Pictures.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("outfile", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--audio", type=Path, default=Path(str(files("speech2vid") / "assets/demo_speech.wav")))
    parser.add_argument("--moments", type=int, default=8)
    parser.add_argument("--zoom", action="store_true")
    given = parser.parse_args()
    rows = [row(photo, given.audio, given.moments, given.zoom) for photo in given.photos]
    Pictures.fromarray(np.vstack(rows)).save(given.outfile, optimize=True)


if __name__ == "__main__":
    main()
