"""The paper's talker (Sect. 3.1): windows of MFCC and stills → the whole aligned face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, IDENTITY_STILLS, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.faces import Still
from speech2vid.inference.audio_stream import windows_at
from speech2vid.inference.talkers.base import AlignedFaces, Canvas, Identity, Talker, spread
from speech2vid.runtime.engine import LoadGraph
from speech2vid.runtime.onnx import Arrays
from speech2vid.runtime.weights import WeightSet
from speech2vid.types import Floats, Frames

PAPER_TALKER = "paper_talker"  # architecture
BORDER_PX = (TARGET_OFFSET_PX, FACE_PX - TARGET_PX - TARGET_OFFSET_PX)  # around the 109 px target


@dataclass(frozen=True)
class PaperIdentity(Identity):
    """A person as the paper's talker knows them.

    Attributes:
        features: of the identity graph: the code and the prepared maps of the decoder's skips.
    """

    features: Arrays


class PaperNetworks(Talker):
    """The paper's talker, loaded; see :class:`Talker`. It hears silence by itself and has no gate for it.

    Args:
        weights: weight file.
        load: runs its graphs.

    Raises:
        WeightsError: a file is missing or damaged.
    """

    name: ClassVar[str] = "paper"

    def __init__(self, weights: Path, load: LoadGraph) -> None:
        self._identity, self._frames = load(weights, "identity"), load(weights, "frames")
        header = self._identity.header
        self.identity_images = int(header.config["identity_images"])
        self.hashes = {PAPER_TALKER: header.sha256}

    @classmethod
    def load(cls, weights: WeightSet, load: LoadGraph) -> Self:
        """See :class:`Talker`."""
        return cls(weights.path(PAPER_TALKER), load)

    def prepare(self, canvas: Canvas, stills: Sequence[Still]) -> PaperIdentity:
        """See :class:`Talker`."""
        slots = tuple(stills[i] for i in spread(len(stills)))
        features = self._identity({"stills": identity_input(slots, self.identity_images)})
        return PaperIdentity(canvas.image, canvas.transform, slots, features, crop=canvas.crop)

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """See :class:`Talker`: the windows around these times, to the nearest 10 ms."""
        return windows_at(drive, times_s)

    def generate(self, identity: Identity, drive: Floats) -> AlignedFaces:
        """See :class:`Talker`."""
        assert isinstance(identity, PaperIdentity)
        faces = self._frames({**identity.features, "windows": np.ascontiguousarray(drive)})["frames"]
        return AlignedFaces(framed(np.asarray(faces, np.float32)))


def identity_input(slots: Sequence[Still], images: int) -> Floats:
    """Return the identity encoder's input, (1, 3 · images, 112, 112) in [0, 1].

    Args:
        slots: five stills, ascending by lip opening.
        images: how many the network takes, 1 or 5; one is the middle one, as in training.
    """
    chosen = list(slots) if images == IDENTITY_STILLS else [slots[IDENTITY_STILLS // 2]]
    planes = np.concatenate([still.aligned.image.transpose(2, 0, 1) for still in chosen])
    return planes[None].astype(np.float32) / np.float32(255)


def framed(faces: NDArray[np.floating]) -> Frames:
    """Return the network's faces as frames of the aligned face, the missing border repeated from the edge.

    Args:
        faces: (T, 3, 109, 109) RGB in [0, 1].

    Returns:
        (T, 112, 112, 3) uint8.
    """
    if faces.shape[1:] != (3, TARGET_PX, TARGET_PX):
        raise ValueError(f"faces must be (T, 3, {TARGET_PX}, {TARGET_PX}), not {faces.shape}")
    images = np.rint(faces.transpose(0, 2, 3, 1) * 255).clip(0, 255).astype(np.uint8)
    return np.pad(images, ((0, 0), BORDER_PX, BORDER_PX, (0, 0)), mode="edge")
