"""A floor under the shipped weights: lips follow the audio, wide enough, and the face stays the person's.

The limits lie a little below what the weights of today reach on the demo's photo and speech. A still image and the
audio in another order must stay below them, or the test measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from speech2vid import talk
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.data.records import Track
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.faces import aligned_track, choose_face, lip_opening
from speech2vid.faces.embedding import embed, face_chip
from speech2vid.inference.audio_stream import drive_of
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.media import VideoReader, load_audio, load_photo
from speech2vid.types import Floats, Image, Waveform

pytestmark = [pytest.mark.slow, pytest.mark.promise]

SECONDS = 5
LEAST_CORRELATION = 0.93  # today 0.966; 0.03 with the audio in another order
LEAST_AMPLITUDE = 0.9  # today 1.04 of what is requested
MOST_DISTANCE = 0.42  # today 0.389: the mouth of the photo smiles, and embeddings see it
UPPER, LOWER = (13, 14, 15), (17, 18, 19)  # inner lips, of the 20 mouth points


@dataclass(frozen=True)
class Shown:
    """A video measured: lip openings, (T,) px of the aligned face, and mean distance of its faces to the photo's."""

    opening: Floats
    distance: float


def measure(frames: Sequence[Image], photo: Path) -> Shown:
    tracked = list(aligned_track(frames, choose_face(frames[0], "frame").box))
    opening = lip_opening(np.stack([each.aligned.landmarks for each in tracked]))
    return Shown(opening, distance_to(photo, [face_chip(each.image, each.landmarks) for each in tracked[::10]]))


def distance_to(photo: Path, chips: Sequence[Image]) -> float:
    image = load_photo(photo)
    own = embed([face_chip(image, choose_face(image, photo).landmarks)])
    return float(np.linalg.norm(embed(chips) - own, axis=1).mean())


def requested_opening(audio: Waveform) -> Floats:
    """Return the lip opening that the shipped weights ask for, (T,) px of the aligned face relative to rest."""
    networks = load_talker()
    assert isinstance(networks, WarpNetworks)
    moved = np.concatenate(list(drive_of([audio], networks.audio_stream())))[..., 1]
    return np.asarray(moved[:, LOWER].mean(axis=1) - moved[:, UPPER].mean(axis=1))


def reordered(audio: Waveform) -> Waveform:
    """Return the audio from 1.5 s on, then its first 1.5 s."""
    return np.roll(audio, -SAMPLE_RATE_HZ * 3 // 2)


@pytest.fixture(scope="module")
def waveform(speech: Path) -> Waveform:
    return load_audio(speech)[: SECONDS * SAMPLE_RATE_HZ]


@pytest.fixture(scope="module")
def requested(waveform: Waveform) -> Floats:
    return requested_opening(waveform)


@pytest.fixture(scope="module")
def shown(photo: Path, cut_speech: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("talk")
    talk(photo, cut_speech(folder / "speech.wav", SECONDS), folder / "talk.mp4")
    return measure([frame.image for frame in VideoReader(folder / "talk.mp4")], photo)


@pytest.fixture(scope="module")
def still(photo: Path, shown: Shown) -> Shown:
    """The photo for as long."""
    once = measure([load_photo(photo)], photo)
    return replace(once, opening=np.repeat(once.opening, len(shown.opening)))


def test_lips_follow_the_audio(shown: Shown, still: Shown, requested: Floats, waveform: Waveform) -> None:
    assert correlation(shown.opening, requested) > LEAST_CORRELATION
    assert correlation(shown.opening, requested_opening(reordered(waveform))) < LEAST_CORRELATION / 2
    assert correlation(still.opening, requested) < LEAST_CORRELATION / 2


def test_lips_open_as_wide_as_requested(shown: Shown, still: Shown, requested: Floats) -> None:
    assert shown.opening.std() > LEAST_AMPLITUDE * requested.std()
    assert still.opening.std() < LEAST_AMPLITUDE * requested.std() / 2


def test_the_face_stays_the_persons(
    shown: Shown, still: Shown, photo: Path, drawn_tracks: Callable[..., list[Track]]
) -> None:
    (other,) = drawn_tracks(1, 1)
    assert still.distance < 0.05
    assert shown.distance < MOST_DISTANCE
    assert distance_to(photo, [face_chip(other.frames[0], other.landmarks[0])]) > 1.3 * MOST_DISTANCE
