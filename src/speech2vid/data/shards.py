"""Tracks ↔ members of tar files (WebDataset: members with the same name up to the first dot are one sample).

A sample is these members, in this order::

    KEY.context.mjpg            the same faces at 224 px with more around them, or nothing
    KEY.faces.mjpg              aligned faces: one JPEG a frame, one after another (a video player shows it)
    KEY.json                    TrackRecord
    KEY.landmarks.npy           (T, 68, 2) float32, in the aligned face
    KEY.sound.npy               (N,) int16, 16 kHz mono, with context
    KEY.source_landmarks.npy    (T, 68, 2) float32, in the source
    KEY.transforms.npy          (T, 2, 3) float64, source → aligned face

Nothing but names and content is written: no time, owner or order that depends on when or where.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import CONTEXT_FACE_PX, FACE_PX, FRAME_RATE_HZ, LANDMARKS, SAMPLES_PER_FRAME
from speech2vid.data.jpeg import decode_jpegs, split_jpegs
from speech2vid.data.records import FaceTrack, Shard, Track, TrackAudio, TrackRecord
from speech2vid.errors import DataError, OutputError
from speech2vid.files import NUMPY_READ, PendingFile

CONTEXT = "context.mjpg"
FACES = "faces.mjpg"
RECORD = "json"
ALIGNED = "landmarks.npy"
AUDIO = "sound.npy"  # the name of format 3
SOURCE = "source_landmarks.npy"
TRANSFORMS = "transforms.npy"
KEYS = {"audio_lead_frames": "sound_lead_frames"}  # field of a record → its key in format 3, where it differs
FIELDS = {key: field for field, key in KEYS.items()}
MEMBERS = (CONTEXT, FACES, RECORD, ALIGNED, AUDIO, SOURCE, TRANSFORMS)
PREPARE_AGAIN = "run prepare on the store again; intact parts are kept"

NO_FRAMES = np.empty((0, FACE_PX, FACE_PX, 3), np.uint8)
NO_CONTEXT = np.empty((0, CONTEXT_FACE_PX, CONTEXT_FACE_PX, 3), np.uint8)

Number = TypeVar("Number", bound=np.generic)
Members = dict[str, bytes]  # extension → content
Places = dict[str, int]  # extension → first byte of its content in the tar file


def members_of(record: TrackRecord, track: FaceTrack, audio: TrackAudio) -> Members:
    """A track as the members of its sample."""
    return {
        CONTEXT: b"".join(track.contexts),
        FACES: b"".join(track.jpegs),
        RECORD: record_bytes(record),
        ALIGNED: _npy(track.landmarks),
        AUDIO: _npy(audio.samples),
        SOURCE: _npy(track.source_landmarks),
        TRANSFORMS: _npy(track.transforms),
    }


def record_bytes(record: TrackRecord) -> bytes:
    facts = {KEYS.get(name, name): value for name, value in asdict(record).items()}
    return (json.dumps(facts, ensure_ascii=False, indent=1) + "\n").encode()


def record_of(members: Mapping[str, bytes]) -> TrackRecord:
    """Read the facts of a sample.

    Raises:
        DataError: they are missing or not those of a track.
    """
    try:
        facts = json.loads(members[RECORD])
        return TrackRecord(**{FIELDS.get(key, key): value for key, value in facts.items()})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"the record of a sample is damaged: {error!r}", PREPARE_AGAIN) from error


def faces_of(members: Mapping[str, bytes]) -> FaceTrack:
    """What ``members_of`` was given, its images still encoded; for samples that this program has just written."""
    record = record_of(members)
    return FaceTrack(
        round(record.start_s * FRAME_RATE_HZ),
        split_jpegs(members[FACES]),
        _array(members[ALIGNED], np.float32, None),
        _array(members[SOURCE], np.float32, None),
        _array(members[TRANSFORMS], np.float64, None),
        record.sharpness,
        split_jpegs(members[CONTEXT]),
        record.shot,
        record.detection,
    )


def audio_of(members: Mapping[str, bytes]) -> TrackAudio:
    """The audio of such a sample."""
    return TrackAudio(_array(members[AUDIO], np.int16, None), record_of(members).audio_lead_frames)


def track_of(members: Mapping[str, bytes], *, jpegs: bool = True, context: bool = False) -> Track:
    """Decode a sample.

    Args:
        jpegs: False leaves the images undecoded; ``frames`` is then (0, 112, 112, 3).
        context: decode the 224 px faces too; else ``context`` is (0, 224, 224, 3).

    Raises:
        DataError: a member is missing, damaged, or disagrees with the others.
    """
    record = record_of(members)
    count = record.frames
    try:
        landmarks = _array(members[ALIGNED], np.float32, (count, LANDMARKS, 2))
        source_landmarks = _array(members[SOURCE], np.float32, (count, LANDMARKS, 2))
        transforms = _array(members[TRANSFORMS], np.float64, (count, 2, 3))
        audio = _array(members[AUDIO], np.int16, None)
        frames = decode_jpegs(members[FACES], count) if jpegs else NO_FRAMES
        wide = decode_jpegs(members[CONTEXT], count, CONTEXT_FACE_PX) if context else NO_CONTEXT
    except KeyError as error:
        raise DataError(f"sample {record.key} has no member {error}", PREPARE_AGAIN) from error
    except (ValueError, DataError) as error:
        raise DataError(f"sample {record.key} is damaged: {error}", PREPARE_AGAIN) from error
    track = Track(record, frames, landmarks, source_landmarks, transforms, audio, wide)
    if len(track.waveform) != record.frames * SAMPLES_PER_FRAME:
        raise DataError(f"sample {record.key} is damaged: its audio is too short", PREPARE_AGAIN)
    return track


class TarWriter:
    """Writes samples to a tar file that appears whole, when it is left after ``keep()``, or not at all.

    Args:
        path: the file.
        lasting: it must outlast a power failure; a file of which the work in progress is made need not.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, *, lasting: bool = True) -> None:
        self.path = path
        self.tracks = 0
        self._lasting = lasting
        with _writing(path):
            self._pending = PendingFile(path)
            self._file = _HashingFile(self._pending.path)
            self._archive = tarfile.open(fileobj=self._file, mode="w|", format=tarfile.USTAR_FORMAT)  # type: ignore[call-overload]  # noqa: SIM115

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append a sample."""
        with _writing(self.path):
            for extension in MEMBERS:
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(members[extension])
                self._archive.addfile(info, io.BytesIO(members[extension]))
        self.tracks += 1

    def keep(self) -> Shard:
        """Finish the file and give it its name."""
        with _writing(self.path):
            self._archive.close()
            self._file.close()
            self._pending.commit(lasting=self._lasting)
        return Shard(self.path.name, self._file.size_bytes, self._file.sha256.hexdigest(), self.tracks)

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._pending.discard()


class _HashingFile:
    """A new file that knows its own hash and size."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size_bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", "check the free disk space and the permissions"
        ) from error


