"""By how much is the audio later than the video, and does this face speak at all (Sect. 4, 7).

A network (``models/sync.py``) turns the image and the audio of each frame into vectors. Their scalar product,
averaged over 25 frames, is computed for offsets of −15 … 15 frames; the largest tells the offset. Frames whose vectors
would have to look beyond the ends of image or audio are left out (zeros there would favour offset 0).

Offsets are positive where the audio is later than the video. Curves are over whole frames of the 25 Hz grid; where
they have their top is told between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speech2vid.audio.logmel import LogMelStream, silent_row
from speech2vid.audio.windows import frame_count
from speech2vid.constants import FRAME_RATE_HZ, MFCC_PER_FRAME, exact_div
from speech2vid.errors import FaceError
from speech2vid.faces.face_models import PAPER, FaceModels
from speech2vid.faces.mouth_crops import crop_motion, mouth_crop, point_motion
from speech2vid.faces.shots import split_shots
from speech2vid.faces.track import FaceTracker, TrackedFace
from speech2vid.media import AnyFile, MediaFile, VideoReader, opened, read_audio
from speech2vid.progress import Progress
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import weight_set
from speech2vid.types import Floats, Image, Points, VideoFrame, Waveform

SYNC = "sync"  # architecture
MAX_OFFSET_FRAMES = 15
OFFSETS = np.arange(-MAX_OFFSET_FRAMES, MAX_OFFSET_FRAMES + 1)
CONTEXT_FRAMES = 25
CONFIDENT = 0.1  # below it, the lips may belong to another voice
VIDEO_REACH = 2  # frames on either side that an image's vector sees
AUDIO_MARGIN_FRAMES = 3  # from the ends of the audio; a vector sees 5 frames, the outer two faintly
IN_STEP_FRAMES = 0.15
"""What the shipped network says, on average, of audio and image that are in step.

