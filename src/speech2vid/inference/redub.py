"""A video and new audio become a video in which the mouth follows the new audio, and all else stays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from speech2vid import media
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.faces import SyncNetworks, face_models
from speech2vid.faces.sync import SYNC
from speech2vid.inference.active_speaker import assign_faces, read_speakers
from speech2vid.inference.audio_stream import AudioStream, drive_of, speech_of
from speech2vid.inference.options import AnyPath, RedubOptions
from speech2vid.inference.prefetch import ahead
from speech2vid.inference.redub_frame import FrameRedubber, plan_changes
from speech2vid.inference.redubbers.base import Redubber
from speech2vid.inference.redubbers.choose import load_redubber
from speech2vid.inference.result import VideoResult
from speech2vid.inference.retime import length_of, timeline
from speech2vid.inference.talk import keep_inputs, landmarker_notes, use_notes
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.video_tracks import VideoTracks, find_tracks
from speech2vid.media import (
    Claim,
    MediaFile,
    RawFrame,
    RawVideoReader,
    RawVideoWriter,
    Signer,
    save_image,
)
from speech2vid.progress import Progress
from speech2vid.runtime.weights import weight_set
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Waveform

DECODED_AHEAD = 6  # frames
WORKERS = 2
LEAST_DECODED, MISSING_S = 0.95, 0.5  # of a recording: less is not what its owner wants to be heard


class RedubResult(VideoResult):
    """What ``redub`` made; its stages are decode, track, network, blend, encode …"""


def redub(
    video: AnyPath,
    audio: AnyPath,
    outfile: AnyPath,
    options: RedubOptions | None = None,
    *,
    redubber: Redubber | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> RedubResult:
    """Make the speaker of a video say another recording.

    ::

        redub("video.mp4", "other.wav", "dubbed.mp4", weights="paper", blend="network")

    Size, times of the frames, colour tags and the other streams of the video are kept; only the face of who speaks is
    changed.

    Args:
        video: any file with video.
        audio: what is said; it goes into the new video at its own quality.
        outfile: .mp4, .mov or .mkv; appears whole or not at all.
        options: all options in one record.
        redubber: loaded before, instead of ``weights``, ``generator``, ``blend``, ``region``, ``identity`` …
        signer: signs the new video with Content Credentials; needs the extra ``c2pa``.
        progress: called with the number of frames done and the number in all; each frame that is looked at and each
            that is made counts once.
        settings: single options by name, see :class:`speech2vid.RedubOptions`; they go before ``options``.

    Raises:
        Speech2VidError: MediaError, FaceError, OutputError, WeightsError, ConfigError or MissingExtraError.
    """
    start = time.perf_counter()
    chosen = RedubOptions.of(options, settings)
    models = face_models(chosen.landmarks)
    watch = Stopwatch()
    video, audio, outfile = Path(video), Path(audio), Path(outfile)
    roles = [] if chosen.speakers is None else read_speakers(Path(chosen.speakers))
    photos = [] if chosen.identity is None else [Path(chosen.identity)]
    keep_inputs([video, audio, *photos, *(role.audio for role in roles)], outfile)
    if signer is not None:
        signer.check(outfile)
    voice = media.open(audio)
    if not voice.has_audio:
        raise MediaError(f"{audio} has no audio stream", "use an audio file, or a video with an audio track")
    clip = media.open(video)
    own_audio = video.samefile(audio)  # stays in time with its video
    reader = RawVideoReader(clip)
    with watch("network"):
        given = redubber is not None
        redubber = redubber or load_redubber(chosen)
        sync = SyncNetworks(weight_set(chosen.weights).path("sync"), device=chosen.device, engine=chosen.engine)
    notes = [] if given else use_notes(chosen, redubber.hashes, "redub")
    landmarker_notes(chosen.weights, [SYNC], models)
    said_s = clip.info.duration_s
    looked_at = _Count(progress, said_s * float(reader.format.rate_hz))
    if chosen.cache is False:
        tracks = find_tracks(clip, sync, watch=watch, progress=looked_at, models=models)
    else:
        kept = None if chosen.cache is True else Path(chosen.cache)
        tracks = known_tracks(clip, watch, looked_at, kept, sync, models)
    assignments = assign_faces(tracks, audio, video, face_index=chosen.face_index, roles=roles, models=models)
    notes += assignments.notes
    heard: dict[Path, tuple[Floats, Fraction]] = {}
    with watch("voice"):
        for recording in dict.fromkeys(
            [audio, *(recording for recording in assignments.audio_files if recording is not None)]
        ):
            stream = redubber.audio_stream(chosen.silence)
            source = voice if recording == audio else media.open(recording)
            heard[recording] = driven_by(source, stream, complete=not own_audio)
            if stream.spoken_frames == 0:
                notes.append(f"no speech was detected in {recording}: the mouth stays closed")
    tick_s = reader.format.tick_s
    video_s = int(tracks.ticks[-1] + tracks.durations[-1]) * tick_s
    if float(video_s) < LEAST_DECODED * said_s - MISSING_S:
        notes.append(f"only the first {float(video_s):.1f} of the {said_s:.1f} s of {video} can be decoded")
    audio_s = heard[audio][1]
    end_s = length_of(chosen.length, audio_s, video_s)
    with watch("track"):
        drives = [None if recording is None else heard[recording][0] for recording in assignments.audio_files]
        frame_redubber = FrameRedubber(plan_changes(tracks, reader.format, drives, redubber), redubber)
    if chosen.preview is not None:
        preview = Path(chosen.preview)
        return _preview(reader, frame_redubber, tracks, min(end_s, video_s), preview, watch, notes, start)
    expected = _frames_expected(tracks, tick_s, end_s)
    facts = {"command": "redub", "weights": dict(redubber.hashes)}
    writer = RawVideoWriter(
        outfile,
        reader.format,
        audio_source=voice,
        audio_shift_s=Fraction(0) if own_audio else None,
        audio_limit_s=end_s if audio_s > end_s else None,
        keep=clip,
        keep_limit_s=min(end_s, video_s),
        crf=chosen.crf,
        details={"command": "redub", "signed": signer is not None},
        label=chosen.label,
        finish=None if signer is None else partial(signer.sign, claim=Claim(facts, source=video)),
    )
    with writer, closing(_rendered(reader, tracks, end_s, frame_redubber, watch)) as frames:
        for done, (frame, ticks) in enumerate(frames, 1):
            with watch("encode"):
                writer.write_frame(frame, ticks)
            if progress is not None:
                progress(looked_at.done + done, looked_at.done + max(done, expected))
        with watch("encode"):
            writer.close()
    notes += [f"{stream} of {video} was left out" for stream in writer.left_out]
    notes = [*clip.notes, *voice.notes, *notes]
    clip.close()
    voice.close()
    elapsed_s = time.perf_counter() - start
    return RedubResult(
        outfile,
        writer.frames,
        float(end_s),
        writer.frames / elapsed_s,
        {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        tuple(notes),
    )


class _Count:
    """Tells of the frames that are looked at, of which about ``expected`` will also be made anew."""

    def __init__(self, progress: Progress | None, expected: float) -> None:
        self.done = 0
        self._progress, self._expected = progress, round(expected)

    def __call__(self, done: int) -> None:
        self.done = done
        if self._progress is not None:
            self._progress(done, 2 * max(done, self._expected))


def _preview(
    reader: RawVideoReader,
    frame_redubber: FrameRedubber,
    tracks: VideoTracks,
    end_s: Fraction,
    outfile: Path,
    watch: Stopwatch,
    notes: list[str],
    start: float,
) -> RedubResult:
    """One frame before and after, side by side: the one in which the new mouth is opened widest."""
    index = frame_redubber.widest(tracks, reader.format, end_s)
    with watch("decode"):
        frame = next(frame for frame in reader if frame.index == index)
    whole = (0, 0, reader.format.width_px, reader.format.height_px)
    before = frame.crop(whole)
    with watch("repaint"):
        after = frame_redubber(frame, frame.middle_s).crop(whole)
    save_image(np.concatenate([before, after], axis=1), outfile)
    elapsed_s = time.perf_counter() - start
    stages = {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()}
    return RedubResult(outfile, 1, 0.0, 1 / elapsed_s, stages, tuple(notes))


def driven_by(recording: MediaFile, stream: AudioStream, *, complete: bool = True) -> tuple[Floats, Fraction]:
    """Return the driving values of a recording on the grid of 25 Hz, (N, …), and how long it lasts in seconds."""
    samples = 0

    def counted() -> Iterator[Waveform]:
        nonlocal samples
        for chunk in speech_of(recording, complete=complete):
            samples += len(chunk)
            yield chunk

    drive = np.concatenate(list(drive_of(counted(), stream)))
    seconds, said = Fraction(samples, SAMPLE_RATE_HZ), recording.stated_audio_s
    if said is not None and seconds < LEAST_DECODED * said - MISSING_S:
        raise MediaError(
            f"only {float(seconds):.1f} of the {said:.1f} s of audio in {recording.path} can be decoded",
            "the file is damaged or truncated; copy or convert it again",
        )
    return drive, seconds


def _rendered(
    reader: RawVideoReader, tracks: VideoTracks, end_s: Fraction, frame_redubber: FrameRedubber, watch: Stopwatch
) -> Generator[tuple[RawFrame, int], None, None]:
    """The frames of the new video in order; several are worked on at once."""

    def work(frame: RawFrame, ticks: int) -> tuple[RawFrame, int]:
        with watch("repaint"):
            middle_s = float((ticks + Fraction(frame.duration, 2)) * frame.format.tick_s)
            return frame_redubber(frame, middle_s), ticks

    longer = end_s > int(tracks.ticks[-1] + tracks.durations[-1]) * reader.format.tick_s
    replayed_from = tracks.shots[-1] if longer else len(tracks.ticks)  # else nothing is held in memory
    played = timeline(watch.timed("decode", reader), end_s, replayed_from)
    with closing(ahead(played, DECODED_AHEAD)) as frames, ThreadPoolExecutor(WORKERS) as pool:
        yield from in_order(pool, work, frames)


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[RawFrame, int], tuple[RawFrame, int]],
    items: Iterable[tuple[RawFrame, int]],
) -> Iterator[tuple[RawFrame, int]]:
    """``work`` done on each item by the threads of a pool, at most twice as many items at once as it has threads."""
    waiting: deque[Future[tuple[RawFrame, int]]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, *item))
            if len(waiting) >= 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _frames_expected(tracks: VideoTracks, tick_s: Fraction, end_s: Fraction) -> int:
    shown = int((tracks.ticks * float(tick_s) < float(end_s)).sum())
    longer_s = float(end_s) - float(int(tracks.ticks[-1] + tracks.durations[-1]) * tick_s)
    return shown + max(0, round(longer_s / float(tracks.durations.mean() * float(tick_s))))
