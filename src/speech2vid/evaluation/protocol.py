"""What is generated for which clip: whose stills, whose audio. Seeded clip by clip, whatever else is evaluated."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ, IDENTITY_PERCENTILES
from speech2vid.data.records import Track, TrackRecord
from speech2vid.errors import DataError
from speech2vid.faces import Still, lip_opening
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert
from speech2vid.types import Affine, AlignedFace, Image

MIN_FRAMES = FRAME_RATE_HZ  # clips shorter than a second are left out


@dataclass(frozen=True)
class Trial:
    """A clip to generate again.

    Attributes:
        clip: whose audio and truth.
        stills_of: where the stills come from: another clip of the speaker, or, where there is none, the clip itself.
        other: a clip of somebody else, whose audio says what chance is.
    """

    clip: TrackRecord
    stills_of: TrackRecord
    other: TrackRecord


def plan_trials(records: Iterable[TrackRecord], seed: int = 0) -> list[Trial]:
    """A trial for every clip of a second or more, in the order of their keys.

    Raises:
        DataError: no such clip, or none of a second person.
    """
    long = sorted((each for each in records if each.frames >= MIN_FRAMES), key=lambda record: record.key)
    trials = []
    for clip in long:
        pick = generator(seed, clip.key)
        mates = [each for each in long if each.speaker == clip.speaker and each.key != clip.key]
        others = [each for each in long if each.speaker != clip.speaker]
        if not others:
            raise DataError(
                f"all clips of a second or more are of {clip.speaker}: another voice is needed to tell what chance is",
                "evaluate on two speakers or more",
            )
        trials.append(Trial(clip, _one_of(mates, pick) if mates else clip, _one_of(others, pick)))
    if not trials:
        raise DataError("the split has no clip of at least one second to evaluate", "prepare longer videos")
    return trials


def generator(seed: int, key: str) -> np.random.Generator:
    """Random numbers of one clip."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])


def five_stills(track: Track) -> list[int]:
    """Frames at the 10/30/50/70/90th percentile of lip opening (Sect. 3.4), ascending."""
    return percentile_frames(lip_opening(track.landmarks))


def one_still(track: Track, seed: int) -> list[int]:
    """Any frame, whatever its mouth does: most people have one photo."""
    return [int(generator(seed, track.record.key).integers(len(track)))]


def percentile_frames(openings: NDArray[np.floating]) -> list[int]:
    """The frames whose lip opening stands at the identity's percentiles among (T,): five numbers, T ≥ 5."""
    order = np.argsort(openings, kind="stable")
    return [int(order[round(percent / 100 * (len(order) - 1))]) for percent in IDENTITY_PERCENTILES]


def stills_at(track: Track, frames: Sequence[int]) -> list[Still]:
    """Aligned frames as stills: images of 112 px whose face is where it is."""
    return [still_of_aligned(track, frame) for frame in frames]


def still_of_aligned(track: Track, frame: int) -> Still:
    return _still(track, frame, track.frames[frame], np.eye(2, 3))


def still_of_context(track: Track, frame: int, face: Image) -> Still:
    """A frame as a still whose image is its 224 px face."""
    return _still(track, frame, face, invert(context_from_face()))


def _still(track: Track, frame: int, image: Image, transform: Affine) -> Still:
    landmarks = track.landmarks[frame]
    aligned = AlignedFace(track.frames[frame], landmarks, transform)
    return Still(image, aligned, float(lip_opening(landmarks)), 0.0)


def _one_of(records: Sequence[TrackRecord], pick: np.random.Generator) -> TrackRecord:
    return records[int(pick.integers(len(records)))]
