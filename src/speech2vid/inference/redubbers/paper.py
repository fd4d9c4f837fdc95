"""The paper's re-dubbing network (Sect. 6.2): MFCC windows, stills and the frame with its mouth hidden → a whole face.

The network's face takes the place of the filmed one at 224 px and goes back into the frame by the inverse similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import MOUTH_POINTS
from speech2vid.errors import WeightsError
from speech2vid.faces import Still
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert
from speech2vid.inference.audio_stream import WindowStream, windows_at
from speech2vid.inference.mouth_geometry import FacePlan
from speech2vid.inference.occlusion import PART, hide, median_colours, occlude
from speech2vid.inference.options import Silence
from speech2vid.inference.redubbers.base import Difference, FilmedFace, Person, Redubber, inside, replace_face
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import spread
from speech2vid.inference.talkers.paper import identity_input
from speech2vid.runtime.engine import LoadGraph
from speech2vid.runtime.onnx import Arrays
from speech2vid.types import Floats, Image

PAPER_REDUBBER = "paper_redubber"  # architecture


class ContextRedubber(Redubber):
    """The paper's re-dubbing network, loaded.

    Args:
        weights: its weight file.
        load: runs its graphs.
        stills: of another person, ascending by lip opening; empty for the speaker's own.
        sharpener: sharpens the generated faces.

    Raises:
        WeightsError: a file is missing, damaged, or of another network.
    """

    def __init__(
        self, weights: Path, load: LoadGraph, stills: Sequence[Still] = (), sharpener: Sharpener | None = None
    ) -> None:
        self._identity, self._frames = load(weights, "identity"), load(weights, "frames")
        header = self._identity.header
        if header.architecture != PAPER_REDUBBER:
            raise WeightsError(f"{weights} holds a {header.architecture}, not a {PAPER_REDUBBER}", "give its weights")
        self._images = int(header.config["identity_images"])
        self._sharpener = sharpener
        self.hashes = {PAPER_REDUBBER: header.sha256, **(sharpener.hashes if sharpener else {})}
        self._other = self._features(stills) if stills else None

    def audio_stream(self, silence: Silence) -> WindowStream:
        """See :class:`Redubber`: the network hears silence by itself."""
        return WindowStream()

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """See :class:`Redubber`: the windows around these times, to the nearest 10 ms."""
        return windows_at(drive, times_s)

    def prepare(self, person: Person, plan: FacePlan) -> Arrays:
        """See :class:`Redubber`: what the network knows of a person."""
        return self._other or self._features(person.chosen)

    def change(self, face: FilmedFace, prepared: Arrays, plan: FacePlan, at: int, drive: Floats) -> Difference:
        """See :class:`Redubber`."""
        context = hidden_face(face.context, face.landmarks)
        inputs = {"windows": drive[None], "context": context.transpose(2, 0, 1)[None] / np.float32(255)}
        generated = self._frames({**prepared, **inputs})["frames"][0].transpose(1, 2, 0) * 255
        if self._sharpener is not None:
            image = np.rint(generated).clip(0, 255).astype(np.uint8)
            generated = self._sharpener.image(image, invert(context_from_face()))
        return replace_face(face, generated, inside())

    def _features(self, stills: Sequence[Still]) -> Arrays:
        rising = sorted(stills, key=lambda still: still.opening)
        slots = [rising[i] for i in spread(len(rising))]
        return self._identity({"stills": identity_input(slots, self._images)})


def hidden_face(face: Image, landmarks: Floats) -> Floats:
    """Return a 224 px face as in training: its mouth hidden under the median colour of the face.

    Args:
        face: (224, 224, 3) uint8 RGB.
        landmarks: (68, 2) of it, px of the 112 px face.

    Returns:
        (224, 224, 3) float32, whole numbers 0–255.
    """
    points = landmarks[None]
    hidden = hide(points, points[:, MOUTH_POINTS])
    (colour,) = median_colours(face[None], points, hidden)
    context = face.astype(np.float32)
    context[PART] = np.rint(occlude(face[PART], hidden.area[0], colour))
    return context
