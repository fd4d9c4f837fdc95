"""The blending network on ONNX Runtime: painted mouths are made to fit the faces they are laid into (Sect. 6.2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import BLEND_HEIGHT, BLEND_WIDTH, CONTEXT_FACE_PX, LANDMARKS, MOUTH_COUNT
from speech2vid.errors import WeightsError
from speech2vid.files import package_weights
from speech2vid.inference.occlusion import (
    PART,
    Hidden,
    filled,
    hide,
    known_area,
    median_colours,
    mouth_areas,
    occlude,
)
from speech2vid.inference.talkers.warp import BATCH, PROVIDERS, provider
from speech2vid.runtime.onnx import Arrays, OnnxNetwork
from speech2vid.types import Floats, Frames, Points

REDUBBER = "warp_redubber"  # stem of the weight file
ARCHITECTURE = "warp_redubber"


class NetworkBlender:
    """The blending network, loaded.

    Args:
        folder: holds the weight file and its graph; None for those of the package.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: for one call; 0 for one a core.

    Raises:
        WeightsError: a file is missing, damaged, or of a network that paints by itself.
        ConfigError: no such device here.
    """

    def __init__(self, folder: Path | None = None, device: str = "auto", threads: int = 0) -> None:
        folder = folder or package_weights()
        providers = list(dict.fromkeys((provider(device), PROVIDERS["cpu"])))
        weights = folder / f"{REDUBBER}.safetensors"
        self._network = OnnxNetwork(folder / f"{REDUBBER}.frames.onnx", weights, threads, providers)
        if self._network.header.architecture != ARCHITECTURE:
            raise WeightsError(
                f"{weights} holds a {self._network.header.architecture}, which blends no painted faces",
                'train one with generation = "warp"',
            )
        self._known = known_area()
        y, x = np.mgrid[:BLEND_HEIGHT, :BLEND_WIDTH].astype(np.float32)
        self._grid = np.stack([x, y], axis=-1)

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """Make painted mouths part of their faces.

        Args:
            source: (N, 224, 224, 3) uint8 RGB, the faces as they are (``registration.context_from_face``).
            painted: (N, 224, 224, 3) uint8 RGB, the same with the new mouth laid in as :mod:`inference.compose` does.
            landmarks: (N, 68, 2) float32 px of the 112 px face, of the faces as they are; smooth over time.
            targets: (N, 20, 2) float32 px of the 112 px face, the mouths that are wanted.

        Returns:
            (N, 224, 224, 3) uint8 RGB; outside the hidden area (``inference.occlusion``) the pixels of ``source``.
        """
        count, face = len(source), (CONTEXT_FACE_PX, CONTEXT_FACE_PX, 3)
        given: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "source": (source, face),
            "painted": (painted, face),
            "landmarks": (landmarks, (LANDMARKS, 2)),
            "targets": (targets, (MOUTH_COUNT, 2)),
        }
        for name, (array, shape) in given.items():
            if array.shape != (count, *shape):
                raise ValueError(f"{name} must have shape {(count, *shape)}, not {array.shape}")
        result = source.copy()
        for first in range(0, count, BATCH):
            part = slice(first, first + BATCH)
            self._blend(result[part], painted[part], landmarks[part], targets[part])
        return result

    def _blend(self, faces: Frames, painted: Frames, landmarks: Points, targets: Points) -> None:
        """The same for a batch, in place."""
        hidden = hide(landmarks, targets)
        colours = median_colours(faces, landmarks, hidden)
        inputs, bases = network_inputs(faces[PART], painted[PART], colours, targets, hidden, self._known)
        fields = self._network(inputs)
        for index, part in enumerate(faces[PART]):
            generated = self._compose({name: values[index] for name, values in fields.items()}, bases[index])
            region = hidden.region[index, ..., None]
            part[:] = np.rint(part + region * (np.clip(generated, 0, 255) - part)).astype(np.uint8)

    def _compose(self, fields: Arrays, base: Floats) -> Floats:
        """What the fields of one face make of its base (128, 160, 3) float32 0–255: the same, not clipped."""
        where = self._grid + _enlarge(fields["flow"])
        moved = cv2.remap(base, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        generated = moved + 255 * _enlarge(fields["tint"])
        fresh = 255 * fields["fresh"].transpose(1, 2, 0)
        return np.asarray(generated + fields["share"][0, ..., None] * (fresh - generated), np.float32)


def network_inputs(
    faces: NDArray[Any], painted: NDArray[Any], colours: Floats, targets: Points, hidden: Hidden, known: Floats
) -> tuple[Arrays, Floats]:
    """What the graph takes, and what its flow samples: (N, 128, 160, 3) float32 0–255.

    Where a painted face is not to be used (``known``), because the source's own chin shines through, the flow finds
    the colours from around instead.

    Args:
        faces, painted: (N, 128, 160, 3) 0–255, parts of faces.
        colours: (N, 3) 0–255, to hide under.
        targets: (N, 20, 2) px of the 112 px face.
    """
    faces, painted = np.asarray(faces, np.float32), np.asarray(painted, np.float32)
    context = np.stack([occlude(*each) for each in zip(faces, hidden.area, colours, strict=True)])
    bases = zip(faces, painted, hidden.area, strict=True)
    base = np.stack(
        [
            filled(face + area[..., None] * (generated - face), np.maximum(known, 1 - area))
            for face, generated, area in bases
        ]
    )
    inputs: Arrays = {
        "context": context.transpose(0, 3, 1, 2) / 255,
        "painted": base.transpose(0, 3, 1, 2) / 255,
        "known": np.broadcast_to(known, (len(faces), 1, *known.shape)),
        "region": hidden.region[:, None],
        "mouth": mouth_areas(targets),
    }
    return inputs, base


def _enlarge(field: Floats) -> Floats:
    """(C, h, w) → (128, 160, C), bilinear, as the network's own."""
    grid = np.ascontiguousarray(field.transpose(1, 2, 0))
    return np.asarray(cv2.resize(grid, (BLEND_WIDTH, BLEND_HEIGHT), interpolation=cv2.INTER_LINEAR), np.float32)
