"""A photo and a voice become a video: the whole job as one function, and its core as an iterator of frames."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from speech2vid import media
from speech2vid.constants import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError, MediaError, OutputError
from speech2vid.faces import face_models
from speech2vid.inference.audio_stream import batches, speech_of
from speech2vid.inference.compositing import Composer
from speech2vid.inference.head.drive import Drive, DriveStream, joined
from speech2vid.inference.head.samplers import motion_for
from speech2vid.inference.identity import AnyFace, faces_of, make_identity, prepared
from speech2vid.inference.options import TalkOptions
from speech2vid.inference.prefetch import ahead
from speech2vid.inference.result import VideoResult
from speech2vid.inference.sharpening import Sharpener, sharpener_for
from speech2vid.inference.talkers.base import Generated, Identity, Talker, talker_for
from speech2vid.inference.use_notes import hashes_of, use_notes
from speech2vid.media import (
    AnyAudio,
    AnyOutput,
    Claim,
    MediaFile,
    MemoryOutput,
    Output,
    Signer,
    Source,
    VideoWriter,
    VisibleLabel,
    is_photo,
    output_of,
    same_file,
    source_of,
)
from speech2vid.progress import Progress
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image, Waveform

log = logging.getLogger("speech2vid")
T = TypeVar("T")

BATCH = 16  # frames generated at once
GENERATED_AHEAD, FRAMES_AHEAD = 2, 8  # batches, images


class TalkResult(VideoResult):
    """What ``talk`` made; its stages are decode, front_end, network, blend and encode."""


@overload
def talk(
    face: AnyFace,
    audio: AnyAudio,
    outfile: AnyOutput,
    options: TalkOptions | None = None,
    *,
    frames: Literal[False] = False,
    talker: Talker | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> TalkResult: ...
@overload
def talk(
    face: AnyFace,
    audio: AnyAudio,
    outfile: None = None,
    options: TalkOptions | None = None,
    *,
    frames: Literal[False] = False,
    talker: Talker | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> bytes: ...
@overload
def talk(
    face: AnyFace,
    audio: AnyAudio,
    outfile: None = None,
    options: TalkOptions | None = None,
    *,
    frames: Literal[True],
    talker: Talker | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Generator[Image, None, None]: ...
def talk(
    face: AnyFace,
    audio: AnyAudio,
    outfile: AnyOutput | None = None,
    options: TalkOptions | None = None,
    *,
    frames: bool = False,
    talker: Talker | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> TalkResult | bytes | Generator[Image, None, None]:
    """Animate a face photo to speak an audio recording.

    ::

        talk("photo.jpg", "speech.wav", "out.mp4", crop=True, weights="paper")
        video = talk(photo_bytes, (samples, 16_000))  # the MP4 file as bytes
        for frame in talk(image_array, wav_file, frames=True):  # (H, W, 3) uint8 RGB
            show(frame)

    Args:
        face: one to five photos of one person, or one video: paths, bytes, binary file objects, arrays (H, W, 3) uint8
            RGB, Pillow images; or an :class:`Identity` of :func:`speech2vid.make_identity`. The first photo is the one
            that is animated.
        audio: any file with audio, as a path, bytes or a binary file object; or ``(samples, rate_hz)``, samples (N,) or
            (N, channels), int16 or floating point in −1–1. It goes into the video at its own quality.
        outfile: .mp4, .mov or .mkv, which appears whole or not at all; or a binary file object, which gets an MP4 file
            in one piece; None to return the MP4 file as bytes.
        options: all options in one record.
        frames: return an iterator of frames (H, W, 3) uint8 RGB, 25 per second, and write no video. Close it to stop
            early. Mistakes in the arguments are reported by the call, before the first frame is requested.
        talker: loaded before by :func:`speech2vid.load_talker`, instead of ``weights``, ``generator``, ``device`` and
            ``engine``. An identity brings its own.
        signer: signs the video with Content Credentials; needs the extra ``c2pa``.
        progress: called after each frame with the number done and the number in all.
        settings: single options by name, see :class:`speech2vid.TalkOptions`; they go before ``options``.

    Returns:
        a :class:`TalkResult` where there is an ``outfile``, else bytes or frames; their notes go to the log of
        ``speech2vid``. The video has 25 frames per second: round(25 D) for D seconds of audio.

    Raises:
        Speech2VidError: MediaError, FaceError, OutputError, WeightsError, ConfigError or MissingExtraError.
    """
    start = time.perf_counter()
    chosen = TalkOptions.of(options, settings)
    target = target_of(outfile, frames=frames, signer=signer)
    watch = Stopwatch()
    speaker = _Speaker(face, source_of(audio, "audio"), target, chosen, talker, signer, watch)
    if target is None:
        return _frames(speaker, chosen, watch, progress)
    count = _write(speaker, target, chosen, signer, watch, progress)
    speaker.close()
    if isinstance(target, MemoryOutput) and target.file is None:
        log_notes(speaker.all_notes())
        return target.content
    elapsed_s = time.perf_counter() - start
    return TalkResult(
        Path(str(target)),
        count,
        count / FRAME_RATE_HZ,
        count / elapsed_s,
        {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        tuple(speaker.all_notes()),
    )


class _Speaker:
    """A person, a recording and the networks, ready to generate frames."""

    def __init__(
        self,
        face: AnyFace,
        audio: Source,
        target: Output | None,
        chosen: TalkOptions,
        talker: Talker | None,
        signer: Signer | None,
        watch: Stopwatch,
    ) -> None:
        identity = prepared(face, chosen) if isinstance(face, Identity) else None
        faces = [] if identity is not None else faces_of(face)
        models = face_models(chosen.landmarks)
        if target is not None:
            keep_inputs([*faces, audio], target)
            if signer is not None:
                signer.check(target)
        with watch("decode"):
            self.voice = media.open(audio, "audio")
            self.expected = _frames_expected(self.voice)
        self.clip = None if len(faces) != 1 or is_photo(faces[0]) else media.open(faces[0], "face")
        with watch("network"):
            self.talker, given = _talker(identity, talker, chosen)
            self.sharpener, motion = sharpener_for(chosen), motion_for(chosen)
        self.hashes = hashes_of(self.talker, self.sharpener, motion)
        self.notes = [] if given else use_notes(chosen, self.hashes, "talk")
        head = None if motion is None else motion.stream(chosen.motion, chosen.seed)
        self.stream = DriveStream(self.talker.audio_stream(chosen.silence), head)
        with watch("front_end"):
            self.identity = identity or make_identity(self.clip or faces, self.talker, chosen, models=models)
        self.notes += self.identity.notes
        speech = watch.timed("decode", speech_of(self.voice))
        self.generated = generate(self.identity, self.talker, _drives(speech, self.stream), watch)

    def all_notes(self) -> list[str]:
        """Return what the user should know, known after the last frame."""
        notes = [*self.notes, *(note for file in (self.clip, self.voice) if file is not None for note in file.notes)]
        if self.stream.spoken_frames == 0:
            notes.append(f"no speech was heard in {self.voice.path}: the mouth stays closed")
        return notes

    def close(self) -> None:
        """Close the files."""
        for file in (self.clip, self.voice):
            if file is not None:
                file.close()


def _talker(identity: Identity | None, talker: Talker | None, options: TalkOptions) -> tuple[Talker, bool]:
    """Return the talker that generates, and whether the caller gave it."""
    own = None if identity is None else identity.talker
    if own is not None and talker is not None and own is not talker:
        raise ConfigError("the identity was prepared by another talker", "prepare it with this talker, or leave it out")
    found = talker or own
    return (found, True) if found is not None else (talker_for(options), False)


def _write(
    speaker: _Speaker,
    target: Output,
    chosen: TalkOptions,
    signer: Signer | None,
    watch: Stopwatch,
    progress: Progress | None,
) -> int:
    """Write the video and return its number of frames."""
    height, width = speaker.identity.canvas.shape[:2]
    with watch("encode"):
        facts = {"command": "talk", "weights": speaker.hashes}
        writer = VideoWriter(
            target,
            width,
            height,
            audio_source=speaker.voice,
            crf=chosen.crf,
            details={"command": "talk", "signed": signer is not None},
            label=chosen.label,
            finish=None if signer is None else partial(signer.sign, claim=Claim(facts)),
        )
    composer = Composer(speaker.identity, speaker.sharpener)
    with writer:
        with watch("encode"):
            writer.prepare(speaker.identity.canvas)
        with closing(compose_ahead(composer.parts, speaker.generated, watch)) as parts:
            for done, (part, corner) in enumerate(parts, 1):
                with watch("encode"):
                    writer.write_part(part, *corner)
                if progress is not None:
                    progress(done, max(done, speaker.expected) if speaker.expected else None)
        with watch("encode"):
            writer.close()
    return writer.frames


def _frames(
    speaker: _Speaker, chosen: TalkOptions, watch: Stopwatch, progress: Progress | None
) -> Generator[Image, None, None]:
    """Yield whole frames."""
    height, width = speaker.identity.canvas.shape[:2]
    label = VisibleLabel(width, height) if chosen.label else None
    composer = Composer(speaker.identity, speaker.sharpener)
    with closing(speaker), closing(compose_ahead(composer.frames, speaker.generated, watch)) as frames:
        for done, frame in enumerate(frames, 1):
            yield frame if label is None else label(frame)
            if progress is not None:
                progress(done, max(done, speaker.expected) if speaker.expected else None)
        log_notes(speaker.all_notes())


def target_of(outfile: AnyOutput | None, *, frames: bool, signer: Signer | None) -> Output | None:
    """Return where the video goes: a path, memory, or nowhere where only frames are wanted.

    Raises:
        ConfigError: ``frames`` together with an output or a signer.
    """
    if not frames:
        return MemoryOutput() if outfile is None else output_of(outfile)
    if outfile is not None or signer is not None:
        what = "outfile" if outfile is not None else "signer"
        raise ConfigError(f"frames=True cannot be combined with {what}", "leave out one of them")
    return None


def log_notes(notes: Iterable[str]) -> None:
    """Write what the user should know to the log, where there is no result that holds it."""
    for line in notes:
        log.warning("%s", line)


def generate_frames(
    identity: Identity,
    talker: Talker,
    drives: Iterable[Floats],
    watch: Stopwatch | None = None,
    sharpener: Sharpener | None = None,
) -> Generator[Image, None, None]:
    """Yield frames (H, W, 3) uint8 RGB for blocks of driving values.

    The network and the composing work ahead in threads; close the generator to stop them early.
    """
    watch = watch or Stopwatch()
    generated = generate(identity, talker, map(Drive, drives), watch)
    with closing(compose_ahead(Composer(identity, sharpener).frames, generated, watch)) as frames:
        yield from frames


def generate(
    identity: Identity, talker: Talker, drives: Iterable[Drive], watch: Stopwatch
) -> Generator[Generated, None, None]:
    """Yield what the talker generates for blocks of driving values, in batches."""
    for block in watch.timed("front_end", batches(drives, BATCH, joined)):
        with watch("network"):
            generated = talker.generate(identity, block.values)
        yield generated if block.motion is None else replace(generated, motion=block.motion)


def compose_ahead(
    compose: Callable[[Generated], Iterator[T]], blocks: Iterable[Generated], watch: Stopwatch
) -> Generator[T, None, None]:
    """Yield what is composed for each frame of the blocks; blocks and frames are made ahead, in threads."""

    def composed(blocks: Iterable[Generated]) -> Iterator[T]:
        for generated in blocks:
            yield from watch.timed("blend", compose(generated))

    with (
        closing(ahead(blocks, GENERATED_AHEAD)) as generated,
        closing(ahead(composed(generated), FRAMES_AHEAD)) as frames,
    ):
        yield from frames


def keep_inputs(inputs: Iterable[Source], target: Output) -> None:
    """Raise an OutputError if the output would overwrite an input."""
    if any(same_file(each, target) for each in inputs):
        raise OutputError(f"{target} is also an input", "choose another output file")


def _drives(speech: Iterable[Waveform], stream: DriveStream) -> Iterator[Drive]:
    """Yield what drives the frames; the audio is taken a second at a time, which takes less work."""
    for chunk in batches(speech, SAMPLE_RATE_HZ):
        yield stream.push(chunk)
    yield stream.flush()


def _frames_expected(voice: MediaFile) -> int | None:
    """Return the number of frames for the progress bar, if known; fail before any work where there is no audio."""
    if not voice.has_audio:
        raise MediaError(f"{voice.path} has no audio stream", "use an audio file, or a video with an audio track")
    seconds = voice.stated_audio_s or voice.info.duration_s
    return round(seconds * FRAME_RATE_HZ) or None
