"""Who speaks, and by how much the audio is late (Sect. 4): tracks and what they are heard to say → verdicts.

How well each frame of a face fits the audio at each offset is for a ``SyncScorer`` to say. Everything that follows from
it is here: one offset for the whole file, from all its faces together; of faces that are seen at the same time, the
one that fits best; and a reason for those left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.data.records import Reason
from speech2vid.faces.sync import near, offset_of
from speech2vid.types import Floats, Frames, Points, Waveform

LEAST_SECONDS = 3.0  # of faces, before an offset is believed
OFF_SCREEN_SECONDS = 5.0  # of speech while a face is seen, before it is said not to be its own
TOGETHER = 0.5  # share of the shorter track during which two are seen at once


class SyncScorer(Protocol):
    """Says how well a face fits a recording.

    Attributes:
        name: of the method and its weights; a store made with another one is made again.
        sure: from this confidence × √seconds on, an offset is believed.
        margin: a face that fits by so much better than another one is the one that speaks.
        least: a face that fits less, through seconds of speech, does not speak; −∞ where the method cannot tell.
    """

    name: str
    sure: float
    margin: float
    least: float

    def __call__(self, faces: Frames, landmarks: Points, audio: Waveform, lead_frames: int) -> Floats:
        """How well each frame fits the audio at each offset; more is better.

        Args:
            faces: (T, 112, 112, 3) uint8 RGB.
            landmarks: (T, 68, 2) px of the 112 px face.
            audio: 16 kHz mono, from ``lead_frames`` frames before the first face to about as many after the last.
            lead_frames: at least 15, but for a track at the beginning of its file.

        Returns:
            (T, 31) at offsets −15 … 15 frames, positive where the audio is later than the video; NaN: not known.
        """
        ...


@dataclass(frozen=True)
class SeenTrack:
    """A track as the decision sees it.

    Attributes:
        start: its first frame.
        face_px: how large it is.
        fits: (T, 31) how well its frames fit the audio.
        spoken: in how many of its frames speech is heard.
    """

    start: int
    face_px: float
    fits: Floats
    spoken: int

    @property
    def stop(self) -> int:
        return self.start + len(self.fits)

    @property
    def curve(self) -> Floats:
        """(31,) mean over the frames; 0 where nothing is known."""
        known = ~np.isnan(self.fits)
        return np.asarray(np.where(known, self.fits, 0).sum(axis=0) / np.maximum(1, known.sum(axis=0)), np.float32)

    def is_together_with(self, other: SeenTrack) -> bool:
        """Whether both are seen for half the time of the shorter one."""
        shared = min(self.stop, other.stop) - max(self.start, other.start)
        return shared >= TOGETHER * min(len(self.fits), len(other.fits))


@dataclass(frozen=True)
class FileOffset:
    """By how much the audio of a file is late, how sure that is, and whether that is sure enough to act on."""

    offset_s: float = 0.0
    confidence: float = 0.0
    sure: bool = False


@dataclass(frozen=True)
class Verdict:
    """How well a track fits the audio at the file's offset, and why it is left out, if it is."""

    confidence: float
    reason: Reason | None


def file_offset(tracks: Sequence[SeenTrack], scorer: SyncScorer) -> FileOffset:
    """One offset for the whole file: of faces seen together, only the one that fits best has a say."""
    voters = [
        each
        for each in tracks
        if not any(
            _confidence(other.curve) > _confidence(each.curve) and each.is_together_with(other) for other in tracks
        )
    ]
    frames = sum(len(each.fits) for each in voters)
    if not frames:
        return FileOffset()
    curve = np.sum([each.curve * len(each.fits) for each in voters], axis=0) / frames
    seconds, confidence = frames / FRAME_RATE_HZ, _confidence(curve)
    sure = seconds >= LEAST_SECONDS and confidence * np.sqrt(seconds) >= scorer.sure
    return FileOffset(round(offset_of(curve) / FRAME_RATE_HZ, 4), round(confidence, 4), bool(sure))


def assess(tracks: Sequence[SeenTrack], offset: FileOffset, scorer: SyncScorer) -> list[Verdict]:
    """Tell speakers from listeners and from voices off screen."""
    fits = [_fit(each, offset) for each in tracks]
    verdicts = []
    for track, fit in zip(tracks, fits, strict=True):
        rivals = [
            theirs
            for each, theirs in zip(tracks, fits, strict=True)
            if each is not track and each.is_together_with(track)
        ]
        best = max(rivals, default=-np.inf)
        reason = None
        if best >= fit + scorer.margin:
            reason = Reason.LISTENER
        elif best > fit - scorer.margin:
            reason = Reason.LOW_CONFIDENCE
        elif _fit_as_kept(track, offset) < scorer.least and track.spoken >= OFF_SCREEN_SECONDS * FRAME_RATE_HZ:
            reason = Reason.OFF_SCREEN
        verdicts.append(Verdict(round(fit, 4), reason))
    return verdicts


def assess_by_size(tracks: Sequence[SeenTrack]) -> list[Verdict]:
    """Where nothing is measured: of faces that are seen at the same time, the largest one speaks."""
    smaller = [
        any(each.is_together_with(track) and each.face_px > track.face_px for each in tracks) for track in tracks
    ]
    return [Verdict(0.0, Reason.LISTENER if each else None) for each in smaller]


def _fit(track: SeenTrack, offset: FileOffset) -> float:
    """How much better the track fits at the file's offset (±1) than elsewhere; anywhere, where that is not sure."""
    return _fit_as_kept(track, offset) if offset.sure else _confidence(track.curve)


def _fit_as_kept(track: SeenTrack, offset: FileOffset) -> float:
    """How much better the track fits the audio that it would be kept with: moved by a sure offset, else as it is."""
    curve = track.curve
    offset = offset if offset.sure else FileOffset()
    return float(curve[near(offset.offset_s * FRAME_RATE_HZ)].max() - np.median(curve))


def _confidence(curve: NDArray[np.floating]) -> float:
    """Maximum less median over the offsets: SyncNet's, of how well it fits instead of how far it is."""
    return float(curve.max() - np.median(curve))
