"""A video and new audio become a video in which the mouth follows the new audio, and all else stays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from speech2vid import media
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import MediaError
from speech2vid.faces import SyncNetworks, face_models
from speech2vid.faces.sync import SYNC
from speech2vid.inference.active_speaker import assign_faces, read_speakers
from speech2vid.inference.audio_stream import AudioStream, drive_of, speech_of
from speech2vid.inference.options import RedubOptions
from speech2vid.inference.prefetch import ahead
from speech2vid.inference.redub_frame import FrameRedubber, plan_changes
from speech2vid.inference.redubbers.base import Redubber
from speech2vid.inference.redubbers.choose import load_redubber
from speech2vid.inference.result import VideoResult
from speech2vid.inference.retime import length_of, timeline
from speech2vid.inference.talk import keep_inputs, log_notes, target_of
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.use_notes import landmarker_notes, use_notes
from speech2vid.inference.video_tracks import VideoTracks, find_tracks
from speech2vid.media import (
    AnyAudio,
    AnyFile,
    AnyOutput,
    Claim,
    MediaFile,
    MemoryOutput,
    Output,
    RawFrame,
    RawVideoReader,
    RawVideoWriter,
    Signer,
    Source,
    VisibleLabel,
    same_file,
    save_image,
    source_of,
)
from speech2vid.progress import Progress
from speech2vid.runtime.weights import weight_set
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image, Waveform

DECODED_AHEAD = 6  # frames
WORKERS = 2
LEAST_DECODED, MISSING_S = 0.95, 0.5  # of a recording: less is not what its owner wants to be heard


class RedubResult(VideoResult):
    """What ``redub`` made; its stages are decode, track, network, blend, encode …"""


@overload
def redub(
    video: AnyFile,
    audio: AnyAudio,
    outfile: AnyOutput,
    options: RedubOptions | None = None,
    *,
    frames: Literal[False] = False,
    redubber: Redubber | None = None,
    sync: SyncNetworks | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> RedubResult: ...
@overload
def redub(
    video: AnyFile,
    audio: AnyAudio,
    outfile: None = None,
    options: RedubOptions | None = None,
    *,
    frames: Literal[False] = False,
    redubber: Redubber | None = None,
    sync: SyncNetworks | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> bytes: ...
@overload
def redub(
    video: AnyFile,
    audio: AnyAudio,
    outfile: None = None,
    options: RedubOptions | None = None,
    *,
    frames: Literal[True],
    redubber: Redubber | None = None,
    sync: SyncNetworks | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Generator[Image, None, None]: ...
def redub(
    video: AnyFile,
    audio: AnyAudio,
    outfile: AnyOutput | None = None,
    options: RedubOptions | None = None,
    *,
    frames: bool = False,
    redubber: Redubber | None = None,
    sync: SyncNetworks | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> RedubResult | bytes | Generator[Image, None, None]:
    """Make the speaker of a video say another recording.

    ::

        redub("video.mp4", "other.wav", "dubbed.mp4", weights="paper", blend="network")
        dubbed = redub(video_bytes, (samples, 48_000))  # the MP4 file as bytes

    Size, times of the frames, colour tags and the other streams of the video are kept; only the face of who speaks is
    changed.

    Args:
        video: any file with video: a path, bytes or a binary file object.
        audio: what is said; as for :func:`speech2vid.talk`. It goes into the new video at its own quality.
        outfile: .mp4, .mov or .mkv, which appears whole or not at all; or a binary file object, which gets an MP4 file
            in one piece; None to return the MP4 file as bytes.
        options: all options in one record.
        frames: return an iterator of the new frames, upright (H, W, 3) uint8 RGB, and write no video. They are shown at
            the times of the frames of ``video``.
        redubber: of :func:`speech2vid.load_redubber`, instead of ``weights``, ``generator``, ``blend``, ``region``,
            ``identity`` …
        sync: the networks that hear who speaks, of :class:`speech2vid.SyncNetworks`, instead of those of ``weights``.
        signer: signs the new video with Content Credentials; needs the extra ``c2pa``.
        progress: called with the number of frames done and the number in all; each frame that is looked at and each
            that is made counts once.
        settings: single options by name, see :class:`speech2vid.RedubOptions`; they go before ``options``.

    Returns:
        a :class:`RedubResult` where there is an ``outfile`` or a ``preview``, else bytes or frames; their notes go to
        the log of ``speech2vid``.

    Raises:
        Speech2VidError: MediaError, FaceError, OutputError, WeightsError, ConfigError or MissingExtraError.
    """
    start = time.perf_counter()
    chosen = RedubOptions.of(options, settings)
    target = target_of(outfile, frames=frames, signer=signer)
    watch = Stopwatch()
    dub = _Dub(video, audio, target, chosen, redubber, sync, signer, progress, watch)
    if chosen.preview is not None:
        preview, end_s = Path(chosen.preview), min(dub.end_s, dub.video_s)
        return _preview(dub.reader, dub.frame_redubber, dub.tracks, end_s, preview, watch, dub.notes, start)
    if target is None:
        return _frames(dub, chosen, progress, watch)
    count = _write(dub, target, chosen, signer, progress, watch)
    dub.close()
    if isinstance(target, MemoryOutput) and target.file is None:
        log_notes(dub.all_notes())
        return target.content
    elapsed_s = time.perf_counter() - start
    return RedubResult(
        Path(str(target)),
        count,
        float(dub.end_s),
        count / elapsed_s,
        {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        tuple(dub.all_notes()),
    )


class _Dub:
    """A video that was looked at and the recordings for its people, ready to make new frames."""

    def __init__(
        self,
        video: AnyFile,
        audio: AnyAudio,
        target: Output | None,
        chosen: RedubOptions,
        redubber: Redubber | None,
        sync: SyncNetworks | None,
        signer: Signer | None,
        progress: Progress | None,
        watch: Stopwatch,
    ) -> None:
        models = face_models(chosen.landmarks)
        self.video, self.audio = source_of(video, "video"), source_of(audio, "audio")
        roles = [] if chosen.speakers is None else read_speakers(Path(chosen.speakers))
        photos = [] if chosen.identity is None else [Path(chosen.identity)]
        if target is not None:
            keep_inputs([self.video, self.audio, *photos, *(role.audio for role in roles)], target)
            if signer is not None:
                signer.check(target)
        self.voice = media.open(self.audio, "audio")
        if not self.voice.has_audio:
            raise MediaError(f"{self.audio} has no audio stream", "use an audio file, or a video with an audio track")
        self.clip = media.open(self.video, "video")
        self.own_audio = same_file(self.video, self.audio)  # stays in time with its video
        self.reader = RawVideoReader(self.clip)
        with watch("network"):
            given = redubber is not None
            self.redubber = redubber or load_redubber(chosen)
            sync = sync or SyncNetworks(
                weight_set(chosen.weights).path("sync"), device=chosen.device, engine=chosen.engine
            )
        self.notes = [] if given else use_notes(chosen, self.redubber.hashes, "redub")
        landmarker_notes(chosen.weights, [SYNC], models)
        said_s = self.clip.info.duration_s
        self.looked_at = _Count(progress, said_s * float(self.reader.format.rate_hz))
        if chosen.cache is False:
            tracks = find_tracks(self.clip, sync, watch=watch, progress=self.looked_at, models=models)
        else:
            kept = None if chosen.cache is True else Path(chosen.cache)
            tracks = known_tracks(self.clip, watch, self.looked_at, kept, sync, models)
        self.tracks = tracks
        assignments = assign_faces(
            tracks, self.audio, self.video, face_index=chosen.face_index, roles=roles, models=models
        )
        self.notes += assignments.notes
        if tracks.tilted:
            self.notes.append(f"faces in {self.video} that lie on their side or upside down were left as they are")
        heard = self._listen(assignments.audio_files, chosen, watch)
        tick_s = self.reader.format.tick_s
        self.video_s = int(tracks.ticks[-1] + tracks.durations[-1]) * tick_s
        if float(self.video_s) < LEAST_DECODED * said_s - MISSING_S:
            decoded = f"only the first {float(self.video_s):.1f} of the {said_s:.1f} s"
            self.notes.append(f"{decoded} of {self.video} can be decoded")
        self.audio_s = heard[self.audio][1]
        self.end_s = length_of(chosen.length, self.audio_s, self.video_s)
        with watch("track"):
            drives = [None if recording is None else heard[recording][0] for recording in assignments.audio_files]
            plan = plan_changes(tracks, self.reader.format, drives, self.redubber)
            self.frame_redubber = FrameRedubber(plan, self.redubber)
        self.expected = _frames_expected(tracks, tick_s, self.end_s)

    def _listen(
        self, recordings: Sequence[Source | None], chosen: RedubOptions, watch: Stopwatch
    ) -> dict[Source, tuple[Floats, Fraction]]:
        """Return the driving values and the length of every recording."""
        heard: dict[Source, tuple[Floats, Fraction]] = {}
        with watch("voice"):
            for recording in dict.fromkeys([self.audio, *(each for each in recordings if each is not None)]):
                stream = self.redubber.audio_stream(chosen.silence)
                source = self.voice if recording == self.audio else media.open(recording)
                heard[recording] = driven_by(source, stream, complete=not self.own_audio)
                if stream.spoken_frames == 0:
                    self.notes.append(f"no speech was detected in {recording}: the mouth stays closed")
        return heard

    def all_notes(self) -> list[str]:
        """Return what the user should know, known after the last frame."""
        return [*self.clip.notes, *self.voice.notes, *self.notes]

    def close(self) -> None:
        """Close the files."""
        self.clip.close()
        self.voice.close()


def _write(
    dub: _Dub,
    target: Output,
    chosen: RedubOptions,
    signer: Signer | None,
    progress: Progress | None,
    watch: Stopwatch,
) -> int:
    """Write the video and return its number of frames."""
    facts = {"command": "redub", "weights": dict(dub.redubber.hashes)}
    writer = RawVideoWriter(
        target,
        dub.reader.format,
        audio_source=dub.voice,
        audio_shift_s=Fraction(0) if dub.own_audio else None,
        audio_limit_s=dub.end_s if dub.audio_s > dub.end_s else None,
        keep=dub.clip,
        keep_limit_s=min(dub.end_s, dub.video_s),
        crf=chosen.crf,
        details={"command": "redub", "signed": signer is not None},
        label=chosen.label,
        finish=None if signer is None else partial(signer.sign, claim=Claim(facts, source=dub.video)),
    )
    looked_at = dub.looked_at.done
    with writer, closing(_rendered(dub.reader, dub.tracks, dub.end_s, dub.frame_redubber, watch)) as frames:
        for done, (frame, ticks) in enumerate(frames, 1):
            with watch("encode"):
                writer.write_frame(frame, ticks)
            if progress is not None:
                progress(looked_at + done, looked_at + max(done, dub.expected))
        with watch("encode"):
            writer.close()
    dub.notes += [f"{stream} of {dub.video} was left out" for stream in writer.left_out]
    return writer.frames


def _frames(
    dub: _Dub, chosen: RedubOptions, progress: Progress | None, watch: Stopwatch
) -> Generator[Image, None, None]:
    """Yield whole frames."""
    layout, looked_at = dub.reader.format, dub.looked_at.done
    label = VisibleLabel(layout.width_px, layout.height_px) if chosen.label else None
    rendered = _rendered(dub.reader, dub.tracks, dub.end_s, dub.frame_redubber, watch)
    with closing(dub), closing(rendered) as frames:
        for done, (frame, _) in enumerate(frames, 1):
            image = frame.crop((0, 0, layout.width_px, layout.height_px))
            yield image if label is None else label(image)
            if progress is not None:
                progress(looked_at + done, looked_at + max(done, dub.expected))
        log_notes(dub.all_notes())


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
