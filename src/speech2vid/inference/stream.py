"""Audio that arrives bit by bit → frames, as soon as they can be known: the live form of ``talk``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from speech2vid.inference.compositing import Composer
from speech2vid.inference.identity import MAX_SIZE_PX, Identity, make_identity
from speech2vid.inference.mouth_motion import MouthMotionStream, Silence
from speech2vid.inference.talk import face_paths, predict
from speech2vid.inference.talkers.warp import TalkerNetworks
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image, Waveform


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
        networks: the talker's; may serve several streams.
        silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` lets it follow all audio.
        block_frames: frames computed at once. 1 has the shortest delay, more take less work.

    Attributes:
        frames: frames returned so far; the next one is shown from frames/25 s to (frames + 1)/25 s.
    """

    def __init__(
        self, identity: Identity, networks: TalkerNetworks, *, silence: Silence = "hold", block_frames: int = 1
    ) -> None:
        self.frames = 0
        self._identity, self._networks = identity, networks
        self._silence, self._block_frames = silence, block_frames
        self._composer = Composer(identity)
        self._motion = self._listen()

    @classmethod
    def of(
        cls,
        face: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        crop: bool = False,
        silence: Silence = "hold",
        face_index: int | None = None,
        max_size_px: int = MAX_SIZE_PX,
        device: str = "auto",
        weights: str | PathLike[str] | None = None,
    ) -> TalkStream:
        """A stream for the face in these photos, or in this video. Arguments and errors as :func:`speech2vid.talk`."""
        networks = TalkerNetworks(None if weights is None else Path(weights), device)
        identity = make_identity(face_paths(face), networks, crop=crop, face_index=face_index, max_size_px=max_size_px)
        return cls(identity, networks, silence=silence)

    @property
    def latency_s(self) -> float:
        """How long after a recording its frame can be known: the networks look so far ahead.

        A frame is returned by the ``push`` with which the audio reaches ``latency_s`` past the frame's middle,
        at the latest. The time that ``push`` takes comes on top.
        """
        return self._motion.latency_s

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the frames."""
        height, width = self._identity.canvas.shape[:2]
        return width, height

    def push(self, samples: Waveform) -> list[Image]:
        """Take the next samples, (n,) float at 16 kHz in −1–1; return the frames now known, (H, W, 3) uint8 RGB.

        A second of audio gives 25 frames, all in memory: cut long sounds.

        Raises:
            ValueError: not one-dimensional floating point.
            MediaError: a sample is not a finite number.
        """
        return self._frames(self._motion.push(samples))

    def flush(self) -> list[Image]:
        """The last frames: round(seconds × 25) in all. The stream is then ready for another recording."""
        frames = self._frames(self._motion.flush())
        self._motion = self._listen()
        self.frames = 0
        return frames

    def _listen(self) -> MouthMotionStream:
        return MouthMotionStream(self._networks.audio_to_mouth, self._silence, self._block_frames)

    def _frames(self, motions: Floats) -> list[Image]:
        self.frames += len(motions)
        fields = predict(self._identity, self._networks, [motions], Stopwatch())
        return [frame for block in fields for frame in self._composer.frames(block)]
