"""What makes the images that are measured: any weights behind one interface, and the warp talker's form of it.

A :class:`Generator` is a set of weights; a :class:`Speaker` is a person made of stills with them. Whatever the weights,
frames are (T, 112, 112, 3) uint8 RGB in the frame of the aligned face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, MOUTH_POINTS, SAMPLES_PER_FRAME, TARGET_OFFSET_PX, TARGET_PX
from speech2vid.data.records import Track
from speech2vid.faces import Still
from speech2vid.inference.identity import Identity, identity_of
from speech2vid.inference.mouth_motion import MouthMotionStream, Silence, predict_mouth_motion
from speech2vid.inference.talk import generate_frames
from speech2vid.inference.talkers.warp import TalkerNetworks
from speech2vid.types import Floats, Frames


class Speaker(Protocol):
    """Somebody made to speak from stills.

    Attributes:
        stills: the first is the image that comes alive; ascending by lip opening.
        for_chance: whether another clip's audio is tried too, which says what chance is for these weights.
    """

    stills: tuple[Still, ...]
    for_chance: bool

    def says(self, track: Track, frames: int | None = None) -> Frames:
        """With the audio of ``track``, said again from its beginning until there are ``frames`` images."""
        ...

    def says_nothing(self, frames: int) -> Frames:
        """With digital silence."""
        ...


@runtime_checkable
class MotionSpeaker(Protocol):
    """A speaker that can also be given mouth motion."""

    def shows(self, track: Track) -> Frames:
        """With the true mouth shapes of ``track``: what the image side could do if the audio side were perfect."""
        ...


class Generator(Protocol):
    """A set of weights.

    Attributes:
        name: what the tables call it.
    """

    name: str

    def speaker(self, stills: Sequence[Still]) -> Speaker:
        """A person of one to five stills, ascending by lip opening."""
        ...


class WarpGenerator:
    """The warp talker, with the code that ``talk`` runs: same engine, identity, voice, composing.

    Args:
        networks: the talker's.
        silence: what the mouth does where nobody speaks, as in ``talk``.
    """

    def __init__(self, networks: TalkerNetworks, silence: Silence = "hold", name: str = "warp") -> None:
        self.networks, self.silence, self.name = networks, silence, name

    def speaker(self, stills: Sequence[Still]) -> WarpSpeaker:
        return WarpSpeaker(stills, self.networks, self.silence)


class WarpSpeaker:
    """See :class:`Speaker` and :class:`MotionSpeaker`."""

    for_chance = True

    def __init__(self, stills: Sequence[Still], networks: TalkerNetworks, silence: Silence = "hold") -> None:
        self.stills = tuple(stills)
        self._networks, self._silence = networks, silence
        self.identity: Identity = identity_of(stills[0], stills, networks)

    def says(self, track: Track, frames: int | None = None) -> Frames:
        motions = track_motion(track, self._networks, self._silence)
        return self._generate(motions[repeating(len(motions), len(track) if frames is None else frames)])

    def says_nothing(self, frames: int) -> Frames:
        silence = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        stream = MouthMotionStream(self._networks.audio_to_mouth, self._silence)
        return self._generate(np.concatenate(list(predict_mouth_motion([silence], stream))))

    def shows(self, track: Track) -> Frames:
        return self._generate(track.landmarks[:, MOUTH_POINTS] - self.identity.neutral_mouth)

    def _generate(self, motions: Floats) -> Frames:
        return np.stack(list(generate_frames(self.identity, self._networks, [motions])))


def track_motion(track: Track, networks: TalkerNetworks, silence: Silence) -> Floats:
    """What the voice network hears in a track's audio: (T, 20, 2), px relative to rest."""
    stream = MouthMotionStream(networks.audio_to_mouth, silence)
    motions = np.concatenate(list(predict_mouth_motion([track.audio_with_context], stream)))
    lead = track.record.audio_lead_frames
    return motions[lead : lead + len(track)]


def framed(faces: NDArray[np.floating]) -> Frames:
    """Faces as the paper's networks make them → frames of the aligned face, the missing border repeated from the edge.

    Args:
        faces: (T, 3, 109, 109) RGB in [0, 1].

    Returns:
        (T, 112, 112, 3) uint8.
    """
    if faces.shape[1:] != (3, TARGET_PX, TARGET_PX):
        raise ValueError(f"faces must be (T, 3, {TARGET_PX}, {TARGET_PX}), not {faces.shape}")
    images = np.rint(faces.transpose(0, 2, 3, 1) * 255).clip(0, 255).astype(np.uint8)
    border = (TARGET_OFFSET_PX, FACE_PX - TARGET_PX - TARGET_OFFSET_PX)
    return np.pad(images, ((0, 0), border, border, (0, 0)), mode="edge")


def repeating(length: int, wanted: int) -> NDArray[np.int64]:
    """Numbers of ``wanted`` frames: from the beginning again when ``length`` are through."""
    return np.arange(wanted) % length
