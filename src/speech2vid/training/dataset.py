"""Face tracks of a split, with random access to their frames, from memory or from the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.windows import windows
from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, PAPER_LANDMARKS
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import DataError
from speech2vid.faces import lip_opening
from speech2vid.training.sampling import ExampleSampler, StillMix
from speech2vid.types import Frames, Points, Waveform

log = logging.getLogger(__name__)

TRAIN, VAL = "train", "val"
MOST_OF_MEMORY = 0.8


class TrainingTrack:
    """A track of the store, with values that are computed from it once.

    Attributes:
        key, speaker: of its record.
        frames: (T, 112, 112, 3) uint8 RGB, or an object that reads such faces from the store.
        landmarks: (T, 68, 2) float32, px of the aligned face.
        source_landmarks: (T, 68, 2) float32, px of the source.
        lead_frames: how many frames' worth of audio there is before the first frame.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self.key, self.speaker = track.record.key, track.record.speaker
        self.frames: Frames = track.frames
        self.landmarks: Points = track.landmarks
        self.source_landmarks: Points = track.source_landmarks
        self.lead_frames = track.record.audio_lead_frames

    def __len__(self) -> int:
        return len(self._track)

    @cached_property
    def opening(self) -> NDArray[np.float32]:
        """(T,) lip opening, px."""
        return lip_opening(self.landmarks)

    @property
    def audio(self) -> Waveform:
        """(n,) float32 at 16 kHz, all there is of it: frame i begins at sample 640 (``lead_frames`` + i)."""
        return self._track.audio_with_context

    @cached_property
    def windows(self) -> NDArray[np.float32]:
        """(T, 1, 12, 35) float32, the paper's MFCC windows."""
        return windows(self.audio)[self.lead_frames : self.lead_frames + len(self)]


class TrackSet:
    """Tracks of a split, in the order of their keys.

    Attributes:
        by_speaker: speaker → tracks.
        frames: in all of them together.
        landmarker: name and version of the landmarker of all of them.

    Raises:
        DataError: the tracks are of two landmarkers.
    """

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.landmarker = landmarker_of(tracks)
        self.tracks = sorted(map(TrainingTrack, tracks), key=lambda track: track.key)
        self.by_speaker: dict[str, list[TrainingTrack]] = {}
        for track in sorted(self.tracks, key=lambda track: (track.speaker, track.key)):
            self.by_speaker.setdefault(track.speaker, []).append(track)
        self.frames = sum(map(len, self.tracks))

    def __getitem__(self, number: int) -> TrainingTrack:
        return self.tracks[number]

    @property
    def hours(self) -> float:
        return self.frames / FRAME_RATE_HZ / 3600

    def sampler(self, mix: StillMix) -> ExampleSampler:
        """Return a sampler of examples; their track numbers are indices of this set."""
        return ExampleSampler([track.opening for track in self.tracks], [track.speaker for track in self.tracks], mix)


def landmarker_of(tracks: Sequence[Track]) -> str:
    """Return name and version of the landmarker of tracks, dlib's if there are none; DataError if they are of two."""
    found = {track.record.landmarker: track.record.key for track in tracks} or {PAPER_LANDMARKS: ""}
    if len(found) > 1:
        named = " and ".join(f"{landmarker} ({key})" for landmarker, key in sorted(found.items()))
        raise DataError(
            f"the tracks were prepared with different landmarkers: {named}",
            "prepare all sources with the same --landmarks, into a new store",
        )
    return next(iter(found))


def load_splits(
    folder: Path, train: str = TRAIN, val: str = VAL, *, stream: bool | None = None
) -> tuple[TrackSet, TrackSet]:
    """Load the tracks to train on, and those to validate on.

    Args:
        stream: read faces from the store when they are needed, instead of holding them in memory. None: where they do
            not fit into it. Landmarks and audio are in memory always, 0.06 MB a second.

    Raises:
        DataError: no store, or a damaged one; a split is empty; a speaker is in both.
    """
    store = SampleStore(folder)
    everyone = sorted({entry.speaker for entry in store.entries})
    if len(everyone) == 1:
        raise DataError(
            f"{folder} has only one speaker, {everyone[0]}",
            "validation needs speakers that are not trained on: prepare videos of at least two",
        )
    for split in (train, val):
        if split not in store.splits:
            raise DataError(
                f"{folder} has no track in the split {split!r}, only in: {', '.join(store.splits) or 'none'}",
                "prepare more videos, or assign speakers to splits in the manifest",
            )
    if both := sorted(set(store.speakers(train)) & set(store.speakers(val))):
        raise DataError(
            f"{folder}: {both[0]} is in {train} and in {val}",
            "a speaker may belong to only one split: correct the manifest",
        )
    if stream is None:
        frames = sum(entry.frames for entry in store.entries if entry.split in (train, val))
        needed, memory = frames * 3 * FACE_PX**2, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        stream = needed > MOST_OF_MEMORY * memory
        if stream:
            log.info("the faces take %.0f GB of %.0f GB of memory: they are read as needed", needed / 1e9, memory / 1e9)
    parts = [list(store.tracks(split, stored=stream)) for split in (train, val)]
    landmarker_of([track for part in parts for track in part])
    return TrackSet(parts[0]), TrackSet(parts[1])
