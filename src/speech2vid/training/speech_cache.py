"""Speech features of training tracks and of changed copies of their audio, computed once and kept in files."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.files import atomic_write
from speech2vid.inference.speech_features import speech_features
from speech2vid.runtime.engine import RunnableGraph
from speech2vid.training.audio_augment import degraded, revoiced
from speech2vid.training.dataset import TrainingTrack
from speech2vid.types import Waveform

TOKENS_AFTER = 64  # of silence, past the end of a track
TOKENS_PER_FRAME = 2
LEAD_FRAMES = 100  # a copy's audio begins within so many frames of the encoder's grid
COPIES = ("clean", "degraded", "revoiced")
VOICE_CHANGE = (0.05, 0.16)  # natural logarithm of the factor on all frequencies, up or down

Tokens = NDArray[np.float16]


@dataclass(frozen=True)
class AudioCopy:
    """A version of a track's audio.

    Attributes:
        name: one of ``COPIES``.
        audio: (n,) float32 at 16 kHz.
        rate: seconds of the copy per second of the track.
        lead_frames: frames of silence before it on the encoder's grid, so that its positions differ.
    """

    name: str
    audio: Waveform
    rate: float = 1.0
    lead_frames: int = 0


def audio_copies(track: TrainingTrack, names: tuple[str, ...] = COPIES) -> list[AudioCopy]:
    """Return versions of a track's audio; the same in every run."""
    found = []
    for name in names:
        rng = np.random.default_rng([zlib.crc32(track.key.encode()), COPIES.index(name)])
        if name == "clean":
            found.append(AudioCopy(name, track.audio))
        elif name == "degraded":
            found.append(AudioCopy(name, degraded(track.audio, rng), lead_frames=int(rng.integers(LEAD_FRAMES))))
        else:
            factor = float(np.exp(rng.choice([-1, 1]) * rng.uniform(*VOICE_CHANGE)))
            audio = revoiced(track.audio, factor)
            found.append(AudioCopy(name, audio, len(audio) / len(track.audio), int(rng.integers(LEAD_FRAMES))))
    return found


class SpeechFeatureCache:
    """Speech features of copies of tracks, from files where they are there.

    Args:
        encoder: graph ``features`` of a ``speech_encoder``.
        folder: of the files; None keeps none.
    """

    def __init__(self, encoder: RunnableGraph, folder: Path | None = None) -> None:
        self._encoder = encoder
        self._folder = folder / encoder.header.sha256[:16] if folder else None

    def tokens(self, track: TrainingTrack, copy: AudioCopy) -> Tokens:
        """Return the tokens of a copy, (m, C): token 0 is centred on its first sample; silence follows its end."""
        path = self._folder / f"{track.key}.{copy.name}.npy" if self._folder else None
        if path and path.is_file():
            stored: Tokens = np.load(path, allow_pickle=False)
            return stored
        audio = np.concatenate([np.zeros(copy.lead_frames * SAMPLES_PER_FRAME, np.float32), copy.audio])
        tokens = speech_features(self._encoder, audio, TOKENS_AFTER)[copy.lead_frames * TOKENS_PER_FRAME :]
        half = tokens.astype(np.float16)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            blob = io.BytesIO()
            np.save(blob, half)
            atomic_write(path, blob.getvalue())
        return half
