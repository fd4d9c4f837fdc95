"""One frame of a video: the mouths of some of its faces are made new and blended in. The rest stays as it was stored.

The texture comes from the frame itself: its own face is the talker's still, moved from the mouth it has to the mouth
it should have. Light, pose, sharpness and what covers the face are then right by themselves. Other moments of the
person stand next to it for what the frame does not show: teeth, where its lips are closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import (
    CONTEXT_FACE_PX,
    FACE_PX,
    IDENTITY_PERCENTILES,
    MOUTH_POINTS,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
)
from speech2vid.faces import Still, lip_opening
from speech2vid.faces.align import align, context_from_face, warp
from speech2vid.geometry import compose, invert, smoothstep, transform_points
from speech2vid.inference.compositing import Composer
from speech2vid.inference.identity import LOWER_FACE, Identity, estimate_neutral_mouth, in_colours_of, spread
from speech2vid.inference.mouth_geometry import FacePlan, at_times, neutral_mouth_of, plan_face
from speech2vid.inference.redubbers.poisson import Blender
from speech2vid.inference.talkers.warp import Fields, TalkerNetworks
from speech2vid.inference.video_tracks import SeenFace, SeenStill, VideoTracks
from speech2vid.media import RawFormat, RawFrame
from speech2vid.types import Affine, AlignedFace, Floats, Image, Points

OPEN_PERCENTILE = 90  # of lip opening: the other moment that stands next to the frame's own
COST_WEIGHT, POSE_WEIGHT = 0.25, 0.3  # of unfitness and of another pose, in px of lip opening
POSE_POINTS = [1, 2, 3, 4, 12, 13, 14, 15, 30]  # sides of the jaw, tip of the nose: where they lie tells the pose
NEAR_PX, FAR_PX = 3.0, 9.0  # from the lips, px of the 112 px face: up to there, and no longer, other moments show
DISSOLVE = 0.5  # below this weight the new frame also fades into the old one
MARGIN_PX = 3  # of the canvas, round what changes on it: beyond, less than half a grey level changes
BLUER = 0.08  # than the skin, of 1, may be what is painted
OUTER_LIPS = 12  # the first of the 20 points of a mouth are its outline
BORDER_PX = 6.0  # of the 224 px canvas: over which what a blender changes fades to nothing


@dataclass(frozen=True)
class Person:
    """Somebody who speaks: moments of them, and how their closed mouth differs from the usual one."""

    stills: tuple[Still, ...]
    mean_mouth: Floats


def person_of(seen: Sequence[SeenStill], networks: TalkerNetworks) -> Person:
    """Choose moments at percentiles of lip opening, sharp and frontal ones first, for what is usual for somebody."""
    openings = [still.opening for still in seen]
    chosen = [_nearest(seen, float(np.percentile(openings, each))) for each in IDENTITY_PERCENTILES]
    mean_mouth = mean_mouth_of(np.stack([_still(each).aligned.landmarks for each in chosen]), networks)
    return Person(tuple(_still(each) for each in seen), mean_mouth)


def mean_mouth_of(landmarks: Points, networks: TalkerNetworks) -> Floats:
    """How somebody's closed mouth differs from the usual one: landmarks (5, 68, 2), aligned px, at percentiles of lip
    opening → (20, 2)."""
    neutral_mouth = estimate_neutral_mouth(landmarks, networks.neutral_weight, networks.speech)
    return np.asarray(neutral_mouth - neutral_mouth_of(landmarks, networks.neutral_weight).mean(axis=0), np.float32)


def _nearest(seen: Sequence[SeenStill], opening: float) -> SeenStill:
    return min(seen, key=lambda still: abs(still.opening - opening) + COST_WEIGHT * still.cost)


def open_still(person: Person, plan: FacePlan) -> Still:
    """The moment that stands next to a face's own: the mouth open, sharp, the head held as in this track."""
    wanted = float(np.percentile([still.opening for still in person.stills], OPEN_PERCENTILE))
    pose = np.median(plan.landmarks[:, POSE_POINTS], axis=0)

    def unfit(still: Still) -> float:
        turned = float(np.linalg.norm(still.aligned.landmarks[POSE_POINTS] - pose, axis=-1).mean())
        return abs(still.opening - wanted) + COST_WEIGHT * still.cost + POSE_WEIGHT * turned

    return min(person.stills, key=unfit)


def _still(seen: SeenStill) -> Still:
    image = seen.image()
    return Still(image, align(image, seen.landmarks), seen.opening, seen.cost)


