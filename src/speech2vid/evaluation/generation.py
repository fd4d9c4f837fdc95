"""Generates the frames that are measured: any talker, with the code that ``talk`` runs.

A :class:`Generator` is a talker under the name that the tables call it; a :class:`Speaker` is a person made of stills
with it. Whatever the talker, frames are (T, 112, 112, 3) uint8 RGB in the frame of the aligned face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import MOUTH_POINTS, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.faces import Still
from speech2vid.inference.audio_stream import AudioStream, drive_of
from speech2vid.inference.options import Silence
from speech2vid.inference.talk import generate_frames
from speech2vid.inference.talkers.base import Canvas, Identity, Talker
from speech2vid.types import Floats, Frames


class Speaker(Protocol):
    """Somebody made to speak from stills.

    Attributes:
        stills: the first is the image that is animated; ascending by lip opening.
        for_chance: whether another clip's audio is tried too, which says what chance is for these weights.
    """

    stills: tuple[Still, ...]
    for_chance: bool

    def says(self, track: Track, frames: int | None = None) -> Frames:
        """Return frames with the audio of ``track``, repeated from its beginning until there are ``frames``."""
        ...

    def says_nothing(self, frames: int) -> Frames:
        """Return frames with digital silence."""
        ...


@runtime_checkable
class MotionSpeaker(Protocol):
    """A speaker that mouth shapes can drive as well."""

    def shows(self, track: Track) -> Frames:
        """Return frames with the true mouth shapes of ``track``: what the image side could do with perfect audio."""
        ...


class Generator:
    """A talker to be measured.

    Args:
        talker: of :func:`speech2vid.load_talker`.
        silence: policy for silence, ``hold`` or ``follow``, as in ``talk``.
        name: what the tables call it; that of the talker by default.
        method: how it was asked for (``generator`` of :func:`speech2vid.load_talker`).
    """

    def __init__(self, talker: Talker, silence: Silence = "hold", name: str = "", method: str = "") -> None:
        self.talker, self.silence, self.name, self.method = talker, silence, name or talker.name, method

    def speaker(self, stills: Sequence[Still]) -> Speaker:
        """Return a person of one to five stills, ascending by lip opening."""
        takes_mouths = type(self.talker).drive_of_mouths is not Talker.drive_of_mouths
        kind = DrivenSpeaker if takes_mouths else TalkerSpeaker
        return kind(stills, self.talker, self.silence)


class TalkerSpeaker:
    """See :class:`Speaker`: the first still is the canvas, and a generated face takes the place of all of it."""

    for_chance = True

    def __init__(self, stills: Sequence[Still], talker: Talker, silence: Silence = "hold") -> None:
        self.stills = tuple(stills)
        self._talker, self._silence = talker, silence
        canvas = Canvas(stills[0].image, stills[0].transform, stills[0], crop=True)
        self.identity: Identity = talker.prepare(canvas, stills)

    def says(self, track: Track, frames: int | None = None) -> Frames:
        """See :class:`Speaker`."""
        drive = track_drive(track, self._talker.audio_stream(self._silence))
        return self._generate(drive[repeating(len(drive), len(track) if frames is None else frames)])

    def says_nothing(self, frames: int) -> Frames:
        """See :class:`Speaker`."""
        silence = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        return self._generate(np.concatenate(list(drive_of([silence], self._talker.audio_stream(self._silence)))))

    def _generate(self, drive: Floats) -> Frames:
        return np.stack(list(generate_frames(self.identity, self._talker, [drive])))


class DrivenSpeaker(TalkerSpeaker):
    """See :class:`MotionSpeaker`."""

    def shows(self, track: Track) -> Frames:
        """See :class:`MotionSpeaker`."""
        drive = self._talker.drive_of_mouths(self.identity, track.landmarks[:, MOUTH_POINTS])
        assert drive is not None
        return self._generate(drive)


def track_drive(track: Track, stream: AudioStream) -> Floats:
    """Return the driving values of a track's frames, (T, …), from its audio and what surrounds it."""
    drive = np.concatenate(list(drive_of([track.audio_with_context], stream)))
    lead = track.record.audio_lead_frames
    return drive[lead : lead + len(track)]


def repeating(length: int, wanted: int) -> NDArray[np.int64]:
    """Return the numbers of ``wanted`` frames: from the beginning again when ``length`` are through."""
    return np.arange(wanted) % length
