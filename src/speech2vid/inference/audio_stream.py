"""Audio that arrives in chunks → one row of driving values for each video frame: what every talker is driven by."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar, get_args

import numpy as np

from speech2vid.audio.mfcc import FeatureStream, silent_features
from speech2vid.audio.windows import FrameWindows, frame_count
from speech2vid.constants import (
    FRAME_RATE_HZ,
    MFCC_PER_FRAME,
    MFCC_RATE_HZ,
    MFCC_WINDOW,
    SAMPLE_RATE_HZ,
    WINDOW_COEFFICIENTS,
    WINDOW_STEPS,
    exact_div,
)
from speech2vid.errors import MediaError
from speech2vid.inference.options import Silence
from speech2vid.media import AnyAudio, MediaFile, read_audio, source_of
from speech2vid.types import Floats, Waveform

Rows = TypeVar("Rows", bound=Any)  # arrays and what can be cut like them

SILENCE_POLICIES: tuple[str, ...] = get_args(Silence)


class AudioStream(Protocol):
    """Driving values of every video frame from audio that arrives in chunks; the same values however it is cut.

    Attributes:
        spoken_frames: how many of the frames returned so far have speech; None where the stream does not tell.
    """

    spoken_frames: int | None

    @property
    def latency_s(self) -> float:
        """Return how far the audio must have gone past a frame's middle before its values are returned, at most."""
        ...

    def push(self, chunk: Waveform) -> Floats:
        """Take the next samples, (n,) at 16 kHz; return the values now known, (m, …) float32, a row a frame."""
        ...

    def flush(self) -> Floats:
        """Return the values of the last frames: :func:`~speech2vid.audio.windows.frame_count` in all."""
        ...


class WindowStream:
    """The paper's input for every frame: windows of 0.35 s of MFCC, (m, 1, 12, 35) float32 (Sect. 3.4).

    Args:
        block_frames: windows are returned in multiples of this many frames, apart from the last ones.
    """

    spoken_frames: int | None = None

    def __init__(self, block_frames: int = 1) -> None:
        self._block_frames = block_frames
        self._features = FeatureStream()
        self._windows = FrameWindows(WINDOW_STEPS, silent_features().mfcc[0, 1:])
        self._held = np.empty((0, 1, WINDOW_COEFFICIENTS, WINDOW_STEPS), np.float32)
        self._samples = self._given = 0

    @property
    def latency_s(self) -> float:
        """See :class:`AudioStream`."""
        look_ahead_s = (WINDOW_STEPS // 2) / MFCC_RATE_HZ + MFCC_WINDOW / 2 / SAMPLE_RATE_HZ
        return look_ahead_s + (self._block_frames - 1) / FRAME_RATE_HZ

    def push(self, chunk: Waveform) -> Floats:
        """See :class:`AudioStream`."""
        self._samples += len(chunk)
        self._add(self._windows.push(self._features.push(chunk).mfcc[:, 1:]))
        ready = len(self._held) // self._block_frames * self._block_frames
        given, self._held = self._held[:ready], self._held[ready:]
        self._given += ready
        return given

    def flush(self) -> Floats:
        """See :class:`AudioStream`."""
        self._add(self._windows.push(self._features.flush().mfcc[:, 1:]))
        self._add(self._windows.flush())
        given, self._held = self._held[: frame_count(self._samples) - self._given], self._held[:0]
        self._given += len(given)
        return given

    def _add(self, windows: Floats) -> None:
        self._held = np.concatenate([self._held, windows[:, None]])


def windows_at(windows: Floats, times_s: np.ndarray) -> Floats:
    """Return MFCC windows centred on any times, to the nearest 10 ms.

    Neighbouring windows overlap: together they hold every row of the audio, from which any window can be cut.

    Args:
        windows: (N, 1, 12, 35) of the frames of the 25 Hz grid, N ≥ 1.
        times_s: (T,) middles of the windows; before the beginning and after the end the nearest frame's counts.

    Returns:
        (T, 1, 12, 35) float32.
    """
    centre = WINDOW_STEPS // 2  # holds row 4 i + 2 in the window of frame i
    first = centre - exact_div(MFCC_PER_FRAME, 2)  # holds row 4 i
    rows = windows[:, 0, :, first : first + MFCC_PER_FRAME].transpose(0, 2, 1).reshape(-1, windows.shape[2])
    before, after = windows[0, 0, :, :first].T, windows[-1, 0, :, first + MFCC_PER_FRAME :].T
    rows = np.concatenate([before, rows, after])
    low, high = 2, MFCC_PER_FRAME * len(windows) - 2  # rows at the middles of the first and the last frame
    middles = np.rint(np.asarray(times_s) * MFCC_RATE_HZ).astype(int).clip(low, high)
    return np.stack([rows[middle + first - centre :][:WINDOW_STEPS].T for middle in middles])[:, None]


def drive_of(audio: Iterable[Waveform], stream: AudioStream) -> Iterator[Floats]:
    """Yield driving values in blocks; the audio is taken a second at a time, which takes less work."""
    for chunk in batches(audio, SAMPLE_RATE_HZ):
        yield stream.push(chunk)
    yield stream.flush()


def batches(blocks: Iterable[Rows], size: int, join: Callable[[list[Rows]], Any] = np.concatenate) -> Iterator[Rows]:
    """Yield the same rows in blocks of ``size``, the last one shorter.

    Args:
        blocks: arrays, or other sequences that slices can be taken of.
        size: rows in a block.
        join: concatenates blocks.
    """
    waiting: list[Rows] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= size:
            rows = join(waiting)
            whole = count // size * size
            for start in range(0, whole, size):
                yield rows[start : start + size]
            waiting, count = [rows[whole:]], count - whole
    if count:
        yield join(waiting)


def speech_of(source: AnyAudio | MediaFile, *, complete: bool = True) -> Generator[Waveform, None, None]:
    """Yield the audio of a file as 16 kHz mono chunks.

    Args:
        source: the file.
        complete: from the first sample on, even where it comes before the first frame of the file's video.

    Raises:
        MediaError: unreadable, or too short for one video frame.
    """
    samples = 0
    for chunk in read_audio(source, complete=complete):
        samples += len(chunk)
        yield chunk
    if frame_count(samples) == 0:
        path = source.path if isinstance(source, MediaFile) else source_of(source, "audio")
        raise MediaError(
            f"the audio of {path} lasts {1000 * samples / SAMPLE_RATE_HZ:.0f} ms, too short for one video frame",
            "give a longer recording",
        )
