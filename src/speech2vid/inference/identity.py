"""Who speaks: up to five stills, the image to animate, and all that is computed from them once a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from speech2vid.constants import IDENTITY_STILLS, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.errors import ConfigError
from speech2vid.faces import PAPER, FaceModels, Still, still_of_photo, stills_of_video
from speech2vid.faces.align import warp
from speech2vid.geometry import compose, invert, transform_points
from speech2vid.inference.talkers.base import Canvas, Identity, Scene, Talker
from speech2vid.media import MediaFile, is_photo
from speech2vid.types import Affine, Image

MAX_SIZE_PX = 1920
SCENE_MARGIN = 0.5  # of the side of an aligned face


def make_identity(
    faces: Sequence[Path | MediaFile],
    talker: Talker,
    *,
    crop: bool = False,
    face_index: int | None = None,
    max_size_px: int = MAX_SIZE_PX,
    models: FaceModels = PAPER,
) -> Identity:
    """Photos or a video → :class:`Identity`.

    Args:
        faces: one to five photos of one person, or one video. The first photo is the one to animate.
        talker: of :func:`speech2vid.load_talker`.
        crop: animate the aligned face alone, at the image's own density, instead of the whole image.
        face_index: which face, counted from the left from 0; the largest by default.
        max_size_px: longest side of the canvas; larger images are made smaller.
        models: of :func:`speech2vid.faces.face_models`: the detector and the landmarker.

    Raises:
        Speech2VidError: MediaError, FaceError or ConfigError.
    """
    canvas, stills = _stills(faces, face_index, None if crop else max_size_px, models)
    return identity_of(canvas, stills, talker, crop=crop, max_size_px=max_size_px)


def identity_of(
    canvas: Still, stills: Sequence[Still], talker: Talker, *, crop: bool = False, max_size_px: int = MAX_SIZE_PX
) -> Identity:
    """Return the identity of a person in these stills.

    Args:
        canvas: the still to animate.
        stills: one to five, ascending by lip opening; ``canvas`` may be one of them.
        talker, crop, max_size_px: as :func:`make_identity`.
    """
    image, transform = _aligned_canvas(canvas, max_size_px) if crop else (canvas.image, canvas.transform)
    identity = talker.prepare(Canvas(image, transform, canvas, crop), stills)
    return replace(identity, scene=_scene(canvas, identity))


def _stills(
    faces: Sequence[Path | MediaFile], face_index: int | None, max_size_px: int | None, models: FaceModels
) -> tuple[Still, list[Still]]:
    """The still to animate, and all stills ascending by lip opening."""
    if not 1 <= len(faces) <= IDENTITY_STILLS:
        raise ConfigError(f"{len(faces)} faces were given", f"give one video, or 1 to {IDENTITY_STILLS} photos")
    if len(faces) == 1 and (isinstance(faces[0], MediaFile) or not is_photo(faces[0])):
        return stills_of_video(faces[0], face_index=face_index, max_size_px=max_size_px, models=models)
    paths = [each.path if isinstance(each, MediaFile) else each for each in faces]
    stills = [still_of_photo(path, face_index=face_index, max_size_px=max_size_px, models=models) for path in paths]
    return stills[0], sorted(stills, key=lambda still: still.opening)


def _scene(canvas: Still, identity: Identity) -> Scene:
    """Return the photo around the canvas, of the same density, no farther than heads move."""
    image, corner, to_face = identity.canvas, (0, 0), identity.canvas_transform
    if identity.crop:
        size = image.shape[0]
        margin = round(SCENE_MARGIN * size)
        to_face = compose(to_face, np.array([[1.0, 0, -margin], [0, 1.0, -margin]]))
        wide = warp(canvas.image, compose(invert(to_face), canvas.transform), size + 2 * margin)
        wide[margin : margin + size, margin : margin + size] = image
        height, width = canvas.image.shape[:2]
        # only what the photo shows
        box = transform_points(
            compose(invert(to_face), canvas.transform),
            np.array([[x, y] for x in (0, width - 1) for y in (0, height - 1)]),
        )
        left, top = np.clip(np.ceil(box.min(axis=0)), 0, margin).astype(int)
        right, bottom = np.clip(np.floor(box.max(axis=0)) + 1, margin + size, size + 2 * margin).astype(int)
        image, corner = np.ascontiguousarray(wide[top:bottom, left:right]), (margin - int(left), margin - int(top))
        to_face = compose(to_face, np.array([[1.0, 0, left], [0, 1.0, top]]))
    return Scene(image, corner, transform_points(invert(to_face), canvas.aligned.landmarks))


def _aligned_canvas(still: Still, max_size_px: int) -> tuple[Image, Affine]:
    """The paper's target, rows and columns 1..109 of the aligned face, as dense as its source, and its transform."""
    density = 1 / float(np.hypot(*still.transform[:, 0]))  # source px per aligned px
    size = int(np.clip(TARGET_PX * density, TARGET_PX, max_size_px)) // 2 * 2
    scale = TARGET_PX / size
    shift = TARGET_OFFSET_PX + (scale - 1) / 2
    to_face = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    return warp(still.image, compose(invert(to_face), still.transform), size), to_face
