"""A split of the packed data on the GPU, and examples drawn there: no work per item in Python.

The draws follow :mod:`speech2vid.training.sampling`: a speaker by weight, a track by length, five stills at percentiles
of lip opening or copies of one, from the same track or another of the speaker, and target frames at least nine frames
from the stills, between them where the track allows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from research.gpu_job.packed import EXTRA_ROWS, Split
from torch import Tensor

from speech2vid.constants import IDENTITY_PERCENTILES, IDENTITY_STILLS, MFCC_PER_FRAME, WINDOW_STEPS
from speech2vid.training.mouth_masks import opening
from speech2vid.training.sampling import AWAY_FRAMES

STILL_CANDIDATES = 25  # frames of a track among which percentiles of lip opening are taken
TARGET_CANDIDATES = 64  # frames of a track among which the targets are chosen
RANKS = np.rint(np.array(IDENTITY_PERCENTILES) / 100 * (STILL_CANDIDATES - 1)).astype(int).tolist()


class Example(NamedTuple):
    """Frame numbers of B persons: stills (B, 5) by rising lip opening, targets (B, T)."""

    stills: Tensor
    targets: Tensor


class Tracks:
    """The tracks of a split on a device.

    Attributes:
        faces: (N, 112, 112, 3) uint8 RGB.
        mfcc: (R, 12) float32; see :meth:`windows`.
        mouths: (N, 20, 2) float32 px.
        motion: (N, C) float32.
        opening: (N,) lip opening, px.
        first, length: (K,) first frame and number of frames of each track.
        track_of: (N,) track of each frame.

    Args:
        split: of the packed data.
        speaker_power: a speaker with n frames is drawn with weight n ** power.
    """

    def __init__(self, split: Split, device: torch.device, speaker_power: float = 0.5) -> None:
        self.device = device
        self.names = list(dict.fromkeys(track.speaker for track in split.tracks))
        self.faces, self.mfcc, self.mouths, self.motion = (
            torch.from_numpy(each).to(device) for each in (split.faces, split.mfcc, split.mouths, split.motion)
        )
        self.opening = opening(self.mouths)
        self.length = self._whole([track.frames for track in split.tracks])
        self.first = self.length.cumsum(0) - self.length
        self.track_of = torch.arange(len(split.tracks), device=device).repeat_interleave(self.length)
        speaker = self._whole([self.names.index(track.speaker) for track in split.tracks])
        self._own = speaker.bincount()  # tracks of each speaker
        self._first_track = self._own.cumsum(0) - self._own
        self._frames = torch.zeros_like(self._own).index_add(0, speaker, self.length)
        self._first_frame = self._frames.cumsum(0) - self._frames
        self._chance = self._frames.double() ** speaker_power
        self._ranks = self._whole(RANKS)

    def __len__(self) -> int:
        return len(self.faces)

    def _whole(self, values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, device=self.device)

    def tracks_of(self, speaker: int) -> range:
        """Numbers of a speaker's tracks."""
        first = int(self._first_track[speaker])
        return range(first, first + int(self._own[speaker]))

    def frames(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw (count,) speakers by weight and a frame of each."""
        speaker = torch.multinomial(self._chance, count, replacement=True)
        return speaker, self._first_frame[speaker] + (self._uniform(count) * self._frames[speaker]).long()

    def draw(self, people: int, targets: int, single: float, other_track: float) -> Example:
        """Draw examples.

        Args:
            people: B.
            targets: T, frames to generate for each person.
            single: share of people whose five stills are copies of one.
            other_track: share of people whose stills come from another of their tracks, where there is one.
        """
        speaker, frame = self.frames(people)
        track = self.track_of[frame]
        own, first_track = self._own[speaker], self._first_track[speaker]
        step = 1 + (self._uniform(people) * (own - 1)).long()
        other = first_track + (track - first_track + step) % own
        still_track = torch.where(self._uniform(people) < other_track, other, track)
        pool = self._of(still_track, STILL_CANDIDATES)
        rising = pool.gather(1, self.opening[pool].argsort(1))
        one = self._uniform(people, 1) < single
        stills = torch.where(one, pool[:, :1].expand(-1, IDENTITY_STILLS), rising[:, self._ranks])
        candidates = self._of(track, TARGET_CANDIDATES)
        away = (candidates[:, :, None] - stills[:, None]).abs().amin(2).clamp(max=AWAY_FRAMES)
        between = (candidates > stills.amin(1, keepdim=True)) & (candidates < stills.amax(1, keepdim=True))
        preferred = away + 0.5 * (between & (away == AWAY_FRAMES))
        preferred = torch.where((still_track == track)[:, None], preferred, torch.zeros_like(preferred))
        order = (preferred + 0.4 * self._uniform(people, TARGET_CANDIDATES)).topk(targets, dim=1).indices
        return Example(stills, candidates.gather(1, order))

    def _of(self, tracks: Tensor, count: int) -> Tensor:
        """(B, count) random frames of tracks (B,)."""
        return self.first[tracks][:, None] + (self._uniform(len(tracks), count) * self.length[tracks][:, None]).long()

    def windows(self, frames: Tensor, speed: Tensor | None = None) -> Tensor:
        """The MFCC windows (M, 1, 12, 35) of frames (M,).

        Args:
            speed: (M,) factors; above 1 the window covers more time, as if the speech were that much faster. Rows in
                between are interpolated; at the ends of a track the last row repeats.
        """
        track = self.track_of[frames]
        start = MFCC_PER_FRAME * frames + EXTRA_ROWS * track
        steps = torch.arange(WINDOW_STEPS, device=self.device)
        if speed is None:
            rows = self.mfcc[start[:, None] + steps]
        else:
            middle = WINDOW_STEPS // 2
            place = (start + middle)[:, None] + (steps - middle) * speed[:, None].double()
            low = MFCC_PER_FRAME * self.first[track] + EXTRA_ROWS * track
            high = low + MFCC_PER_FRAME * self.length[track] + EXTRA_ROWS - 1
            place = torch.minimum(torch.maximum(place, low[:, None]), high[:, None])
            below = place.floor().long()
            above = torch.minimum(below + 1, high[:, None])
            rows = torch.lerp(self.mfcc[below], self.mfcc[above], (place - below)[..., None].float())
        return rows.transpose(1, 2)[:, None]

    def pixels(self, frames: Tensor) -> Tensor:
        """Faces (M, 3, 112, 112) float32 in [0, 1], channels last in memory."""
        return self.faces[frames].permute(0, 3, 1, 2).float() / 255

    def stills(self, frames: Tensor) -> Tensor:
        """Stills (B, 15, 112, 112) float32 in [0, 1] from frame numbers (B, 5), or (B, 3, 112, 112) from (B, 1)."""
        return self.faces[frames].permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
