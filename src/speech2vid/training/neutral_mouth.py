"""A person's neutral (closed) mouth, estimated from any one still by ridge regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, LANDMARKS, MOUTH_COUNT, MOUTH_POINTS
from speech2vid.training.dataset import TrackSet, TrainingTrack

CLOSED_SHARE = 0.15  # of a speaker's frames, those with the least open lips, show the closed mouth
STILLS_A_SPEAKER = 150
RIDGE = 0.1


def closed_mouths(tracks: TrackSet) -> dict[str, NDArray[np.float32]]:
    """Return track → (20, 2) px: its speaker's closed mouth, shifted to where the mouth is on this track."""
    closed = {}
    for own in tracks.by_speaker.values():
        offset = closed_offset(own)
        for track in own:
            closed[track.key] = track.landmarks[:, MOUTH_POINTS].mean(axis=0) + offset
    return closed


def closed_offset(own: list[TrainingTrack]) -> NDArray[np.float32]:
    """Return (20, 2) px: a speaker's closed mouth minus the mean mouth."""
    mouths = np.concatenate([track.landmarks[:, MOUTH_POINTS] for track in own])
    openings = np.concatenate([track.opening for track in own])
    rest = mouths[openings <= np.quantile(openings, CLOSED_SHARE)].mean(axis=0)
    offset: NDArray[np.float32] = rest - mouths.mean(axis=0)
    return offset


def mean_speech(tracks: TrackSet) -> NDArray[np.float32]:
    """Return (20, 2) px: the mean mouth in speech, relative to the closed mouth, over the speakers."""
    offsets = [-closed_offset(own) for own in tracks.by_speaker.values()]
    return np.asarray(np.mean(offsets, axis=0), np.float32)


def fit_neutral_mouth(tracks: TrackSet, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return weights (40, 137): 136 aligned landmark coordinates / 112 and a constant 1 → the closed mouth, px."""
    closed = closed_mouths(tracks)
    known, wanted = [], []
    for own in tracks.by_speaker.values():
        for _ in range(STILLS_A_SPEAKER):
            track = own[rng.integers(len(own))]
            landmarks = track.landmarks[rng.integers(len(track))]
            known.append(np.append(landmarks.reshape(2 * LANDMARKS) / FACE_PX, 1.0))
            wanted.append(closed[track.key].reshape(2 * MOUTH_COUNT))
    x, y = np.array(known, np.float64), np.array(wanted, np.float64)
    ridge = RIDGE * np.eye(x.shape[1])
    ridge[-1, -1] = 0.0
    return np.linalg.solve(x.T @ x + ridge, x.T @ y).T.astype(np.float32)
