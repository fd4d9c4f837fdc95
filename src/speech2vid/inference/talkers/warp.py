"""The warp talker: audio → mouth motion → fields that move the stills' own pixels to the mouth wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    FACE_PX,
    IDENTITY_STILLS,
    LANDMARKS,
    MOUTH_COUNT,
    MOUTH_POINTS,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
)
from speech2vid.errors import WeightsError
from speech2vid.faces import Still
from speech2vid.inference.inner_mouth import MouthInside
from speech2vid.inference.mouth_geometry import at_times
from speech2vid.inference.mouth_motion import (
    CHUNK_FRAMES,
    MouthMotionStream,
    check_speech_encoder,
    needs_speech_encoder,
)
from speech2vid.inference.options import Silence
from speech2vid.inference.talkers.base import Canvas, Identity, Talker, WarpFields, spread
from speech2vid.runtime.engine import LoadGraph
from speech2vid.runtime.onnx import Arrays
from speech2vid.runtime.weights import WeightSet, read_weights
from speech2vid.types import Floats, Image

WARP_TALKER, AUDIO_TO_MOUTH, SPEECH_ENCODER = "warp_talker", "audio_to_mouth", "speech_encoder"  # architectures
LOWER_FACE = np.s_[40:108, 16:96]  # where the colours of stills are compared
GAIN_LIMITS = (0.7, 1.4)


@dataclass(frozen=True)
class WarpIdentity(Identity):
    """A person as the warp talker knows them.

    Attributes:
        mouths: (5, 20, 2) float32, where the stills' mouths are, aligned px.
        neutral_mouth: (20, 2) float32, this person's closed mouth, aligned px.
        features: of the identity graph.
    """

    mouths: Floats
    neutral_mouth: Floats
    features: Arrays


class WarpNetworks(Talker):
    """The warp talker's networks, loaded; see :class:`Talker`.

    Args:
        talker: weight file of the warp talker.
        audio_to_mouth: weight file of the network that hears.
        load: runs their graphs.
        speech_encoder: weight file of the speech encoder; not read if ``audio_to_mouth`` does without it.

    Raises:
        WeightsError: a file is missing or damaged, or the speech encoder is not the one that ``audio_to_mouth`` needs.
    """

    name: ClassVar[str] = "warp"

    def __init__(self, talker: Path, audio_to_mouth: Path, load: LoadGraph, speech_encoder: Path | None = None) -> None:
        self._identity, self._frames = load(talker, "identity"), load(talker, "frames")
        self.audio_to_mouth = load(audio_to_mouth, "mouth_motion")
        header, tensors = read_weights(talker)
        self.hashes = {WARP_TALKER: header.sha256, AUDIO_TO_MOUTH: self.audio_to_mouth.header.sha256}
        self.speech_encoder = None
        if needs_speech_encoder(self.audio_to_mouth):
            if speech_encoder is not None:
                self.speech_encoder = load(speech_encoder, "features")
                self.hashes[SPEECH_ENCODER] = self.speech_encoder.header.sha256
            check_speech_encoder(self.audio_to_mouth, self.speech_encoder)
        try:
            self.neutral_weight: Floats = tensors["rest.weight"].astype(np.float32)
            self.speech: Floats = tensors["speech"].astype(np.float32)
        except KeyError as error:
            raise WeightsError(f"{talker} has no tensor {error}", "export it again") from error

    @classmethod
    def load(cls, weights: WeightSet, load: LoadGraph) -> Self:
        """See :class:`Talker`."""
        return cls(weights.path(WARP_TALKER), weights.path(AUDIO_TO_MOUTH), load, weights.find(SPEECH_ENCODER))

    def prepare(self, canvas: Canvas, stills: Sequence[Still]) -> WarpIdentity:
        """See :class:`Talker`. All stills get the colours of the one on the canvas."""
        stills = [still if still is canvas.still else in_colours_of(still, canvas.still) for still in stills]
        slots = tuple(stills[i] for i in spread(len(stills)))
        mouths = mouths_of(slots)
        neutral_mouth = estimate_neutral_mouth(
            np.stack([still.aligned.landmarks for still in stills]), self.neutral_weight, self.speech
        )
        features = self.features(slots, mouths)
        inside = MouthInside.of(canvas.still, neutral_mouth, own_teeth=True)
        return WarpIdentity(
            canvas.image, canvas.transform, slots, mouths, neutral_mouth, features, crop=canvas.crop, inside=inside
        )

    def audio_stream(self, silence: Silence = "hold", block_frames: int | None = None) -> MouthMotionStream:
        """See :class:`Talker`: movements of the mouth, (m, 20, 2) px relative to the closed mouth."""
        return MouthMotionStream(self.audio_to_mouth, silence, block_frames or CHUNK_FRAMES, self.speech_encoder)

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """See :class:`Talker`: linear between the middles of the frames; at rest before the first, after the last."""
        return at_times(drive, times_s)

    def generate(self, identity: Identity, drive: Floats) -> WarpFields:
        """See :class:`Talker`."""
        assert isinstance(identity, WarpIdentity)
        return self.fields(identity.features, identity.mouths, np.ascontiguousarray(identity.neutral_mouth + drive))

    def drive_of_mouths(self, identity: Identity, mouths: Floats) -> Floats:
        """See :class:`Talker`."""
        assert isinstance(identity, WarpIdentity)
        return np.asarray(mouths - identity.neutral_mouth, np.float32)

    def features(self, slots: Sequence[Still], mouths: Floats) -> Arrays:
        """Return the features of five stills and their mouths (5, 20, 2) px: maps by name."""
        assert len(slots) == IDENTITY_STILLS
        faces = np.stack([still.aligned.image for still in slots])
        rows, columns = slice(REGION_TOP, REGION_TOP + REGION_HEIGHT), slice(REGION_LEFT, REGION_LEFT + REGION_WIDTH)
        stills = faces[:, rows, columns].transpose(0, 3, 1, 2).astype(np.float32) / 255
        return self._identity({"stills": stills[None], "mouths": mouths[None]})

    def fields(self, features: Arrays, mouths: Floats, targets: Floats) -> WarpFields:
        """Return the fields that move the stills' mouths to the mouths wanted, (N, 20, 2) px."""
        out = self._frames({**features, "mouths": mouths[None], "targets": targets})
        return WarpFields(out["flow"], out["masks"], out["residual"], targets)


