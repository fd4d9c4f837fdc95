"""Who speaks: up to five stills, the image to animate, and all that is computed from them once a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from speech2vid.constants import IDENTITY_STILLS, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.errors import ConfigError
from speech2vid.faces import FaceModels, Still, face_models, still_of_photo, stills_of_video
from speech2vid.faces.align import warp
from speech2vid.geometry import compose, invert, transform_points
from speech2vid.inference.options import TalkOptions
from speech2vid.inference.talkers.base import Canvas, Identity, Scene, Talker, talker_for
from speech2vid.inference.use_notes import use_notes
from speech2vid.media import AnyFile, AnyPhoto, MediaFile, Source, is_photo, source_of
from speech2vid.types import Affine, Image

MAX_SIZE_PX = 1920
SCENE_MARGIN = 0.5  # of the side of an aligned face
MOST_LYING_DEG = 60.0  # beyond, the photo was probably not meant to lie like this
OF_IDENTITY = ("crop", "face_index", "max_size_px", "landmarks")  # options that only the preparation uses
AnyFace = AnyPhoto | AnyFile | MediaFile | Identity | Sequence[AnyPhoto]


def make_identity(
    face: AnyFace,
    talker: Talker | None = None,
    options: TalkOptions | None = None,
    *,
    models: FaceModels | None = None,
    **settings: Any,
) -> Identity:
    """Prepare a person once, to speak many times.

    ::

        identity = make_identity("photo.jpg")
        talk(identity, "one.wav", "one.mp4")
        talk(identity, "two.wav", "two.mp4")

    Args:
        face: one to five photos of one person, or one video, as :func:`speech2vid.talk` takes them. The first photo is
            the one to animate.
        talker: of :func:`speech2vid.load_talker`; by default it is loaded as the options say.
        options: all options in one record. ``crop`` animates the aligned face alone, at the image's own density.
        models: of :func:`speech2vid.faces.face_models`: a detector and landmarker of your own in place of the option
            ``landmarks``.
        settings: single options by name, see :class:`speech2vid.TalkOptions`; they go before ``options``.

    Raises:
        Speech2VidError: MediaError, FaceError, WeightsError or ConfigError.
    """
    chosen = TalkOptions.of(options, settings)
    if isinstance(face, Identity):
        return prepared(face, chosen)
    faces = [face] if isinstance(face, MediaFile) else faces_of(face)
    notes: list[str] = []
    if talker is None:
        talker = talker_for(chosen)
        notes = use_notes(chosen, talker.hashes, "talk")
    models = models or face_models(chosen.landmarks)
    canvas, stills = _stills(faces, chosen.face_index, None if chosen.crop else chosen.max_size_px, models)
    identity = identity_of(canvas, stills, talker, crop=chosen.crop, max_size_px=chosen.max_size_px)
    lies_deg = abs(float(np.degrees(np.arctan2(canvas.transform[1, 0], canvas.transform[0, 0]))))
    if lies_deg > MOST_LYING_DEG and not chosen.crop:
        notes.append(f"the face is tilted by {lies_deg:.0f}° in the image, and so it is in the video")
    return replace(identity, talker=talker, notes=(*notes, *identity.notes))


def prepared(identity: Identity, options: TalkOptions) -> Identity:
    """Return a prepared identity; raise a ``ConfigError`` for options that would have to be known beforehand."""
    defaults = {each.name: each.default for each in fields(options)}
    for name in OF_IDENTITY:
        if getattr(options, name) != defaults[name]:
            raise ConfigError(
                f"{name} has no effect on an identity that is already prepared", "give it to make_identity"
            )
    return identity


def faces_of(face: Any) -> list[Source]:
    """Return one face, or a list or tuple of several, as a list of sources.

    Raises:
        ConfigError: one of them is nothing that a face can be read from.
    """
    return [source_of(each, "face") for each in (face if isinstance(face, list | tuple) else [face])]


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
    faces: Sequence[Source | MediaFile], face_index: int | None, max_size_px: int | None, models: FaceModels
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