def read_samples(path: Path, sha256: str | None = None) -> Iterator[tuple[str, Members]]:
    """Stream the samples of a tar file: key and members. Arguments and errors as :func:`read_samples_at`."""
    for key, members, _ in read_samples_at(path, sha256):
        yield key, members


def read_samples_at(path: Path, sha256: str | None = None) -> Iterator[tuple[str, Members, Places]]:
    """Stream the samples of a tar file: key, members, and where in the file each member's content begins.

    Args:
        sha256: of the file as it was written; compared at its end.

    Raises:
        DataError: it is missing, damaged or cut short.
    """
    try:
        with path.open("rb") as raw:
            file = _HashingReader(raw)
            with tarfile.open(fileobj=file, mode="r|") as archive:  # type: ignore[call-overload]
                yield from _grouped(archive)
            while file.read(tarfile.RECORDSIZE):
                pass  # what follows the last sample
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", PREPARE_AGAIN) from error
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} is damaged or truncated: {error}", PREPARE_AGAIN) from error
    if sha256 is not None and file.sha256.hexdigest() != sha256:
        raise DataError(f"{path} is damaged: its content does not match its checksum", PREPARE_AGAIN)


def _grouped(archive: tarfile.TarFile) -> Iterator[tuple[str, Members, Places]]:
    """Members with the same name up to the first dot, together."""
    key, members, places = "", Members(), Places()
    for info in archive:
        file = archive.extractfile(info)
        if file is None:
            continue
        name, _, extension = info.name.partition(".")
        if name != key and members:
            yield key, members, places
            members, places = {}, {}
        key = name
        members[extension], places[extension] = file.read(), info.offset_data
    if members:
        yield key, members, places


class _HashingReader:
    """A file that is read once, forwards, and hashed on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def _npy(array: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _array(data: bytes, dtype: type[Number], shape: tuple[int, ...] | None) -> NDArray[Number]:
    with NUMPY_READ:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ValueError(f"{array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    return np.asarray(array, dtype)
