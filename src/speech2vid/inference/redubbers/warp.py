"""Our re-dubbing: the talker moves the filmed mouth itself, and what it painted is blended into the frame.

The texture comes from the frame itself: its own face is the talker's still, moved from the mouth it has to the mouth it
should have. Light, pose, sharpness and what covers the face are then right by themselves. Another moment of the person
is the second still, for what the frame does not show: teeth, where its lips are closed. What is painted is blended by
Poisson editing, or by the blending network of Sect. 6.2's kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    BLEND_HEIGHT,
    BLEND_WIDTH,
    CONTEXT_FACE_PX,
    FACE_PX,
    LANDMARKS,
    MOUTH_COUNT,
    MOUTH_POINTS,
)
from speech2vid.errors import WeightsError
from speech2vid.faces import Still, lip_opening
from speech2vid.faces.align import warp
from speech2vid.geometry import compose, invert, transform_points
from speech2vid.inference.audio_stream import AudioStream
from speech2vid.inference.compositing import Composer, near_outlines
from speech2vid.inference.inner_mouth import Jaws, MouthInside
from speech2vid.inference.mouth_geometry import FacePlan, NeutralMouth, neutral_mouth_of
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
from speech2vid.inference.options import Silence
from speech2vid.inference.redubbers.base import COST_WEIGHT, Difference, FilmedFace, Person, Redubber, inside
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import Identity, WarpFields, spread
from speech2vid.inference.talkers.warp import (
    LOWER_FACE,
    WarpNetworks,
    estimate_neutral_mouth,
    in_colours_of,
    mouths_of,
)
from speech2vid.runtime.engine import LoadGraph, graph_loader
from speech2vid.runtime.onnx import Arrays
from speech2vid.types import Affine, AlignedFace, Floats, Frames, Image, Points

WARP_REDUBBER = "warp_redubber"  # architecture
BATCH = 16  # faces computed at once
OPEN_PERCENTILE = 90  # of lip opening: the second still
POSE_WEIGHT = 0.3  # of another pose, in px of lip opening
POSE_POINTS = [1, 2, 3, 4, 12, 13, 14, 15, 30]  # sides of the jaw, tip of the nose: where they lie tells the pose
NEAR_PX, FAR_PX = 3.0, 9.0  # from the lips, px of the 112 px face: up to there, and no longer, other moments show
MARGIN_PX = 3  # of the 224 px face, round what changes on it: beyond, less than half a grey level changes
BLUER = 0.08  # than the skin, of 1, may be what is painted
OUTER_LIPS = 12  # the first of the 20 points of a mouth are its outline


class Blender(Protocol):
    """Lays painted mouths into filmed faces."""

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """Return faces with the new mouth in them, to be put back into their frames.

        Args:
            source: (N, 224, 224, 3) uint8 RGB, the filmed faces.
            painted: (N, 224, 224, 3) uint8 RGB, the same with the generated mouth painted in.
            landmarks: (N, 68, 2) of the filmed faces, px of the 112 px face.
            targets: (N, 20, 2) mouth shapes wanted, px of the 112 px face.

        Returns:
            (N, 224, 224, 3) uint8 RGB.
        """
        ...


class Paste:
    """The painted face as it is: what blending is measured against."""

    def blend(self, source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
        """See :class:`Blender`."""
        return painted


class PaintedRedubber(Redubber):
    """Paints the new mouth with the warp talker from the frame itself, and blends it in.

    Args:
        talker: paints.
        blender: blends.
        sharpener: sharpens the painted face.
    """

    def __init__(self, talker: WarpNetworks, blender: Blender, sharpener: Sharpener | None = None) -> None:
        self._talker, self._blender, self._sharpener = talker, blender, sharpener
        networks = [talker, blender, sharpener]
        self.hashes = {name: sha for each in networks for name, sha in getattr(each, "hashes", {}).items()}

    def audio_stream(self, silence: Silence) -> AudioStream:
        """See :class:`Redubber`."""
        return self._talker.audio_stream(silence)

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """See :class:`Redubber`."""
        return self._talker.drive_at(drive, times_s)

    def neutral_mouth(self, person: Person) -> NeutralMouth:
        """See :class:`Redubber`."""
        landmarks = np.stack([still.aligned.landmarks for still in person.chosen])
        return NeutralMouth(self._talker.neutral_weight, mean_mouth_of(landmarks, self._talker))

    def prepare(self, person: Person, plan: FacePlan) -> tuple[Still, MouthInside]:
        """See :class:`Redubber`: the second still, and what is drawn between the lips."""
        second = open_still(person, plan)
        return second, MouthInside.of(second, plan.neutral_mouth.mean(axis=0))

    def change(
        self, face: FilmedFace, prepared: tuple[Still, MouthInside], plan: FacePlan, at: int, drive: Floats
    ) -> Difference:
        """See :class:`Redubber`: the painted image, corrected by what the blender makes of it at 224 px."""
        target = plan.target(at, drive)
        crop = face.crop
        second, inside_mouth = prepared
        inside_mouth = replace(inside_mouth, jaws=Jaws.of(plan.neutral_mouth[at]))
        painted = self._paint(face, second, inside_mouth, target)
        small = warp(painted, face.to_context, CONTEXT_FACE_PX)
        source = face.context
        blended = self._blender.blend(source[None], small[None], face.landmarks[None], target[None])[0]
        part = _changed_part((source != small) | (source != blended), face.to_context, crop)
        correction = cv2.subtract(blended, small, dtype=cv2.CV_32F) * inside()
        left, top = part[1].start, part[0].start
        size = part[1].stop - left, part[0].stop - top
        to_part = compose(face.to_context, np.array([[1.0, 0, left], [0, 1.0, top]]))
        large = cv2.warpAffine(correction, to_part, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        difference = cv2.subtract(painted[part], crop[part], dtype=cv2.CV_32F)
        return np.asarray(cv2.add(difference, large), np.float32), (left, top)

    def openings(self, plan: FacePlan, drive: Floats) -> Floats:
        """See :class:`Redubber`."""
        mouths = plan.neutral_mouth + drive
        opened: Floats = (mouths[:, 17:20, 1] - mouths[:, 13:16, 1][:, ::-1]).mean(axis=1) * plan.weight
        return opened

    def _paint(self, face: FilmedFace, second_still: Still, inside_mouth: MouthInside, target: Floats) -> Image:
        """Return the crop with the mouth wanted, (20, 2) px of the 112 px face."""
        aligned = AlignedFace(warp(face.crop, face.transform, FACE_PX), face.landmarks, face.transform)
        own = Still(face.crop, aligned, float(lip_opening(face.landmarks)), 0.0)
        stills = sorted([own, in_colours_of(second_still, own)], key=lambda still: still.opening)
        slots = tuple(stills[i] for i in spread(len(stills)))
        mouths = mouths_of(slots)
        features = self._talker.features(slots, mouths)
        fields = self._talker.fields(features, mouths, target[None])
        near = near_mouths(target, face.landmarks[MOUTH_POINTS])
        fields = clamp_blue(restrict_to_mouth(fields, [still is own for still in slots], near), aligned.image)
        identity = Identity(face.crop, face.transform, slots, inside=inside_mouth)
        return next(Composer(identity, self._sharpener).frames(fields))


def mean_mouth_of(landmarks: Points, talker: WarpNetworks) -> Floats:
    """Return how somebody's closed mouth differs from the usual one, (20, 2) px.

    Args:
        landmarks: (5, 68, 2), aligned px, at percentiles of lip opening.
        talker: reads closed mouths.
    """
    neutral_mouth = estimate_neutral_mouth(landmarks, talker.neutral_weight, talker.speech)
    return np.asarray(neutral_mouth - neutral_mouth_of(landmarks, talker.neutral_weight).mean(axis=0), np.float32)


def open_still(person: Person, plan: FacePlan) -> Still:
    """Return the moment that stands beside a face's own: the mouth open, sharp, the head held as in this track."""
    wanted = float(np.percentile([still.opening for still in person.stills], OPEN_PERCENTILE))
    pose = np.median(plan.landmarks[:, POSE_POINTS], axis=0)

    def unfit(still: Still) -> float:
        turned = float(np.linalg.norm(still.aligned.landmarks[POSE_POINTS] - pose, axis=-1).mean())
        return abs(still.opening - wanted) + COST_WEIGHT * still.cost + POSE_WEIGHT * turned

    return min(person.stills, key=unfit)


