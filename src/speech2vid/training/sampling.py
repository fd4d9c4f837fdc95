"""Sampling of identity stills and target frames: the paper's, and ours.

Paper (Sect. 3.4, Fig. 3): targets are every 5th frame; the five stills are at the 10/30/50/70/90th percentile of lip
opening over a random sample of the track's frames, far from the target, before it and after it. Most users have one
photo, so here a share of the examples has five copies of one frame in any mouth state, or copies of two; and stills may
come from another track of the same speaker, in other light and pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from speech2vid.constants import IDENTITY_PERCENTILES, IDENTITY_STILLS, SAMPLE_EVERY_FRAMES

Indices = NDArray[np.int64]
Openings = NDArray[np.floating]

AWAY_FRAMES = 9  # stills are at least this far from a target: their windows of 0.35 s do not overlap
SAMPLED_FRAMES = 50  # of a track, of which percentiles are taken


@dataclass(frozen=True)
class StillMix:
    """Settings of the sampling.

    Attributes:
        one_photo: share of examples with copies of one still, any mouth state.
        two_photos: share with copies of two stills.
        other_track: share with stills of another track of the speaker, where there is one.
        every: targets are every so many frames, from a random first one.
        speaker_power: a speaker with n frames is drawn with weight n ** power: 0 all alike, 1 by amount of data.
    """

    one_photo: float = 0.45
    two_photos: float = 0.1
    other_track: float = 0.45
    every: int = SAMPLE_EVERY_FRAMES
    speaker_power: float = 0.5


PAPER = StillMix(one_photo=0.0, two_photos=0.0, other_track=0.0, speaker_power=1.0)


@dataclass(frozen=True)
class Example:
    """Stills and targets of one person.

    Attributes:
        track: number of the track with the targets.
        targets: (n,) frames of it to generate.
        still_track: number of the track with the stills; of the same speaker.
        stills: (5,) frames of it, by rising lip opening; copies of one or two where there are no more photos.
    """

    track: int
    targets: Indices
    still_track: int
    stills: Indices


class ExampleSampler:
    """Draw examples from tracks, of which only the lip openings are held.

    Args:
        openings: of each track, (T,) lip opening in px of the aligned face.
        speakers: of each track.
        mix: settings; the defaults of :class:`StillMix` if None.

    Raises:
        ValueError: no tracks, or one without frames.
    """

    def __init__(self, openings: Sequence[Openings], speakers: Sequence[str], mix: StillMix | None = None) -> None:
        if not openings or not all(len(each) for each in openings):
            raise ValueError("every track needs a frame, and there must be a track")
        self.mix = mix or StillMix()
        self._openings = list(openings)
        self._speakers = list(speakers)
        self._tracks: dict[str, list[int]] = {}
        for number, speaker in enumerate(speakers):
            self._tracks.setdefault(speaker, []).append(number)
        frames = np.array([sum(len(openings[number]) for number in tracks) for tracks in self._tracks.values()])
        weights = frames.astype(np.float64) ** self.mix.speaker_power
        self._names = list(self._tracks)
        self._chances = weights / weights.sum()

    def draw(self, rng: Generator, targets: int = 1) -> Example:
        """Draw a speaker by weight, one of its tracks by length, stills, and ``targets`` frames to generate."""
        tracks = self._tracks[self._names[rng.choice(len(self._names), p=self._chances)]]
        lengths = np.array([len(self._openings[number]) for number in tracks], np.float64)
        track = tracks[rng.choice(len(tracks), p=lengths / lengths.sum())]
        still_track = track
        others = [number for number in tracks if number != track]
        if others and rng.random() < self.mix.other_track:
            still_track = others[rng.integers(len(others))]
        openings = self._openings[still_track]
        stills = self._stills(openings, rng)
        allowed = every_nth(len(self._openings[track]), self.mix.every, rng)
        if still_track == track:
            allowed = away_from(allowed, stills)
            surrounded = allowed[(allowed > stills.min()) & (allowed < stills.max())]
            allowed = surrounded if len(surrounded) else allowed  # stills from the past and the future (Fig. 3)
        chosen = rng.choice(allowed, targets, replace=len(allowed) < targets)
        return Example(track, np.sort(chosen), still_track, stills)

    def _stills(self, openings: Openings, rng: Generator) -> Indices:
        drawn = rng.random()
        if drawn < self.mix.one_photo:
            return one_still(openings, rng)
        if drawn < self.mix.one_photo + self.mix.two_photos:
            return two_stills(openings, rng)
        return percentile_stills(openings, rng)


def percentile_stills(openings: Openings, rng: Generator, away: Indices | Sequence[int] = ()) -> Indices:
    """Draw the paper's stills (Fig. 3): percentiles of lip opening over a random sample of frames.

    Args:
        openings: (T,) lip opening of every frame.
        away: target frames; stills are at least 9 frames from each of them, or as far as the track allows.

    Returns:
        (5,) frames, by rising lip opening.
    """
    pool = away_from(np.arange(len(openings)), away)
    sample = rng.choice(pool, min(len(pool), SAMPLED_FRAMES, max(IDENTITY_STILLS, len(pool) // 2)), replace=False)
    rising = sample[np.argsort(openings[sample], kind="stable")]
    ranks = np.rint(np.array(IDENTITY_PERCENTILES) / 100 * (len(rising) - 1)).astype(int)
    return np.asarray(rising[ranks], np.int64)


def one_still(openings: Openings, rng: Generator, away: Indices | Sequence[int] = ()) -> Indices:
    """Draw five copies of one random frame, in any mouth state: the one-photo case. Arguments as above."""
    pool = away_from(np.arange(len(openings)), away)
    return np.full(IDENTITY_STILLS, rng.choice(pool), np.int64)


def two_stills(openings: Openings, rng: Generator) -> Indices:
    """Draw three copies of one random frame and two of another, or two and three: the two-photo case."""
    pair = rng.choice(len(openings), 2, replace=len(openings) < 2)
    less, more = pair[np.argsort(openings[pair], kind="stable")]
    copies = int(rng.integers(2, IDENTITY_STILLS - 1))
    return np.repeat(np.array([less, more], np.int64), [copies, IDENTITY_STILLS - copies])


def every_nth(frames: int, every: int, rng: Generator) -> Indices:
    """Return every 5th frame, say, from a random first one; at least one."""
    return np.arange(rng.integers(min(every, frames)), frames, every)


def away_from(frames: Indices, others: Indices | Sequence[int]) -> Indices:
    """Return the ``frames`` at least 9 frames from all ``others``; if there are none, the farthest ones."""
    if not len(others):
        return frames
    distance = np.abs(frames[:, None] - np.asarray(others)[None]).min(axis=1)
    return np.asarray(frames[distance >= min(AWAY_FRAMES, int(distance.max()))], np.int64)