@dataclass(frozen=True)
class Change:
    """A face of the video that is to speak: its geometry, another moment of the person with an open mouth, and the
    movement of their audio on its grid."""

    face: SeenFace
    plan: FacePlan
    second_still: Still
    motions: Floats


def plan_changes(
    tracks: VideoTracks, layout: RawFormat, motions: Sequence[Floats | None], networks: TalkerNetworks
) -> list[Change]:
    """A :class:`Change` for every face that has movements (N, 20, 2)."""
    times_s = np.asarray(tracks.ticks * float(layout.tick_s), np.float64)
    people: dict[int, Person] = {}
    changes = []
    for face, moved in zip(tracks.faces, motions, strict=True):
        if moved is None:
            continue
        if face.person not in people:
            people[face.person] = person_of(tracks.stills[face.person], networks)
        person = people[face.person]
        begin = tracks.shots[face.shot]
        end = tracks.shots[face.shot + 1] if face.shot + 1 < len(tracks.shots) else len(times_s)
        plan = plan_face(
            face.landmarks,
            times_s[face.start : face.stop],
            person.mean_mouth,
            networks.neutral_weight,
            fade_in=face.start > begin,
            fade_out=face.stop < end,
        )
        changes.append(Change(face, plan, open_still(person, plan), moved))
    return changes