def _changed_part(changed: NDArray[np.bool_], to_canvas: Affine, crop: Image) -> tuple[slice, slice]:
    """Rows and columns of the crop, from even numbers on, outside which nothing on the canvas (224, 224, 3) changes."""
    height, width = crop.shape[:2]
    rows, columns = np.flatnonzero(changed.any(axis=(1, 2))), np.flatnonzero(changed.any(axis=(0, 2)))
    if not len(rows):
        return slice(0, 2), slice(0, 2)
    x, y = (columns[0] - MARGIN_PX, columns[-1] + MARGIN_PX), (rows[0] - MARGIN_PX, rows[-1] + MARGIN_PX)
    corners = transform_points(invert(to_canvas), np.array([[a, b] for a in x for b in y], np.float64))
    low = np.clip(np.floor(corners.min(axis=0)), 0, (width - 2, height - 2)).astype(int) // 2 * 2
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, low + 2, (width, height)).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def near_mouths(*mouths: Floats) -> Floats:
    """(64, 96), on the generated region: 1 on and near the given mouths (20, 2), 0 further away."""
    return near_outlines((mouth[:OUTER_LIPS] for mouth in mouths), NEAR_PX, FAR_PX)


def restrict_to_mouth(fields: WarpFields, own: Sequence[bool], near: Floats) -> WarpFields:
    """The fields with the frame's own slots alone away from the mouth: other moments have another pose and another
    background, and what is painted belongs between the lips.

    Args:
        fields: for N frames.
        own: of each slot, whether it holds the frame's own face.
        near: (64, 96) how much of the others is wanted.
    """
    mine = np.array([*own, False])
    masks = fields.masks.copy()
    masks[:, ~mine] *= near
    missing = 1 - masks.sum(axis=1, keepdims=True)
    masks[:, mine] += missing / mine.sum()
    return replace(fields, masks=masks)


