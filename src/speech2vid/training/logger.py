"""Records of a training: losses of every step as text, scalars and images for TensorBoard, a log in words."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
from PIL import Image as PillowImage
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from speech2vid.constants import FRAME_RATE_HZ, exact_div
from speech2vid.errors import OutputError
from speech2vid.files import atomic_write
from speech2vid.training.task import Validation
from speech2vid.types import Frames

LOSSES, LOG, IMAGES = "losses.tsv", "log.txt", "images"
FRAME_MS = exact_div(1000, FRAME_RATE_HZ)


class TrainingLogger:
    """Records of one task, in its folder.

    Args:
        folder: of the task; created if missing.
        terms: names of the loss terms.
        step: updates done; rows of later ones are dropped.
    """

    def __init__(self, folder: Path, terms: Sequence[str], step: int) -> None:
        self._folder, self._terms = folder, terms
        with _writing(folder):
            (folder / IMAGES).mkdir(parents=True, exist_ok=True)
            kept = _rows_until(folder / LOSSES, step) if step else []
            (folder / LOSSES).write_text("".join(["\t".join(["step", "loss", *terms]) + "\n", *kept]), encoding="utf-8")
            self._losses = (folder / LOSSES).open("a", encoding="utf-8")
            self._log = (folder / LOG).open("a" if step else "w", encoding="utf-8")
        self._board = SummaryWriter(str(folder), purge_step=step, flush_secs=30)

    def losses(self, step: int, loss: float, terms: Mapping[str, float]) -> None:
        """Write one row; nine digits are all that a float32 holds."""
        row = [str(step), f"{loss:.9g}", *(f"{terms[name]:.9g}" for name in self._terms)]
        with _writing(self._folder):
            self._losses.write("\t".join(row) + "\n")

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def validation(self, step: int, measured: Validation) -> None:
        """Write the metrics, those of each speaker too, the contact sheet and the short video."""
        self.scalars(step, "val", measured.metrics)
        self.say(f"step {step}: val " + _listed(measured.metrics))
        for speaker, metrics in measured.by_speaker.items():
            self.say(f"    {speaker}: " + _listed(metrics))
        if measured.sheet is not None:
            self._board.add_image("val", measured.sheet, step, dataformats="HWC")
            _, png = cv2.imencode(".png", measured.sheet[..., ::-1])
            with _writing(self._folder):
                atomic_write(self._folder / IMAGES / f"step-{step:07d}.png", png.tobytes())
        if measured.video is not None:
            gif = _animated(measured.video)
            shown = Summary.Image(
                encoded_image_string=gif, height=measured.video.shape[1], width=measured.video.shape[2]
            )
            summary = Summary(value=[Summary.Value(tag="val_video", image=shown)])
            # SummaryWriter.add_video does the same, but needs one more package.
            self._board._get_file_writer().add_summary(summary, step)  # type: ignore[no-untyped-call]
            with _writing(self._folder):
                atomic_write(self._folder / IMAGES / f"step-{step:07d}.gif", gif)

    def say(self, line: str) -> None:
        """Write a line with the time to the log, on disk at once."""
        with _writing(self._folder):
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._log.flush()
            self._losses.flush()

    def close(self) -> None:
        for each in (self._losses, self._log):
            with contextlib.suppress(OSError):
                each.close()
        self._board.close()


def _animated(video: Frames) -> bytes:
    """Return (T, H, W, 3) uint8 RGB at 25 Hz as an animated GIF that repeats for ever."""
    first, *rest = [PillowImage.fromarray(frame) for frame in video]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=FRAME_MS, loop=0)
    return file.getvalue()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}",
            "free some disk space or choose another --out; --resume continues",
        ) from error


def _rows_until(path: Path, step: int) -> list[str]:
    if not path.is_file():
        return []
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    return [row for row in rows if row.endswith("\n") and int(row.split("\t", 1)[0]) <= step]


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
