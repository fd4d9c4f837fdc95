"""Make the pictures of the documents: photos next to moments of the videos made from them.

    python benchmarks/doc_images.py docs/images/demo.png PHOTO --zoom --motion natural --moments 7
    python benchmarks/doc_images.py docs/images/faces.png PHOTO… --zoom [--audio SPEECH] [--moments 8]
    python benchmarks/doc_images.py docs/images/redub.png PHOTO… --redub

One row a photo: the photo itself, then moments evenly spread over the speech. ``--zoom`` shows the aligned face instead
of the whole picture. ``--redub`` shows two rows a photo: moments of a video in which the photo is moved, turned and
enlarged while it speaks, and below them the same moments with the second half of the speech before the first. Only
photos that anyone may publish belong into the repository.
"""

from __future__ import annotations

import argparse
import tempfile
import wave
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from speech2vid import redub, talk
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.media import VideoReader, VideoWriter, load_photo, read_audio
from speech2vid.types import Image, Waveform

HEIGHT_PX = 168


def row(photo: Path, audio: Path, moments: int, zoom: bool, motion: str) -> Image:
    """The photo and ``moments`` frames of it speaking, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "talk.mp4"
        count = talk(photo, audio, video, crop=zoom, motion=motion).frames
        wanted = set(np.linspace(0.03 * count, 0.97 * count, moments).astype(int).tolist())
        shown = [frame.image for frame in VideoReader(video) if frame.index in wanted]
    shown.insert(0, load_photo(photo))
    return np.hstack([_square(image) for image in shown])


def redub_rows(photo: Path, audio: Path, moments: int) -> Image:
    """Moments of a moving video above the same moments of it re-dubbed."""
    with tempfile.TemporaryDirectory() as folder:
        still, moving, other, dubbed = (Path(folder) / name for name in ("a.mp4", "b.mp4", "c.wav", "d.mp4"))
        talk(photo, audio, still)
        _moved(still, moving, audio)
        speech = np.concatenate(list(read_audio(audio)))
        _write_wav(np.roll(speech, len(speech) // 2), other)
        count = redub(moving, other, dubbed).frames
        wanted = set(np.linspace(0.03 * count, 0.97 * count, moments).astype(int).tolist())
        rows = [
            np.hstack([_square(frame.image) for frame in VideoReader(video) if frame.index in wanted])
            for video in (moving, dubbed)
        ]
    return np.vstack(rows)


def _moved(video: Path, outfile: Path, audio: Path) -> None:
    """The video with its picture moved, turned by up to 6 degrees and enlarged by up to a fifth."""
    frames = VideoReader(video)
    height, width = next(iter(frames)).image.shape[:2]
    with VideoWriter(outfile, width, height, audio_source=audio) as writer:
        for frame in frames:
            phase = frame.index / 25
            turn = cv2.getRotationMatrix2D((width / 2, height / 3), 6 * np.sin(1.9 * phase), 1.1 + 0.1 * np.sin(phase))
            turn[:, 2] += (0.03 * width * np.sin(1.3 * phase), 0.02 * height * np.sin(2.3 * phase))
            moved = cv2.warpAffine(
                frame.image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
            writer.write(np.asarray(moved, np.uint8))


def _write_wav(speech: Waveform, outfile: Path) -> None:
    with wave.open(str(outfile), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((np.clip(speech, -1, 1) * 32767).astype("<i2").tobytes())


def _square(image: Image) -> Image:
    """The upper middle square of a picture, small."""
    side = min(image.shape[:2])
    left = (image.shape[1] - side) // 2
    square = PillowImage.fromarray(image[:side, left : left + side])
    return np.asarray(square.resize((HEIGHT_PX, HEIGHT_PX), PillowImage.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("outfile", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--audio", type=Path, default=Path(str(files("speech2vid") / "assets/demo_speech.wav")))
    parser.add_argument("--moments", type=int, default=8)
    parser.add_argument("--zoom", action="store_true")
    parser.add_argument("--redub", action="store_true")
    parser.add_argument("--motion", default="still", help="of the head, as in talk")
    given = parser.parse_args()
    if given.redub:
        rows = [redub_rows(photo, given.audio, given.moments) for photo in given.photos]
    else:
        rows = [row(photo, given.audio, given.moments, given.zoom, given.motion) for photo in given.photos]
    PillowImage.fromarray(np.vstack(rows)).save(given.outfile, optimize=True)


if __name__ == "__main__":
    main()
