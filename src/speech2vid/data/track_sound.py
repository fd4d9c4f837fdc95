"""The sound that belongs to a track, cut out of its file without holding all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.data.dropped import Dropped
from speech2vid.data.records import FaceTrack, Reason, TrackSound
from speech2vid.errors import MediaError
from speech2vid.media import read_audio
from speech2vid.records import Waveform

MIN_TRACK_FRAMES = 15  # 0.6 s: a shorter track holds no still away from the target
CONTEXT_FRAMES = 8  # 0.32 s of sound on either side of a track: more than half of a window
FULL_SCALE = 32767


class SoundCutter:
    """Reads the sound of a file once, forwards: cuts must be asked for in order of time."""

    def __init__(self, path: Path) -> None:
        self._chunks = read_audio(path)
        self._held = np.empty(0, np.float32)
        self._first = 0  # number of the sample at _held[0]

    def cut(self, start: int, frames: int) -> TrackSound:
        """The sound of ``frames`` video frames from number ``start`` on, with context; shorter where the sound ends.

        Raises:
            MediaError: none of the file's sound can be decoded.
        """
        begin = max(0, start - CONTEXT_FRAMES)
        end = start + frames + CONTEXT_FRAMES
        waveform = self._read(begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
        samples = np.rint(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)
        return TrackSound(np.pad(samples, (0, -len(samples) % SAMPLES_PER_FRAME)), start - begin)

    def _read(self, start: int, stop: int) -> Waveform:
        self._drop_before(start)
        while self._first + len(self._held) < stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held = np.concatenate([self._held, chunk])
            self._drop_before(start)
        return self._held[: max(0, stop - self._first)]

    def _drop_before(self, start: int) -> None:
        gone = min(len(self._held), max(0, start - self._first))
        self._held = self._held[gone:]
        self._first += gone


def cut_sound(track: FaceTrack, cutter: SoundCutter) -> tuple[FaceTrack, TrackSound]:
    """Give a track its sound. Frames after the end of the sound are left out.

    Raises:
        Dropped: no sound while the face is seen, digital silence, or a track that is too short.
    """
    try:
        sound = cutter.cut(track.start, len(track.pictures))
    except MediaError as error:
        raise Dropped(Reason.NO_SOUND, error.message) from error
    begin = sound.lead_frames * SAMPLES_PER_FRAME
    own = sound.samples[begin : begin + len(track.pictures) * SAMPLES_PER_FRAME]
    frames = len(own) // SAMPLES_PER_FRAME
    if not frames:
        raise Dropped(Reason.NO_SOUND, "the sound ends before the face is seen")
    if frames < MIN_TRACK_FRAMES:
        raise Dropped(Reason.TOO_SHORT, f"a face with sound for {frames} frames; {MIN_TRACK_FRAMES} are needed")
    if not own.any():
        raise Dropped(Reason.SILENT, "the sound is digital silence while the face is seen")
    return track.first(frames), sound
