"""Who speaks: up to five stills, the image to animate, and all that is computed from them once a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    FACE_PX,
    IDENTITY_STILLS,
    LANDMARKS,
    MOUTH_COUNT,
    MOUTH_POINTS,
    TARGET_OFFSET_PX,
    TARGET_PX,
)
from speech2vid.errors import ConfigError
from speech2vid.faces import Still, still_of_photo, stills_of_video
from speech2vid.faces.align import warp
from speech2vid.geometry import compose, invert
from speech2vid.inference.talkers.warp import TalkerNetworks
from speech2vid.media import MediaFile, is_photo
from speech2vid.runtime.onnx import Arrays
from speech2vid.types import Affine, Floats, Image

MAX_SIZE_PX = 1920
LOWER_FACE = np.s_[40:108, 16:96]  # where the colours of stills are compared
GAIN_LIMITS = (0.7, 1.4)


@dataclass(frozen=True)
class Identity:
    """A person, ready to speak.

    Attributes:
        canvas: (H, W, 3) uint8 RGB, the image to animate.
        canvas_transform: (2, 3) canvas px → aligned px.
        stills: five, ascending by lip opening; with fewer images some stand there several times (the same object).
        mouths: (5, 20, 2) float32, where the stills' mouths are, aligned px.
        neutral_mouth: (20, 2) float32, this person's closed mouth, aligned px.
        features: of the identity graph.
    """

    canvas: Image
    canvas_transform: Affine
    stills: tuple[Still, ...]
    mouths: Floats
    neutral_mouth: Floats
    features: Arrays


def make_identity(
    faces: Sequence[Path | MediaFile],
    networks: TalkerNetworks,
    *,
    crop: bool = False,
    face_index: int | None = None,
    max_size_px: int = MAX_SIZE_PX,
) -> Identity:
    """Photos or a video → :class:`Identity`.

    Args:
        faces: one to five photos of one person, or one video. The first photo is the one to animate.
        networks: the talker's.
        crop: animate the aligned face alone, at the image's own density, instead of the whole image.
        face_index: which face, counted from the left from 0; the largest by default.
        max_size_px: longest side of the canvas; larger images are made smaller.

    Raises:
        Speech2VidError: MediaError, FaceError or ConfigError.
    """
    canvas, stills = _stills(faces, face_index, None if crop else max_size_px)
    return identity_of(canvas, stills, networks, crop=crop, max_size_px=max_size_px)


def identity_of(
    canvas: Still,
    stills: Sequence[Still],
    networks: TalkerNetworks,
    *,
    crop: bool = False,
    max_size_px: int = MAX_SIZE_PX,
) -> Identity:
    """Stills → :class:`Identity`.

    Args:
        canvas: the image to animate.
        stills: one to five, ascending by lip opening; ``canvas`` may be one of them.
        networks, crop, max_size_px: as :func:`make_identity`.
    """
    stills = [still if still is canvas else in_colours_of(still, canvas) for still in stills]
    slots = tuple(stills[i] for i in spread(len(stills)))
    landmarks = np.stack([still.aligned.landmarks for still in slots])
    mouths = np.ascontiguousarray(landmarks[:, MOUTH_POINTS])
    features = networks.identity(np.stack([still.aligned.image for still in slots]), mouths)
    neutral_mouth = estimate_neutral_mouth(
        np.stack([still.aligned.landmarks for still in stills]), networks.neutral_weight, networks.speech
    )
    if crop:
        image, transform = _aligned_canvas(canvas, max_size_px)
    else:
        image, transform = canvas.image, canvas.transform
    return Identity(image, transform, slots, mouths, neutral_mouth, features)


def spread(count: int) -> list[int]:
    """Which of ``count`` stills fills each of the five slots, in order: [0, 0, 0, 1, 1] for two."""
    return [slot * count // IDENTITY_STILLS for slot in range(IDENTITY_STILLS)]


def estimate_neutral_mouth(landmarks: Floats, weight: Floats, speech: Floats) -> Floats:
    """A person's closed mouth, from stills in any mouth state.

    Args:
        landmarks: (K, 68, 2), aligned px, of the different stills.
        weight: (40, 137), what a regression reads off one still; averaged over the stills.
        speech: (20, 2), mean mouth in speech relative to rest. Five stills span a person's speech: their mean mouth
            without this is a second estimate, as good as the first and independent of it. The two are averaged.

    Returns:
        (20, 2) float32, aligned px.
    """
    count = len(landmarks)
    known = np.hstack([landmarks.reshape(count, 2 * LANDMARKS) / FACE_PX, np.ones((count, 1))])
    neutral_mouth = (known @ weight.T).mean(axis=0).reshape(MOUTH_COUNT, 2)
    if count == IDENTITY_STILLS:
        neutral_mouth = (neutral_mouth + landmarks[:, MOUTH_POINTS].mean(axis=0) - speech) / 2
    return np.asarray(neutral_mouth, np.float32)


def _stills(
    faces: Sequence[Path | MediaFile], face_index: int | None, max_size_px: int | None
) -> tuple[Still, list[Still]]:
    """The still to animate, and all stills ascending by lip opening."""
    if not 1 <= len(faces) <= IDENTITY_STILLS:
        raise ConfigError(f"{len(faces)} faces were given", f"give one video, or 1 to {IDENTITY_STILLS} photos")
    if len(faces) == 1 and (isinstance(faces[0], MediaFile) or not is_photo(faces[0])):
        return stills_of_video(faces[0], face_index=face_index, max_size_px=max_size_px)
    paths = [each.path if isinstance(each, MediaFile) else each for each in faces]
    stills = [still_of_photo(path, face_index=face_index, max_size_px=max_size_px) for path in paths]
    return stills[0], sorted(stills, key=lambda still: still.opening)


def in_colours_of(still: Still, canvas: Still) -> Still:
    """The still with mean and contrast of its lower face as in the canvas, channel by channel, against flicker."""
    ours, theirs = (each.aligned.image[LOWER_FACE].reshape(-1, 3).astype(np.float64) for each in (still, canvas))
    gain = np.clip(theirs.std(axis=0) / np.maximum(1.0, ours.std(axis=0)), *GAIN_LIMITS)
    levels = np.arange(256.0)[:, None]
    table = np.rint((levels - ours.mean(axis=0)) * gain + theirs.mean(axis=0)).clip(0, 255).astype(np.uint8)

    def apply(image: Image) -> NDArray[np.uint8]:
        return np.asarray(cv2.LUT(image, table[None]), np.uint8)

    return replace(still, image=apply(still.image), aligned=replace(still.aligned, image=apply(still.aligned.image)))


def _aligned_canvas(still: Still, max_size_px: int) -> tuple[Image, Affine]:
    """The paper's target, rows and columns 1..109 of the aligned face, as dense as its source, and its transform."""
    density = 1 / float(np.hypot(*still.transform[:, 0]))  # source px per aligned px
    size = int(np.clip(TARGET_PX * density, TARGET_PX, max_size_px)) // 2 * 2
    scale = TARGET_PX / size
    shift = TARGET_OFFSET_PX + (scale - 1) / 2
    to_face = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    return warp(still.image, compose(invert(to_face), still.transform), size), to_face