def clamp_blue(fields: WarpFields, face: Image) -> WarpFields:
    """The fields with what is painted no bluer, beside its green, than this face (112, 112, 3) and a little more: the
    dark between lips comes out purple otherwise."""
    skin = face[LOWER_FACE].reshape(-1, 3).mean(axis=0)
    residual = fields.residual.copy()
    most = residual[:, 1] + np.float32((skin[2] - skin[1]) / 255 + BLUER)
    residual[:, 2] = np.minimum(residual[:, 2], np.maximum(most, 0))
    return replace(fields, residual=residual)


class NetworkBlender:
    """The blending network, loaded: painted mouths are made to fit the faces they are painted into.

    Args:
        weights: its weight file.
        load: runs its graph.

    Raises:
        WeightsError: a file is missing, damaged, or of a network that paints by itself.
    """

    def __init__(self, weights: Path, load: LoadGraph | None = None) -> None:
        self._network = (load or graph_loader())(weights, "frames")
        header = self._network.header
        if header.architecture != WARP_REDUBBER:
            raise WeightsError(
                f"{weights} holds a {header.architecture}, which blends no painted faces",
                "give the weights of speech2vid train redubber with a config for warp_redubber",
            )
        self.hashes = {WARP_REDUBBER: header.sha256}
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
