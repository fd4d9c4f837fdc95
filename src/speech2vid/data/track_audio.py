"""The audio that belongs to a track, cut out of its file without holding all of it."""

from __future__ import annotations

import numpy as np

from speech2vid.constants import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from speech2vid.data.records import FaceTrack, Reason, TrackAudio
from speech2vid.data.rejected import Rejected
from speech2vid.errors import MediaError
from speech2vid.faces.sync import MAX_OFFSET_FRAMES
from speech2vid.media import AnyPath, MediaFile, read_audio
from speech2vid.types import Waveform

MIN_TRACK_FRAMES = 15  # 0.6 s: a shorter track holds no still away from the target
CONTEXT_FRAMES = 8  # 0.32 s of audio on either side of a track: more than half of a window
KEPT_SAMPLES = 90 * SAMPLE_RATE_HZ  # longer than a track and its context
FULL_SCALE = 32767


class AudioCutter:
    """Reads the audio of a file once, forwards; a cut may begin up to 90 s before the end of the last one."""

    def __init__(self, source: AnyPath | MediaFile) -> None:
        self._chunks = read_audio(source)
        self._held = np.empty(0, np.float32)
        self._first = 0  # number of the sample at _held[0]

    def cut(self, start: int, frames: int, context: int = CONTEXT_FRAMES) -> TrackAudio:
        """The audio of ``frames`` video frames from number ``start`` on, with context; shorter where the audio ends.

        Raises:
            MediaError: none of the file's audio can be decoded.
        """
        begin = max(0, start - context)
        end = start + frames + context
        waveform = self._read(begin * SAMPLES_PER_FRAME, end * SAMPLES_PER_FRAME)
        samples = np.rint(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)
        return TrackAudio(np.pad(samples, (0, -len(samples) % SAMPLES_PER_FRAME)), start - begin)

    def _read(self, start: int, stop: int) -> Waveform:
        assert start >= self._first, "a cut begins too long before the last one"
        while self._first + len(self._held) < stop:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._held = np.concatenate([self._held, chunk])
            self._drop_before(stop - KEPT_SAMPLES)
        return self._held[max(0, start - self._first) : max(0, stop - self._first)]

    def _drop_before(self, start: int) -> None:
        gone = min(len(self._held), max(0, start - self._first))
        self._held = self._held[gone:]
        self._first += gone


def hear(track: FaceTrack, cutter: AudioCutter) -> TrackAudio:
    """The audio around a track, with room for every offset.

    Raises:
        Dropped: there is none while the face is seen, or digital silence.
    """
    try:
        audio = cutter.cut(track.start, len(track), CONTEXT_FRAMES + MAX_OFFSET_FRAMES + 1)
    except MediaError as error:
        raise Rejected(Reason.NO_AUDIO, error.message) from error
    if len(audio.samples) <= audio.lead_frames * SAMPLES_PER_FRAME:
        raise Rejected(Reason.NO_AUDIO, "the audio ends before the face appears")
    if not audio.samples.any():
        raise Rejected(Reason.SILENT, "the audio is digital silence while the face is visible")
    return audio


def join_audio(track: FaceTrack, audio: TrackAudio, offset_s: float) -> tuple[FaceTrack, TrackAudio]:
    """Give a track the audio that is ``offset_s`` later than it, to the sample. Frames without audio are left out.

    Raises:
        Dropped: no audio for the face, digital silence, or a track that is too short.
    """
    frames, samples_more = divmod(round(offset_s * SAMPLE_RATE_HZ), SAMPLES_PER_FRAME)
    samples = audio.samples[samples_more:]  # from here on, frames of the audio are those of the image
    there = len(samples) // SAMPLES_PER_FRAME
    begin = audio.lead_frames + frames  # frame of the audio that goes with the first image
    first, last = max(0, -begin), min(len(track), there - begin)
    if last <= first:
        raise Rejected(Reason.NO_AUDIO, "the audio ends before the face appears")
    if last - first < MIN_TRACK_FRAMES:
        raise Rejected(
            Reason.TOO_SHORT,
            f"the face is visible with audio for {last - first} frames; at least {MIN_TRACK_FRAMES} are required",
        )
    begin += first
    lead = min(CONTEXT_FRAMES, begin)
    stop = min(there, begin + last - first + CONTEXT_FRAMES)
    samples = samples[(begin - lead) * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
    if not samples[lead * SAMPLES_PER_FRAME : (lead + last - first) * SAMPLES_PER_FRAME].any():
        raise Rejected(Reason.SILENT, "the audio is digital silence while the face is visible")
    return track.between(first, last), TrackAudio(samples, lead)
