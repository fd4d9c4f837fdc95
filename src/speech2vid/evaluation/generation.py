"""Aligned faces generated with the code that ``talk`` runs: same engine, identity, voice, composing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from speech2vid.constants import MOUTH_POINTS, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.frontend import Still
from speech2vid.inference.fields import Floats, TalkerNetworks
from speech2vid.inference.identity import Identity, identity_of
from speech2vid.inference.shapes import ShapeStream, Silence, mouth_movements
from speech2vid.inference.talk import generate_frames
from speech2vid.records import Frames


class Speaker:
    """Somebody made to speak from stills. The first still is the picture that comes alive.

    Args:
        stills: one to five aligned faces, ascending by lip opening.
        networks: the talker's.
        silence: what the mouth does where nobody speaks, as in ``talk``.
    """

    def __init__(self, stills: Sequence[Still], networks: TalkerNetworks, silence: Silence = "hold") -> None:
        self.stills = tuple(stills)
        self._networks, self._silence = networks, silence
        self.identity: Identity = identity_of(stills[0], stills, networks)

    def says(self, track: Track, frames: int | None = None) -> Frames:
        """With the sound of ``track``, said again from its beginning until there are ``frames`` pictures."""
        movements = self._movements(track)
        wanted = len(track) if frames is None else frames
        return self._generate(movements[np.arange(wanted) % len(movements)])

    def says_nothing(self, frames: int) -> Frames:
        """With digital silence."""
        silence = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        stream = ShapeStream(self._networks.voice, self._silence)
        return self._generate(np.concatenate(list(mouth_movements([silence], stream))))

    def shows(self, track: Track) -> Frames:
        """With the true mouth shapes of ``track``: what the picture side could do if the sound side were perfect."""
        return self._generate(track.landmarks[:, MOUTH_POINTS] - self.identity.rest)

    def _movements(self, track: Track) -> Floats:
        stream = ShapeStream(self._networks.voice, self._silence)
        movements = np.concatenate(list(mouth_movements([track.sound_with_context], stream)))
        lead = track.record.sound_lead_frames
        return movements[lead : lead + len(track)]

    def _generate(self, movements: Floats) -> Frames:
        return np.stack(list(generate_frames(self.identity, self._networks, [movements])))