Most of its training clips are of one television channel; its zero is that channel's. The mean over six sources, each
counted once, is 0.1 frames, that over 24 speakers of five of them 0.3; single speakers lie between −1.1 and 2.6 (see
the lab notes)."""
LEAST_PAIRS = 0.5  # share of the context that must be there at every offset
_BATCH = 250  # frames computed at once


class SyncNetworks:
    """The sync network's graphs, loaded.

    Args:
        weights: a weight file, a folder that holds ``sync.safetensors``, or a shipped set; None for the default set.
        threads: for one call; 0 for one a core.
        device: ``auto``, ``cpu`` or ``cuda``.
        engine: ``onnx`` or ``torch``.

    Attributes:
        sha256: of the weight file.

    Raises:
        WeightsError: a file is missing or damaged.
    """

    def __init__(
        self, weights: str | Path | None = None, threads: int = 0, device: str = "auto", engine: str = "onnx"
    ) -> None:
        found = weight_set(weights)
        found.require_use([SYNC], SYNC)
        path = found.path(SYNC)
        load = graph_loader(device, threads, engine)
        self._video, self._audio = load(path, "video"), load(path, "audio")
        self._window = int(self._audio.header.config["window_rows"])
        self._length = int(self._audio.header.config["embedding"])
        self.sha256 = self._audio.header.sha256

    def video(self, crops: NDArray[np.uint8], landmarks: Points) -> Floats:
        """Vectors of a track's frames.

        Args:
            crops: (T, 32, 48) of ``frontend.mouth_views``.
            landmarks: (T, 68, 2) px of the 112 px face.

        Returns:
            (T, E) float32 of length 1; NaN in the first and last two frames.
        """
        seen, points = crop_motion(crops), point_motion(landmarks)
        vectors = np.full((len(seen), self._length), np.nan, np.float32)
        for start in range(0, len(seen) - 2 * VIDEO_REACH, _BATCH):
            part = slice(start, start + _BATCH + 2 * VIDEO_REACH)
            out = self._video({"crops": seen[None, part], "points": points[None, part]})["vectors"][0]
            vectors[start + VIDEO_REACH : start + VIDEO_REACH + len(out)] = out
        return vectors

    def audio(self, chunks: Iterable[Waveform]) -> Floats:
        """Vectors of a recording's frames, from chunks of it: (N, E) float32 of length 1."""
        stream = LogMelStream()
        lead = self._window // 2 - exact_div(MFCC_PER_FRAME, 2)  # the middle of frame i is row 4 i + 2
        rows = np.repeat(silent_row()[None], lead, axis=0)
        vectors: list[Floats] = []
        samples = 0
        for chunk in chunks:
            samples += len(chunk)
            rows = self._advance(np.concatenate([rows, stream.push(chunk)]), _BATCH, vectors)
        tail = np.repeat(silent_row()[None], self._window + MFCC_PER_FRAME, axis=0)
        self._advance(np.concatenate([rows, stream.flush(), tail]), 1, vectors)
        return np.concatenate(vectors)[: frame_count(samples)]

    def _advance(self, rows: Floats, least: int, vectors: list[Floats]) -> Floats:
        frames = max(0, (len(rows) - self._window) // MFCC_PER_FRAME + 1)
        if frames < least:
            return rows
        used = rows[: (frames - 1) * MFCC_PER_FRAME + self._window]
        vectors.append(self._audio({"rows": used[None]})["vectors"][0])
        return rows[frames * MFCC_PER_FRAME :]


@dataclass(frozen=True)
class SyncMeasure:
    """What was measured.

    Attributes:
        offset_s: positive where the audio is later than the video.
        frame_rate_hz: of the video itself.
        confidence: highest similarity over all offsets less the median, 0–2.
        curve: (31,) mean similarity at offsets −15 … 15 frames of the 25 Hz grid; its top lies ``IN_STEP_FRAMES`` late.
        starts: (W,) first frame of each window of 25 frames, on the video's 25 Hz grid.
        window_offsets: (W,) offset that each window alone would give, in frames of the 25 Hz grid, not rounded.
        window_confidences: (W,) confidence of each window.
    """

    offset_s: float
    frame_rate_hz: Fraction
    confidence: float
    curve: Floats
    starts: NDArray[np.int64]
    window_offsets: NDArray[np.float64]
    window_confidences: Floats

    @property
    def offset_frames(self) -> int:
        """Offset in frames of the video itself, rounded."""
        return round(self.offset_s * float(self.frame_rate_hz))


def offset_of(curve: NDArray[np.floating]) -> float:
    """Offset, in frames of the 25 Hz grid, at which a curve over ``OFFSETS`` has its top: a parabola tells it."""
    top = int(curve.argmax())
    offset = float(OFFSETS[top])
    if 0 < top < len(curve) - 1:
        before, here, after = (float(value) for value in curve[top - 1 : top + 2])
        bend = before - 2 * here + after
        offset += 0.5 * (before - after) / bend if bend < 0 else 0.0
    return offset - IN_STEP_FRAMES


def similarities(video: Floats, audio: Floats, first_frame: int = 0) -> Floats:
    """Similarity of each frame of a track with the audio at every offset.

    Args:
        video: (T, E) vectors of the track; NaN where there is none.
        audio: (N, E) vectors of the file's audio.
        first_frame: of the track, on the grid that starts with the audio.

    Returns:
        (T, 31) float32; NaN where image or audio is missing.
    """
    frame = first_frame + np.arange(len(video))[:, None] + OFFSETS
    there = (frame >= AUDIO_MARGIN_FRAMES) & (frame < len(audio) - AUDIO_MARGIN_FRAMES)
    out = np.full(frame.shape, np.nan, np.float32)
    for column, inside in enumerate(there.T):
        out[inside, column] = np.einsum("te,te->t", video[inside], audio[frame[inside, column]])
    return out


def window_means(values: Floats, frames: int = CONTEXT_FRAMES) -> tuple[NDArray[np.int64], Floats]:
    """Means over windows of consecutive frames, each window that has half of its frames at every offset.

    Args:
        values: (T, 31) similarities.

    Returns:
        first frame of each window (W,), and the means (W, 31).
    """
    if len(values) < frames:
        return np.empty(0, np.int64), np.empty((0, values.shape[1]), np.float32)
    there = ~np.isnan(values)
    zero = np.zeros((1, values.shape[1]))
    sums = np.concatenate([zero, np.cumsum(np.where(there, values, 0.0), axis=0, dtype=np.float64)])
    counts = np.concatenate([zero, np.cumsum(there, axis=0)])
    total, count = sums[frames:] - sums[:-frames], counts[frames:] - counts[:-frames]
    starts = np.flatnonzero((count >= LEAST_PAIRS * frames).all(axis=1))
    return starts, np.asarray(total[starts] / count[starts], np.float32)


def measure_tracks(
    tracks: Sequence[tuple[int, Floats]], frame_rate_hz: Fraction = Fraction(FRAME_RATE_HZ)
) -> SyncMeasure | None:
    """Offset of a file from the similarities of its face tracks.

    Windows in which a face clearly speaks decide: each counts by its confidence.

    Args:
        tracks: first frame on the grid and (T, 31) similarities of each track.
        frame_rate_hz: of the video itself.

    Returns:
        None where no track lasts for a window.
    """
    found = [(first + starts, means) for first, values in tracks for starts, means in [window_means(values)]]
    starts = np.concatenate([np.empty(0, np.int64), *(start for start, _ in found)])
    if not len(starts):
        return None
    means = np.concatenate([mean for _, mean in found])
    confidences = _confidence(means)
    curve = np.average(means, axis=0, weights=confidences + 1e-9).astype(np.float32)
    window_offsets = np.array([offset_of(mean) for mean in means])
    offset_s, confidence = offset_of(curve) / FRAME_RATE_HZ, float(_confidence(curve))
    return SyncMeasure(offset_s, frame_rate_hz, confidence, curve, starts, window_offsets, confidences)


def _confidence(curves: Floats) -> Floats:
    """Maximum less median over the offsets, (..., 31) → (...): SyncNet's median − minimum, of similarities."""
    return np.asarray(curves.max(axis=-1) - np.median(curves, axis=-1), np.float32)


def speaks(values: Floats, offset_frames: float) -> float:
    """How much better a track fits the audio at the file's offset (±1) than elsewhere: to tell speakers from listeners.

    Args:
        values: (T, 31) similarities of the track.
        offset_frames: of the file, on the 25 Hz grid.
    """
    curve = np.nanmean(values, axis=0)
    return float(curve[near(offset_frames)].max() - np.median(curve))


def near(offset_frames: float) -> NDArray[np.bool_]:
    """(31,): which of ``OFFSETS`` are those of a file whose offset is known, within a frame of the 25 Hz grid."""
    return np.asarray(np.abs(OFFSETS - IN_STEP_FRAMES - offset_frames) <= 1)


def measure_sync(
    video: AnyFile | MediaFile,
    networks: SyncNetworks | None = None,
    progress: Progress | None = None,
    models: FaceModels = PAPER,
) -> SyncMeasure:
    """By how much the audio of a video is later than its image, and how sure that is.

    All faces are followed, shot by shot; the stretches in which one clearly speaks decide.

    Args:
        video: a file with image and audio, of any frame rate, also a variable one.
        networks: those of the package by default.
        progress: called with the number of frames (25 a second) done, and None.
        models: detector and landmarker.

    Raises:
        MediaError: the file cannot be read, or lacks image or audio.
        FaceError: no frontal face is seen for as long as a second with audio.
        WeightsError: the network is missing or damaged.
    """
    networks = networks or SyncNetworks()
    tracks: list[tuple[int, Floats]] = []
    with opened(video) as file:
        audio = networks.audio(read_audio(file))
        for first, crops, landmarks in mouth_tracks(file, progress, models):
            tracks.append((first, similarities(networks.video(crops, landmarks), audio, first)))
        measure = measure_tracks(tracks, file.info.frame_rate_hz or Fraction(FRAME_RATE_HZ))
    if measure is None:
        seconds = CONTEXT_FRAMES / FRAME_RATE_HZ
        hint = (
            f"{seconds:.0f} s of one frontal face with audio are needed, plus {MAX_OFFSET_FRAMES} frames on either side"
        )
        raise FaceError(f"no face in {file.path} is visible long enough to measure the audio offset", hint)
    return measure


def mouth_tracks(
    video: AnyFile | MediaFile, progress: Progress | None = None, models: FaceModels = PAPER
) -> Iterator[tuple[int, NDArray[np.uint8], Points]]:
    """Every face of a video, as long as it can be followed, a minute at most.

    Yields:
        number of the first frame on the 25 Hz grid, (T, 32, 48) mouth images, (T, 68, 2) landmarks, px of the 112 px
        face.
    """
    follower = FaceTracker(_mouth, models)
    with VideoReader(video, FRAME_RATE_HZ) as reader:
        for face in follower.find(split_shots(_counted(reader, progress))):
            crops, landmarks = zip(*face.kept, strict=True)
            yield face.start, np.stack(crops), np.stack(landmarks)


def _mouth(face: TrackedFace) -> tuple[NDArray[np.uint8], Points]:
    return mouth_crop(face.aligned.image), face.aligned.landmarks


def _counted(frames: Iterable[VideoFrame], progress: Progress | None) -> Iterator[Image]:
    for count, frame in enumerate(frames, start=1):
        if progress is not None:
            progress(count, None)
        yield frame.image
