"""What a face-recognition network in PyTorch sees: content distance, layer by layer (Sect. 3.2), and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from speech2vid.constants import SAMPLE_EVERY_FRAMES, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.faces.embedding import Embeddings
from speech2vid.types import Frames, Image

if TYPE_CHECKING:
    from torch import Tensor

    from speech2vid.models.face_recognition import FaceRecognition

_TARGET = slice(TARGET_OFFSET_PX, TARGET_OFFSET_PX + TARGET_PX)


class PerceptualMetric:
    """dlib's face-recognition network on the CPU.

    Args:
        network: dlib's file is read by default.
    """

    def __init__(self, network: FaceRecognition | None = None) -> None:
        from speech2vid.models.face_recognition import FaceRecognition

        self._target: tuple[Frames, Tensor, list[Tensor]] | None = None  # the last one looked at
        self._network = network or FaceRecognition.from_dlib(model_path(RECOGNITION_FILE))

    @classmethod
    def where_possible(cls) -> PerceptualMetric | None:
        """None where PyTorch is not installed."""
        return None if find_spec("torch") is None else cls()

    def content_distance(self, generated: Frames, target: Frames) -> float:
        """The paper's content loss without its image term, of (T, 112, 112, 3) uint8 RGB twice.

        Mean absolute difference at each of conv1 … conv5, summed; on the 109 px target, every fifth frame, the paper's
        samples.
        """
        import torch

        from speech2vid.losses import content_loss, total

        if generated is target:
            return 0.0
        if self._target is None or self._target[0] is not target:  # many rows are held against one clip
            self._target = (target, *self._look(target))
        with torch.no_grad():
            _, wanted, wanted_taps = self._target
            seen, taps = self._look(generated)
            terms = content_loss(seen, wanted, taps, wanted_taps)
        del terms["image"]
        return float(total(terms))

    def _look(self, frames: Frames) -> tuple[Tensor, list[Tensor]]:
        """The faces looked at, and what is seen in them; an image repeated (by ``np.broadcast_to``) is seen once."""
        import torch

        from speech2vid.models.face_recognition import at_its_size

        faces = _faces(frames)
        with torch.no_grad():
            seen = self._network.taps(at_its_size(faces[:1] if frames.strides[0] == 0 else faces))
        return faces, [tap.expand(len(faces), -1, -1, -1) for tap in seen]

    def embed(self, chips: Sequence[Image]) -> Embeddings:
        """As :func:`speech2vid.faces.embed`, to 1e-5, ten times as fast."""
        import torch

        planes = np.stack(list(chips)).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        with torch.no_grad():
            return np.asarray(self._network(torch.from_numpy(planes)).embedding.numpy(), np.float32)


def _faces(frames: Frames) -> Tensor:
    import torch

    chosen = np.ascontiguousarray(frames[::SAMPLE_EVERY_FRAMES, _TARGET, _TARGET].transpose(0, 3, 1, 2))
    return torch.from_numpy(chosen).float() / 255
