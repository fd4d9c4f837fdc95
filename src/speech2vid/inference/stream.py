"""Audio that arrives bit by bit → frames, as soon as they can be known: the live form of ``talk``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError, MediaError
from speech2vid.inference.compositing import Composer
from speech2vid.inference.head.drive import Drive, DriveStream
from speech2vid.inference.head.motion import HeadMotionStream
from speech2vid.inference.head.samplers import motion_for
from speech2vid.inference.identity import AnyFace, make_identity
from speech2vid.inference.options import Silence, TalkOptions
from speech2vid.inference.sharpening import Sharpener, sharpener_for
from speech2vid.inference.talk import generate, log_notes
from speech2vid.inference.talkers.base import Identity, Talker
from speech2vid.media import LOUDEST_FLOAT, MonoResampler
from speech2vid.timing import Stopwatch
from speech2vid.types import Image, Waveform

INT16_FULL_SCALE = 2.0**15


class TalkStream:
    """The frames of :func:`speech2vid.talk`, made while the audio is still coming in.

    ::

        stream = TalkStream.of("photo.jpg", rate_hz=48_000)
        for chunk in microphone:  # (n,) float32 or int16
            for frame in stream.push(chunk):
                show(frame)
        for frame in stream.flush():
            show(frame)

    The same frames, however the audio is cut. Memory does not grow with the audio. Not for several threads at once.

    Args:
        identity: of :func:`speech2vid.make_identity`; may serve several streams.
        talker: of :func:`speech2vid.load_talker`; may serve several streams. By default the one that prepared the
            identity.
        rate_hz: of the samples that are pushed.
        silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` lets it follow all audio.
        block_frames: frames computed at once. 1 has the shortest delay, more take less work.
        sharpener: sharpens the generated faces.
        head: returns a new stream of head motion for a recording, such as :meth:`MotionNetwork.stream
            <speech2vid.inference.head.samplers.MotionNetwork.stream>` with its arguments; None for a still head.

    Attributes:
        frames: frames returned so far; the next one is shown from frames/25 s to (frames + 1)/25 s.
    """

    def __init__(
        self,
        identity: Identity,
        talker: Talker | None = None,
        *,
        rate_hz: int = SAMPLE_RATE_HZ,
        silence: Silence = "hold",
        block_frames: int = 1,
        sharpener: Sharpener | None = None,
        head: Callable[[], HeadMotionStream | None] | None = None,
    ) -> None:
        talker = talker or identity.talker
        if talker is None:
            raise ConfigError("the identity has no talker", "give the talker that prepared it")
        if rate_hz <= 0:
            raise ConfigError(f"rate_hz cannot be {rate_hz!r}", "give the number of samples per second")
        self.frames = 0
        self._head = head
        self._identity, self._talker, self._rate_hz = identity, talker, rate_hz
        self._silence, self._block_frames = silence, block_frames
        self._composer = Composer(identity, sharpener)
        self._audio = self._listen()

    @classmethod
    def of(
        cls,
        face: AnyFace,
        options: TalkOptions | None = None,
        *,
        talker: Talker | None = None,
        rate_hz: int = SAMPLE_RATE_HZ,
        **settings: Any,
    ) -> TalkStream:
        """Return a stream for the face in these photos or in this video; arguments and errors as ``talk``."""
        chosen = TalkOptions.of(options, settings)
        sharpener, motion = sharpener_for(chosen), motion_for(chosen)
        identity = make_identity(face, talker, chosen)
        log_notes(identity.notes)
        head = None if motion is None else partial(motion.stream, chosen.motion, chosen.seed)
        return cls(identity, talker, rate_hz=rate_hz, silence=chosen.silence, sharpener=sharpener, head=head)

    @property
    def latency_s(self) -> float:
        """Return how long after a sound its frame can be known: the networks look that far ahead.

        A frame is returned by the ``push`` with which the audio reaches ``latency_s`` past the frame's middle, at the
        latest. The time that ``push`` takes comes on top.
        """
        return self._audio.latency_s

    @property
    def size_px(self) -> tuple[int, int]:
        """Return width and height of the frames."""
        height, width = self._identity.canvas.shape[:2]
        return width, height

    def push(self, samples: NDArray[Any]) -> list[Image]:
        """Take the next samples, return the frames now known, (H, W, 3) uint8 RGB.

        A second of audio gives 25 frames, all in memory: cut long recordings.

        Args:
            samples: (n,) mono at ``rate_hz``: int16, or floating point in −1–1.

        Raises:
            ConfigError: an array of another shape or type, or of integers stored as floating point.
            MediaError: a sample is not a finite number.
        """
        return self._generate(
            [self._audio.push(part) for part in self._resampler.push(_floats(samples), self._rate_hz)]
        )

    def flush(self) -> list[Image]:
        """Return the last frames: seconds × 25, rounded, in all. The stream is then ready for another recording."""
        parts = [self._audio.push(part) for part in self._resampler.flush()]
        frames = self._generate([*parts, self._audio.flush()])
        self._audio = self._listen()
        self.frames = 0
        return frames

    def _listen(self) -> DriveStream:
        self._resampler = MonoResampler(SAMPLE_RATE_HZ)
        return DriveStream(self._talker.audio_stream(self._silence, self._block_frames), self._head and self._head())

    def _generate(self, drives: list[Drive]) -> list[Image]:
        self.frames += sum(map(len, drives))
        blocks = generate(self._identity, self._talker, drives, Stopwatch())
        return [frame for block in blocks for frame in self._composer.frames(block)]


def _floats(samples: NDArray[Any]) -> Waveform:
    """Return samples as float32 in −1–1; errors as :meth:`TalkStream.push`."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
        raise ConfigError(
            f"the samples are an array of shape {samples.shape} and type {samples.dtype}",
            "give (n,) mono, int16 or floating point in −1–1",
        )
    if samples.dtype == np.int16:
        return np.asarray(samples / INT16_FULL_SCALE, np.float32)
    if not np.isfinite(samples).all():
        raise MediaError("the samples hold values that are not finite numbers", "replace NaN and infinity by 0")
    if np.abs(samples).max(initial=0) > LOUDEST_FLOAT:
        raise ConfigError("the samples go far beyond ±1: they are integers", "divide them by 32768, or give int16")
    return np.asarray(samples, np.float32)
