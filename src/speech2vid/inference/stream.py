"""Audio that arrives bit by bit → frames, as soon as they can be known: the live form of ``talk``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from speech2vid.faces import face_models
from speech2vid.inference.compositing import Composer
from speech2vid.inference.head.drive import Drive, DriveStream
from speech2vid.inference.head.motion import HeadMotionStream
from speech2vid.inference.identity import make_identity
from speech2vid.inference.options import AnyPath, Silence, TalkOptions
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talk import face_paths, generate, hashes_of, motion_for, sharpener_for, talker_for, use_notes
from speech2vid.inference.talkers.base import Identity, Talker
from speech2vid.timing import Stopwatch
from speech2vid.types import Image, Waveform


class TalkStream:
    """The frames of :func:`speech2vid.talk`, made while the audio is still coming in.

    ::

        stream = TalkStream.of("photo.jpg")
        for chunk in microphone:  # (n,) float32 at 16 kHz
            for frame in stream.push(chunk):
                show(frame)
        for frame in stream.flush():
            show(frame)

    The same frames, however the audio is cut. Memory does not grow with the audio. Not for several threads at once.

    Args:
        identity: of :func:`speech2vid.make_identity`; may serve several streams.
        talker: of :func:`speech2vid.load_talker`; may serve several streams.
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
        talker: Talker,
        *,
        silence: Silence = "hold",
        block_frames: int = 1,
        sharpener: Sharpener | None = None,
        head: Callable[[], HeadMotionStream | None] | None = None,
    ) -> None:
        self.frames = 0
        self._head = head
        self._identity, self._talker = identity, talker
        self._silence, self._block_frames = silence, block_frames
        self._composer = Composer(identity, sharpener)
        self._audio = self._listen()

    @classmethod
    def of(
        cls,
        face: AnyPath | Sequence[AnyPath],
        options: TalkOptions | None = None,
        *,
        talker: Talker | None = None,
        **settings: Any,
    ) -> TalkStream:
        """Return a stream for the face in these photos, or in this video; arguments and errors as ``talk``."""
        chosen = TalkOptions.of(options, settings)
        sharpener, motion = sharpener_for(chosen), motion_for(chosen)
        if talker is None:
            talker = talker_for(chosen)
            use_notes(chosen, hashes_of(talker, sharpener, motion), "talk")
        identity = make_identity(
            face_paths(face),
            talker,
            crop=chosen.crop,
            face_index=chosen.face_index,
            max_size_px=chosen.max_size_px,
            models=face_models(chosen.landmarks),
        )
        head = None if motion is None else partial(motion.stream, chosen.motion, chosen.seed)
        return cls(identity, talker, silence=chosen.silence, sharpener=sharpener, head=head)

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

    def push(self, samples: Waveform) -> list[Image]:
        """Take the next samples, (n,) float at 16 kHz in −1–1; return the frames now known, (H, W, 3) uint8 RGB.

        A second of audio gives 25 frames, all in memory: cut long recordings.

        Raises:
            ValueError: not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        return self._generate(self._audio.push(samples))

    def flush(self) -> list[Image]:
        """Return the last frames: seconds × 25, rounded, in all. The stream is then ready for another recording."""
        frames = self._generate(self._audio.flush())
        self._audio = self._listen()
        self.frames = 0
        return frames

    def _listen(self) -> DriveStream:
        return DriveStream(self._talker.audio_stream(self._silence, self._block_frames), self._head and self._head())

    def _generate(self, drive: Drive) -> list[Image]:
        self.frames += len(drive)
        blocks = generate(self._identity, self._talker, [drive], Stopwatch())
        return [frame for block in blocks for frame in self._composer.frames(block)]
