"""One frame of a video: some of its faces get new mouths. The rest stays as it was stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import compose, invert, transform_points
from speech2vid.inference.mouth_geometry import FacePlan, plan_face
from speech2vid.inference.redubbers.base import FilmedFace, Person, Redubber
from speech2vid.inference.video_tracks import SeenFace, VideoTracks
from speech2vid.media import RawFormat, RawFrame
from speech2vid.types import Affine, Floats

DISSOLVE = 0.5  # below this weight the new face also fades into the old one


@dataclass(frozen=True)
class Change:
    """A face of the video that is to speak.

    Attributes:
        face: where it is.
        plan: its geometry.
        prepared: what the redubber computed once.
        drive: (N, …) driving values of its audio on the 25 Hz grid.
    """

    face: SeenFace
    plan: FacePlan
    prepared: Any
    drive: Floats


def plan_changes(
    tracks: VideoTracks, layout: RawFormat, drives: Sequence[Floats | None], redubber: Redubber
) -> list[Change]:
    """Return a :class:`Change` for every face that has driving values."""
    times_s = np.asarray(tracks.ticks * float(layout.tick_s), np.float64)
    people: dict[int, Person] = {}
    changes = []
    for face, drive in zip(tracks.faces, drives, strict=True):
        if drive is None:
            continue
        if face.person not in people:
            people[face.person] = Person.of(tracks.stills[face.person])
        person = people[face.person]
        begin = tracks.shots[face.shot]
        end = tracks.shots[face.shot + 1] if face.shot + 1 < len(tracks.shots) else len(times_s)
        plan = plan_face(
            face.landmarks,
            times_s[face.start : face.stop],
            redubber.neutral_mouth(person),
            fade_in=face.start > begin,
            fade_out=face.stop < end,
        )
        changes.append(Change(face, plan, redubber.prepare(person, plan), drive))
    return changes


class FrameRedubber:
    """Changes frames. Safe to call from several threads.

    Args:
        changes: all faces that speak.
        redubber: changes a face.
    """

    def __init__(self, changes: Sequence[Change], redubber: Redubber) -> None:
        self._redubber = redubber
        self._changes: dict[int, list[Change]] = {}
        for change in changes:
            for index in range(change.face.start, change.face.stop):
                self._changes.setdefault(index, []).append(change)

    def __call__(self, frame: RawFrame, shown_s: float) -> RawFrame:
        """Return the frame, the same object, with new mouths, for the middle of the time at which it is shown."""
        for change in self._changes.get(frame.index, ()):
            at = frame.index - change.face.start
            if change.plan.weight[at] > 0:
                self._change(frame, change, at, self._redubber.drive_at(change.drive, np.array([shown_s]))[0])
        return frame

    def widest(self, tracks: VideoTracks, layout: RawFormat, end_s: Fraction) -> int:
        """Return the index of the frame before ``end_s`` whose new mouth is opened widest; 0 where none is changed."""
        tick_s = float(layout.tick_s)
        best, widest = 0, -1.0
        for change in {id(each): each for changes in self._changes.values() for each in changes}.values():
            part = slice(change.face.start, change.face.stop)
            middles_s = (tracks.ticks[part] + tracks.durations[part] / 2) * tick_s
            open_px = self._redubber.openings(change.plan, self._redubber.drive_at(change.drive, middles_s)).copy()
            open_px[middles_s >= float(end_s)] = -1
            if open_px.max() > widest:
                best, widest = change.face.start + int(open_px.argmax()), float(open_px.max())
        return best

    def _change(self, frame: RawFrame, change: Change, at: int, drive: Floats) -> None:
        transform = compose(change.plan.transforms[at], square_from_stored(frame.format))
        box = _box(transform, frame.format)
        if box is None:
            return
        local = compose(transform, np.array([[1.0, 0, box[0]], [0, 1.0, box[1]]]))
        face = FilmedFace(frame.crop(box), local, change.plan.landmarks[at])
        difference, (left, top) = self._redubber.change(face, change.prepared, change.plan, at, drive)
        dissolve = shown_share(change.plan.weight[at])
        left, top = left + box[0], top + box[1]
        changed = left, top, left + difference.shape[1], top + difference.shape[0]
        frame.add(changed, np.asarray(dissolve * difference, np.float32))


def shown_share(weight: float) -> float:
    """Return how much of a new face shows where this much of the effect is wanted (``FacePlan.weight``)."""
    return min(1.0, float(weight) / DISSOLVE)


def square_from_stored(layout: RawFormat) -> Affine:
    """Pixels as stored → square pixels of the same height."""
    aspect = float(layout.pixel_aspect)
    return np.array([[aspect, 0.0, 0.5 * aspect - 0.5], [0.0, 1.0, 0.0]])


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
