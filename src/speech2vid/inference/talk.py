"""A photo and a voice become a video: the whole job as one function, and its core as an iterator of frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from speech2vid import media
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import MediaError, OutputError, WeightsError
from speech2vid.faces import FaceModels, face_models
from speech2vid.inference.audio_stream import batches, drive_of, speech_of
from speech2vid.inference.compositing import Composer
from speech2vid.inference.identity import make_identity
from speech2vid.inference.options import AnyPath, Options, TalkOptions
from speech2vid.inference.prefetch import ahead
from speech2vid.inference.result import VideoResult
from speech2vid.inference.sharpening import Sharpener
from speech2vid.inference.talkers.base import Generated, Identity, Talker, load_talker
from speech2vid.inference.talkers.warp import SPEECH_ENCODER
from speech2vid.media import Claim, MediaFile, Signer, VideoWriter, is_photo
from speech2vid.progress import Progress
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import DEFAULT, read_header, weight_set
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image

T = TypeVar("T")

BATCH = 16  # frames generated at once
GENERATED_AHEAD, FRAMES_AHEAD = 2, 8  # batches, images


class TalkResult(VideoResult):
    """What ``talk`` made; its stages are decode, front_end, network, blend and encode."""


def talk(
    face: AnyPath | Sequence[AnyPath],
    audio: AnyPath,
    outfile: AnyPath,
    options: TalkOptions | None = None,
    *,
    talker: Talker | None = None,
    signer: Signer | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> TalkResult:
    """Animate a face photo to speak an audio recording.

    ::

        talk("photo.jpg", "speech.wav", "out.mp4", crop=True, weights="paper")

    Args:
        face: one to five photos of one person, or one video. The first photo is the one that is animated.
        audio: any file with audio; it goes into the video at its own quality.
        outfile: .mp4, .mov or .mkv; appears whole or not at all.
        options: all options in one record.
        talker: loaded before by :func:`speech2vid.load_talker`, instead of ``weights``, ``generator``, ``device`` and
            ``engine``.
        signer: signs the video with Content Credentials; needs the extra ``c2pa``.
        progress: called after each frame with the number done and the number in all.
        settings: single options by name, see :class:`speech2vid.TalkOptions`; they go before ``options``.

    Returns:
        a :class:`TalkResult`. The video has 25 frames per second: round(25 D) for D seconds of audio.

    Raises:
        Speech2VidError: MediaError, FaceError, OutputError, WeightsError, ConfigError or MissingExtraError.
    """
    start = time.perf_counter()
    chosen = TalkOptions.of(options, settings)
    models = face_models(chosen.landmarks)
    watch = Stopwatch()
    faces = face_paths(face)
    audio, outfile = Path(audio), Path(outfile)
    keep_inputs([*faces, audio], outfile)
    if signer is not None:
        signer.check(outfile)
    with watch("decode"):
        voice = media.open(audio)
        expected = _frames_expected(voice)
    clip = None if len(faces) != 1 or is_photo(faces[0]) else media.open(faces[0])
    with watch("network"):
        given = talker is not None
        talker = talker or talker_for(chosen)
        sharpener = sharpener_for(chosen)
    networks = hashes_of(talker, sharpener)
    notes = [] if given else use_notes(chosen, networks, "talk")
    stream = talker.audio_stream(chosen.silence)
    with watch("front_end"):
        identity = make_identity(
            faces if clip is None else [clip],
            talker,
            crop=chosen.crop,
            face_index=chosen.face_index,
            max_size_px=chosen.max_size_px,
            models=models,
        )
    height, width = identity.canvas.shape[:2]
    speech = watch.timed("decode", speech_of(voice))
    with watch("encode"):
        facts = {"command": "talk", "weights": networks}
        finish = None if signer is None else partial(signer.sign, claim=Claim(facts))
        details = {"command": "talk", "signed": signer is not None}
        writer = VideoWriter(
            outfile,
            width,
            height,
            audio_source=voice,
            crf=chosen.crf,
            details=details,
            label=chosen.label,
            finish=finish,
        )
    composer = Composer(identity, sharpener)
    with writer:
        with watch("encode"):
            writer.prepare(identity.canvas)
        generated = generate(identity, talker, drive_of(speech, stream), watch)
        with closing(compose_ahead(composer.parts, generated, watch)) as parts:
            for done, (part, corner) in enumerate(parts, 1):
                with watch("encode"):
                    writer.write_part(part, *corner)
                if progress is not None:
                    progress(done, max(done, expected) if expected else None)
        with watch("encode"):
            writer.close()
    for file in (clip, voice):
        if file is not None:
            notes += file.notes
            file.close()
    elapsed_s = time.perf_counter() - start
    if stream.spoken_frames == 0:
        notes.append(f"no speech was heard in {audio}: the mouth stays closed")
    return TalkResult(
        outfile,
        writer.frames,
        writer.frames / FRAME_RATE_HZ,
        writer.frames / elapsed_s,
        {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        tuple(notes),
    )


def talker_for(options: Options, threads: int = 0) -> Talker:
    """Load the talker that options ask for; errors as :func:`load_talker`."""
    return load_talker(
        options.weights, generator=options.generator, device=options.device, engine=options.engine, threads=threads
    )


def sharpener_for(options: Options, threads: int = 0) -> Sharpener | None:
    """Load the sharpening network, if it is asked for."""
    if not options.sharpen:
        return None
    load = graph_loader(options.device, threads, options.engine)
    return Sharpener(weight_set(options.weights), load, options.sharpen_area)


def use_notes(options: Options, networks: Mapping[str, str], command: str) -> list[str]:
    """Return what the user should know of where the networks come from.

    Raises:
        WeightsError: none of the networks that run is from the weights that the user gave, or one was trained with
            another landmarker.
    """
    notes = landmarker_notes(options.weights, networks, face_models(options.landmarks))
    if not networks:
        return notes
    weights = weight_set(options.weights)
    weights.require_use(list(networks), command)
    borrowed = weights.borrowed([name for name in networks if name != SPEECH_ENCODER])  # no training makes one
    if borrowed:
        notes.append(f"{', '.join(borrowed)} came from the default set: {weights.name} has none")
    return notes


def landmarker_notes(given: AnyPath | None, networks: Iterable[str], models: FaceModels) -> list[str]:
    """Return a note if networks of the default set run on landmarks that they were not trained with.

    Args:
        given: the weights that the user gave.
        networks: architectures that run.
        models: the detector and landmarker that were requested.

    Raises:
        WeightsError: networks that the user gave were trained with another landmarker.
    """
    weights, foreign = weight_set(given), []
    for architecture in networks:
        path = weights.find(architecture)
        if path is None or (trained := read_header(path).landmarker) in ("", models.landmarker_id):
            continue
        if weights.origin(architecture) != DEFAULT:
            raise WeightsError(
                f"{path} was trained with the landmarker {trained}, and {models.landmarker_id} was requested",
                "choose the other --landmarks, or give weights trained on a store prepared with these",
            )
        foreign.append((architecture, trained))
    if not foreign:
        return []
    names = ", ".join(architecture for architecture, _ in foreign)
    return [f"{names} of the default set: trained with {foreign[0][1]}, used with {models.landmarker_id}"]


def hashes_of(*parts: Any) -> dict[str, str]:
    """Return the SHA-256 of every network of talkers, redubbers and sharpeners; None stands for nothing."""
    return {name: sha for part in parts if part is not None for name, sha in part.hashes.items()}


def face_paths(face: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """Return one path or several as a list."""
    return [Path(face)] if isinstance(face, str | PathLike) else [Path(each) for each in face]


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
    generated = generate(identity, talker, drives, watch)
    with closing(compose_ahead(Composer(identity, sharpener).frames, generated, watch)) as frames:
        yield from frames


def generate(
    identity: Identity, talker: Talker, drives: Iterable[Floats], watch: Stopwatch
) -> Generator[Generated, None, None]:
    """Yield what the talker generates for blocks of driving values, in batches."""
    for block in watch.timed("front_end", batches(drives, BATCH)):
        with watch("network"):
            generated = talker.generate(identity, block)
        yield generated


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


def keep_inputs(inputs: Iterable[Path], outfile: Path) -> None:
    """Raise an OutputError if the output would overwrite an input."""
    if outfile.exists() and any(path.exists() and path.samefile(outfile) for path in inputs):
        raise OutputError(f"{outfile} is also an input", "choose another output file")


def _frames_expected(voice: MediaFile) -> int | None:
    """Return the number of frames for the progress bar, if known; fail before any work where there is no audio."""
    if not voice.has_audio:
        raise MediaError(f"{voice.path} has no audio stream", "use an audio file, or a video with an audio track")
    seconds = voice.stated_audio_s or voice.info.duration_s
    return round(seconds * FRAME_RATE_HZ) or None