class FrameRedubber:
    """Changes frames. Safe to call from several threads.

    Args:
        changes: all faces that speak.
        networks: the talker's.
        blender: lays the new mouths in.
    """

    def __init__(self, changes: Sequence[Change], networks: TalkerNetworks, blender: Blender) -> None:
        self._networks, self._blender = networks, blender
        self._changes: dict[int, list[Change]] = {}
        for change in changes:
            for index in range(change.face.start, change.face.stop):
                self._changes.setdefault(index, []).append(change)

    def __call__(self, frame: RawFrame, shown_s: float) -> RawFrame:
        """The frame with new mouths, at the middle of the time at which it will be shown. The same object."""
        for change in self._changes.get(frame.index, ()):
            at = frame.index - change.face.start
            if change.plan.weight[at] > 0:
                self._change(frame, change, at, at_times(change.motions, np.array([shown_s]))[0])
        return frame

    def widest(self, tracks: VideoTracks, layout: RawFormat, end_s: Fraction) -> int:
        """Index of the frame before ``end_s`` in which a changed mouth is opened widest; 0 where none is changed."""
        tick_s = float(layout.tick_s)
        best, widest = 0, -1.0
        for change in {id(each): each for changes in self._changes.values() for each in changes}.values():
            part = slice(change.face.start, change.face.stop)
            middles_s = (tracks.ticks[part] + tracks.durations[part] / 2) * tick_s
            mouths = change.plan.neutral_mouth + at_times(change.motions, middles_s)
            open_px = (mouths[:, 17:20, 1] - mouths[:, 13:16, 1][:, ::-1]).mean(axis=1) * change.plan.weight
            open_px[middles_s >= float(end_s)] = -1
            if open_px.max() > widest:
                best, widest = change.face.start + int(open_px.argmax()), float(open_px.max())
        return best

    def _change(self, frame: RawFrame, change: Change, at: int, motion: Floats) -> None:
        transform = compose(change.plan.transforms[at], square_from_stored(frame.format))
        box = _box(transform, frame.format)
        if box is None:
            return
        crop = frame.crop(box)
        local = compose(transform, np.array([[1.0, 0, box[0]], [0, 1.0, box[1]]]))
        target = change.plan.target(at, motion)
        painted = paint_mouth(crop, local, change.plan.landmarks[at], change.second_still, target, self._networks)
        difference, (left, top) = self._blend(crop, painted, local, change.plan.landmarks[at], target)
        dissolve = shown_share(change.plan.weight[at])
        left, top = left + box[0], top + box[1]
        changed = left, top, left + difference.shape[1], top + difference.shape[0]
        frame.add(changed, np.asarray(dissolve * difference, np.float32))

    def _blend(
        self, crop: Image, painted: Image, transform: Affine, landmarks: Floats, target: Floats
    ) -> tuple[Floats, tuple[int, int]]:
        """What is added, and where its corner lies (x, y): the painted frame, corrected by what the blender makes of
        it at 224 px."""
        to_canvas = compose(context_from_face(), transform)
        source = warp(crop, to_canvas, CONTEXT_FACE_PX)
        small = warp(painted, to_canvas, CONTEXT_FACE_PX)
        blended = self._blender.blend(source[None], small[None], landmarks[None], target[None])[0]
        part = _changed_part((source != small) | (source != blended), to_canvas, crop)
        correction = cv2.subtract(blended, small, dtype=cv2.CV_32F) * _inside()
        left, top = part[1].start, part[0].start
        size = part[1].stop - left, part[0].stop - top
        to_part = compose(to_canvas, np.array([[1.0, 0, left], [0, 1.0, top]]))
        large = cv2.warpAffine(correction, to_part, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        difference = cv2.subtract(painted[part], crop[part], dtype=cv2.CV_32F)
        return np.asarray(cv2.add(difference, large), np.float32), (left, top)


def paint_mouth(
    crop: Image, transform: Affine, landmarks: Floats, second_still: Still, target: Floats, networks: TalkerNetworks
) -> Image:
    """A frame of a face with the mouth that the talker makes.

    Args:
        crop: (h, w, 3) uint8 RGB, the face and what is around it.
        transform: px of the crop → px of the 112 px face.
        landmarks: (68, 2), px of the 112 px face.
        second_still: another moment of the person, see :func:`open_still`.
        target: (20, 2) the mouth wanted, px of the 112 px face.
        networks: the talker's.
    """
    face = AlignedFace(warp(crop, transform, FACE_PX), landmarks, transform)
    own = Still(crop, face, float(lip_opening(landmarks)), 0.0)
    stills = sorted([own, in_colours_of(second_still, own)], key=lambda still: still.opening)
    slots = tuple(stills[i] for i in spread(len(stills)))
    mouths = np.ascontiguousarray(np.stack([still.aligned.landmarks for still in slots])[:, MOUTH_POINTS])
    features = networks.identity(np.stack([still.aligned.image for still in slots]), mouths)
    fields = networks.frames(features, mouths, target[None])
    near = near_mouths(target, landmarks[MOUTH_POINTS])
    fields = clamp_blue(restrict_to_mouth(fields, [still is own for still in slots], near), face.image)
    return next(Composer(Identity(crop, transform, slots, mouths, target, features)).frames(fields))


def shown_share(weight: float) -> float:
    """How much of a new frame shows where so much of the effect is wanted (``FacePlan.weight``)."""
    return min(1.0, float(weight) / DISSOLVE)


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
    outside = np.full((REGION_HEIGHT, REGION_WIDTH), 1, np.uint8)
    for mouth in mouths:
        outline = np.rint(mouth[:OUTER_LIPS] - (REGION_LEFT, REGION_TOP)).astype(np.int32)
        cv2.fillPoly(outside, [outline], 0)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
    return np.asarray(smoothstep((FAR_PX - distance) / (FAR_PX - NEAR_PX)), np.float32)


def restrict_to_mouth(fields: Fields, own: Sequence[bool], near: Floats) -> Fields:
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


def clamp_blue(fields: Fields, face: Image) -> Fields:
    """The fields with what is painted no bluer, next to its green, than this face (112, 112, 3) and a little more: the
    dark between lips comes out purple otherwise."""
    skin = face[LOWER_FACE].reshape(-1, 3).mean(axis=0)
    residual = fields.residual.copy()
    most = residual[:, 1] + np.float32((skin[2] - skin[1]) / 255 + BLUER)
    residual[:, 2] = np.minimum(residual[:, 2], np.maximum(most, 0))
    return replace(fields, residual=residual)


def square_from_stored(layout: RawFormat) -> Affine:
    """Pixels as stored → square pixels of the same height."""
    aspect = float(layout.pixel_aspect)
    return np.array([[aspect, 0.0, 0.5 * aspect - 0.5], [0.0, 1.0, 0.0]])


def _inside() -> Floats:
    """(224, 224, 1): 1, and 0 towards the border of the canvas."""
    ramp = np.clip((np.arange(CONTEXT_FACE_PX) + 0.5) / BORDER_PX, 0, 1)
    side = np.minimum(ramp, ramp[::-1])
    return np.asarray(np.minimum(side[:, None], side)[..., None], np.float32)


def _box(transform: Affine, layout: RawFormat) -> tuple[int, int, int, int] | None:
    """The part of the stored frame that the 224 px canvas shows, with even corners; None where it is outside."""
    side = CONTEXT_FACE_PX - 1.0
    corners: NDArray[np.float32] = transform_points(
        invert(compose(context_from_face(), transform)), np.array([[0, 0], [side, 0], [0, side], [side, side]])
    )
    low = np.floor(corners.min(axis=0)).astype(int) // 2 * 2
    high = (np.ceil(corners.max(axis=0)).astype(int) + 2) // 2 * 2
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(layout.width_px, int(high[0])), min(layout.height_px, int(high[1]))
    return (left, top, right, bottom) if right - left > 8 and bottom - top > 8 else None
