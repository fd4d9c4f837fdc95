"""A photo and a voice become a video: the whole job as one function, and its core as an iterator of frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from speech2vid import media
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import MediaError, OutputError
from speech2vid.inference.compositing import Composer
from speech2vid.inference.identity import MAX_SIZE_PX, Identity, make_identity
from speech2vid.inference.mouth_motion import MouthMotionStream, Silence, batches, predict_mouth_motion, speech_of
from speech2vid.inference.prefetch import ahead
from speech2vid.inference.result import VideoResult
from speech2vid.inference.talkers.warp import BATCH, Fields, TalkerNetworks
from speech2vid.media import Claim, MediaFile, Signer, VideoWriter, is_photo
from speech2vid.progress import Progress
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Image

AnyPath = str | PathLike[str]

FIELDS_AHEAD, FRAMES_AHEAD = 2, 8  # batches, frames


class TalkResult(VideoResult):
    """What ``talk`` made; its stages are decode, front_end, network, blend and encode."""


def talk(
    face: AnyPath | Sequence[AnyPath],
    audio: AnyPath,
    outfile: AnyPath,
    *,
    crop: bool = False,
    silence: Silence = "hold",
    face_index: int | None = None,
    crf: int = 18,
    max_size_px: int = MAX_SIZE_PX,
    device: str = "auto",
    weights: AnyPath | None = None,
    networks: TalkerNetworks | None = None,
    label: bool = False,
    signer: Signer | None = None,
    progress: Progress | None = None,
) -> TalkResult:
    """Make the face say the audio.

    Args:
        face: one to five photos of one person, or one video. The first photo is the one that comes alive.
        audio: any file with audio; it goes into the video at its own quality.
        outfile: .mp4, .mov or .mkv; appears whole or not at all.
        crop: the aligned face alone instead of the whole frame.
        silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` lets it follow all audio.
        face_index: which face in each frame, counted from the left from 0; the largest by default.
        crf: quality of the video, 0 (lossless) to 51.
        max_size_px: longest side of the video; a larger photo is made smaller.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: folder of weight files; those of the package by default.
        networks: loaded before, instead of ``device`` and ``weights``.
        label: a small "AI-generated" in the corner of every frame.
        signer: signs the video with Content Credentials; needs the extra ``c2pa``.
        progress: called after each frame with the number done and the number in all.

    Returns:
        a :class:`TalkResult`. The video has round(seconds of audio × 25) frames.

    Raises:
        Speech2VidError: MediaError, FaceError, OutputError, WeightsError, ConfigError or MissingExtraError.
    """
    start = time.perf_counter()
    watch = Stopwatch()
    faces = face_paths(face)
    audio, outfile = Path(audio), Path(outfile)
    _keep_inputs([*faces, audio], outfile)
    if signer is not None:
        signer.check(outfile)
    with watch("decode"):
        voice = media.open(audio)
        expected = _frames_expected(voice)
    clip = None if len(faces) != 1 or is_photo(faces[0]) else media.open(faces[0])
    if networks is None:
        with watch("network"):
            networks = TalkerNetworks(None if weights is None else Path(weights), device)
    stream = MouthMotionStream(networks.audio_to_mouth, silence)
    with watch("front_end"):
        identity = make_identity(
            faces if clip is None else [clip], networks, crop=crop, face_index=face_index, max_size_px=max_size_px
        )
    height, width = identity.canvas.shape[:2]
    speech = watch.timed("decode", speech_of(voice))
    with watch("encode"):
        facts = {"command": "talk", "weights": networks.hashes}
        finish = None if signer is None else partial(signer.sign, claim=Claim(facts))
        details = {"command": "talk", "signed": signer is not None}
        writer = VideoWriter(
            outfile, width, height, audio_source=voice, crf=crf, details=details, label=label, finish=finish
        )
    composer = Composer(identity)
    with writer:
        with watch("encode"):
            writer.prepare(identity.canvas)
        fields = predict(identity, networks, predict_mouth_motion(speech, stream), watch)
        with closing(compose_ahead(composer.parts, fields, watch)) as parts:
            for done, part in enumerate(parts, 1):
                with watch("encode"):
                    writer.write_part(part, *composer.corner)
                if progress is not None:
                    progress(done, max(done, expected) if expected else None)
        with watch("encode"):
            writer.close()
    notes = [note for file in (clip, voice) if file is not None for note in file.notes]
    if not stream.spoken_frames:
        notes.append(f"no speech was heard in {audio}: the mouth stays closed")
    for file in (clip, voice):
        if file is not None:
            file.close()
    elapsed_s = time.perf_counter() - start
    return TalkResult(
        outfile,
        writer.frames,
        writer.frames / FRAME_RATE_HZ,
        writer.frames / elapsed_s,
        {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
        tuple(notes),
    )


def face_paths(face: AnyPath | Sequence[AnyPath]) -> list[Path]:
    """One path or several, as a list."""
    return [Path(face)] if isinstance(face, str | PathLike) else [Path(each) for each in face]


def generate_frames(
    identity: Identity, networks: TalkerNetworks, motions: Iterable[Floats], watch: Stopwatch | None = None
) -> Generator[Image, None, None]:
    """Frames for mouth movements (blocks of (m, 20, 2) px relative to rest): (H, W, 3) uint8 RGB each.

    The network and the composing work ahead in threads; close the generator to stop them early.
    """
    watch = watch or Stopwatch()
    fields = predict(identity, networks, motions, watch)
    with closing(compose_ahead(Composer(identity).frames, fields, watch)) as frames:
        yield from frames


def predict(
    identity: Identity, networks: TalkerNetworks, motions: Iterable[Floats], watch: Stopwatch
) -> Generator[Fields, None, None]:
    """Fields for blocks of mouth movements, in batches."""
    for block in watch.timed("front_end", batches(motions, BATCH)):
        with watch("network"):
            fields = networks.frames(
                identity.features, identity.mouths, np.ascontiguousarray(identity.neutral_mouth + block)
            )
        yield fields


def compose_ahead(
    compose: Callable[[Fields], Iterator[Image]], blocks: Iterable[Fields], watch: Stopwatch
) -> Generator[Image, None, None]:
    """One frame for each frame of the blocks of fields; these and the frames are made ahead, in threads."""

    def composed(blocks: Iterable[Fields]) -> Iterator[Image]:
        for fields in blocks:
            yield from watch.timed("blend", compose(fields))

    with closing(ahead(blocks, FIELDS_AHEAD)) as fields, closing(ahead(composed(fields), FRAMES_AHEAD)) as frames:
        yield from frames


def _frames_expected(voice: MediaFile) -> int | None:
    """For the progress bar. Fails before any work where there is no audio."""
    if not voice.has_audio:
        raise MediaError(f"{voice.path} has no audio stream", "give an audio file, or a video with audio")
    seconds = voice.stated_audio_s or voice.info.duration_s
    return round(seconds * FRAME_RATE_HZ) or None


def _keep_inputs(inputs: Sequence[Path], outfile: Path) -> None:
    if outfile.exists() and any(path.exists() and path.samefile(outfile) for path in inputs):
        raise OutputError(f"{outfile} is also an input", "write to another file")