def mouths_of(slots: Sequence[Still]) -> Floats:
    """Return where the stills' mouths are, (K, 20, 2) aligned px."""
    return np.ascontiguousarray(np.stack([still.aligned.landmarks for still in slots])[:, MOUTH_POINTS])


def estimate_neutral_mouth(landmarks: Floats, weight: Floats, speech: Floats) -> Floats:
    """Return a person's closed mouth, from stills in any mouth state.

    Args:
        landmarks: (K, 68, 2), aligned px, of the different stills.
        weight: (40, 137), what a regression reads off one still; averaged over the stills.
        speech: (20, 2), mean mouth in speech relative to the closed one. Five stills span a person's speech: their mean
            mouth without this is a second estimate, as good as the first and independent of it. The two are averaged.

    Returns:
        (20, 2) float32, aligned px.
    """
    count = len(landmarks)
    known = np.hstack([landmarks.reshape(count, 2 * LANDMARKS) / FACE_PX, np.ones((count, 1))])
    neutral_mouth = (known @ weight.T).mean(axis=0).reshape(MOUTH_COUNT, 2)
    if count == IDENTITY_STILLS:
        neutral_mouth = (neutral_mouth + landmarks[:, MOUTH_POINTS].mean(axis=0) - speech) / 2
    return np.asarray(neutral_mouth, np.float32)


def in_colours_of(still: Still, canvas: Still) -> Still:
    """Return the still with mean and contrast of its lower face as in the canvas, by channel, against flicker."""
    ours, theirs = (each.aligned.image[LOWER_FACE].reshape(-1, 3).astype(np.float64) for each in (still, canvas))
    gain = np.clip(theirs.std(axis=0) / np.maximum(1.0, ours.std(axis=0)), *GAIN_LIMITS)
    levels = np.arange(256.0)[:, None]
    table = np.rint((levels - ours.mean(axis=0)) * gain + theirs.mean(axis=0)).clip(0, 255).astype(np.uint8)

    def apply(image: Image) -> NDArray[np.uint8]:
        return np.asarray(cv2.LUT(image, table[None]), np.uint8)

    return replace(still, image=apply(still.image), aligned=replace(still.aligned, image=apply(still.aligned.image)))
