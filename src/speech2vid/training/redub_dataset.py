"""Faces to re-dub, with mouths painted onto them from other frames: the dataset of the re-dubbing tasks.

They are painted once, by the package's ``warp`` talker as in re-dubbing, and kept in the task's folder. The mouth
landmarks are the face's own, with noise, but no pixel of its mouth is: stills are other frames of the speaker.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import BLEND_HEIGHT, BLEND_WIDTH, CONTEXT_FACE_PX, MOUTH_COUNT, MOUTH_POINTS
from speech2vid.data.jpeg import decode_jpeg
from speech2vid.data.store import SampleStore
from speech2vid.errors import OutputError
from speech2vid.faces import Still
from speech2vid.faces.align import context_from_face
from speech2vid.files import NUMPY_READ
from speech2vid.geometry import invert
from speech2vid.inference.compositing import Composer
from speech2vid.inference.occlusion import PART, hide, median_colours
from speech2vid.inference.talkers.base import Canvas, load_talker
from speech2vid.inference.talkers.warp import WARP_TALKER, WarpNetworks
from speech2vid.training.dataset import TrackSet
from speech2vid.training.sampling import Example, Indices, StillMix, away_from, percentile_stills
from speech2vid.types import AlignedFace, Floats, Frames, Image

log = logging.getLogger(__name__)

VERSION = 1  # of the dataset; a higher one builds it anew
MARKER = "redub_dataset.json"
VAL_TRACKS, VAL_FRAMES = 2, 4  # of each speaker
NEAR_FRAMES, OPEN_QUANTILE = 8, 0.9
LOG_EVERY = 200  # people


@dataclass(frozen=True)
class RedubDataset:
    """N faces, in the order in which they were drawn; arrays on disk.

    Attributes:
        faces: (N, H, W, 3) uint8 RGB: the parts (``occlusion.PART``) of faces at 224 px, or whole faces.
        painted: the same with a painted mouth; (0, …) for the paper's network.
        colours: (N, 3) float32 0–255, the median colour of each face.
        requested: (N, 20, 2) float32, the mouth landmarks that were painted, px of the 112 px face.
        track, frame: (N,) number of the track in the set, and of its frame.
        still_track: (N,) the track of the stills.
        stills: (N, 5) frames of it.
    """

    faces: Frames
    painted: Frames
    colours: Floats
    requested: Floats
    track: Indices
    frame: Indices
    still_track: Indices
    stills: Indices

    def __len__(self) -> int:
        return len(self.faces)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the dataset that :func:`build_dataset` wrote."""
        with NUMPY_READ:
            arrays: dict[str, Any] = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in cls.__annotations__
            }
        return cls(**arrays)


def training_examples(
    tracks: TrackSet, mix: StillMix, people: int, frames: int, seed: int, near: float = 0.0
) -> list[Example]:
    """Draw the examples of the training split: ``people`` draws with ``frames`` faces each.

    Args:
        near: share of the draws in which each face has stills of its own, as in re-dubbing: :func:`near_example`.
    """
    sampler = tracks.sampler(mix)
    examples = []
    for number in range(people):
        rng = np.random.default_rng([seed, number])
        example = sampler.draw(rng, frames)
        if rng.random() < near:
            examples += [near_example(tracks, example.track, int(frame), rng) for frame in example.targets]
        else:
            examples.append(example)
    return examples


def validation_examples(tracks: TrackSet) -> list[Example]:
    """Return the examples of the validation split: faces of every speaker, from five stills and as in re-dubbing."""
    examples = []
    for own in tracks.by_speaker.values():
        for track in own[:VAL_TRACKS]:
            rng = np.random.default_rng(0)
            targets = np.linspace(0, len(track) - 1, VAL_FRAMES + 2).astype(np.int64)[1:-1]
            number = tracks.tracks.index(track)
            some = targets[::2]
            examples.append(Example(number, some, number, percentile_stills(track.opening, rng, some)))
            examples += [near_example(tracks, number, int(frame), rng) for frame in targets[1::2]]
    return examples


def near_example(tracks: TrackSet, track: int, frame: int, rng: np.random.Generator) -> Example:
    """Return a face that is painted from a frame shortly before or after it, and from one with open lips.

    In re-dubbing a face is painted from itself, its mouth moved to the requested one. Here the face is the target; a
    frame close in time, of nearly the same pose and light, takes its place.
    """
    openings = tracks[track].opening
    pool = away_from(np.arange(len(openings)), [frame])
    near = pool[np.argsort(np.abs(pool - frame), kind="stable")][: rng.integers(1, NEAR_FRAMES + 1)][-1]
    opened = pool[np.argsort(openings[pool], kind="stable")[int(OPEN_QUANTILE * (len(pool) - 1))]]
    pair = sorted((near, opened), key=lambda each: float(openings[each]))
    return Example(track, np.array([frame], np.int64), track, np.repeat(np.array(pair, np.int64), [3, 2]))


def build_dataset(
    folder: Path,
    data: Path,
    split: str,
    tracks: TrackSet,
    examples: Sequence[Example],
    *,
    what: Literal["warp", "audio"],
    noise_px: float = 0.0,
    weights: Path | None = None,
) -> RedubDataset:
    """Write the examples' faces with painted mouths (``warp``), or as they are (``audio``), unless they are there.

    Args:
        folder: to write into; it appears whole.
        data, split, tracks: the store, the split, and its loaded tracks.
        noise_px: standard deviation of the noise on the mouth landmarks.
        weights: folder of the talker's weights; the package's by default.

    Raises:
        DataError: the store is damaged, or has no faces at 224 px.
        OutputError: no space, no permission.
    """
    talker = load_talker(weights, generator="warp", device="cpu") if what == "warp" else None
    assert talker is None or isinstance(talker, WarpNetworks)
    key = _key(data, tracks, examples, what, noise_px, talker)
    if (folder / MARKER).is_file() and json.loads((folder / MARKER).read_text(encoding="utf-8"))["key"] == key:
        return RedubDataset.read(folder)
    count = sum(len(example.targets) for example in examples)
    size = (BLEND_HEIGHT, BLEND_WIDTH, 3) if what == "warp" else (CONTEXT_FACE_PX, CONTEXT_FACE_PX, 3)
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "faces": ((count, *size), np.uint8),
        "painted": ((count if what == "warp" else 0, *size), np.uint8),
        "colours": ((count, 3), np.float32),
        "requested": ((count, MOUTH_COUNT, 2), np.float32),
        "track": ((count,), np.int64),
        "frame": ((count,), np.int64),
        "still_track": ((count,), np.int64),
        "stills": ((count, len(examples[0].stills)), np.int64),
    }
    temporary = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        arrays = {
            name: np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", dtype, shape)
            for name, (shape, dtype) in shapes.items()
        }
        painter = _DatasetBuilder(tracks, _contexts(data, split, tracks, examples), talker)
        row = 0
        for number, example in enumerate(examples):
            rng = np.random.default_rng([number, VERSION])
            for name, values in painter.faces(example, rng, noise_px):
                arrays[name][row : row + len(example.targets)] = values
            row += len(example.targets)
            if (number + 1) % LOG_EVERY == 0:
                log.info("%d of %d people painted", number + 1, len(examples))
        for array in arrays.values():
            array.flush()
        (temporary / MARKER).write_text(json.dumps({"key": key, "faces": count}) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}", "free some disk space, or choose another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return RedubDataset.read(folder)


class _DatasetBuilder:
    def __init__(self, tracks: TrackSet, contexts: dict[tuple[int, int], bytes], talker: WarpNetworks | None) -> None:
        self._tracks, self._contexts, self._talker = tracks, contexts, talker
        self._to_face = invert(context_from_face())

    def faces(self, example: Example, rng: np.random.Generator, noise_px: float) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the arrays of :class:`RedubDataset` for one example, by name."""
        track, count = self._tracks[example.track], len(example.targets)
        landmarks = track.landmarks[example.targets]
        whole = np.stack([self._face(example.track, frame) for frame in example.targets])
        mouths = landmarks[:, MOUTH_POINTS]
        place, each = rng.standard_normal((count, 1, 2)), rng.standard_normal(mouths.shape)
        requested = (mouths + noise_px * (place + 0.5 * each)).astype(np.float32)
        yield "colours", median_colours(whole, landmarks, hide(landmarks, requested))
        yield "requested", requested
        yield "track", np.full(count, example.track)
        yield "frame", example.targets
        yield "still_track", np.full(count, example.still_track)
        yield "stills", np.repeat(example.stills[None], count, axis=0)
        if self._talker is None:
            yield "faces", whole
            return
        yield "faces", whole[PART]
        yield "painted", self._painted(example, whole, requested, self._talker)[PART]

    def _painted(self, example: Example, whole: Frames, requested: Floats, talker: WarpNetworks) -> Frames:
        source = self._tracks[example.still_track]
        frames = np.unique(example.stills)
        stills = {}
        for frame in frames.tolist():
            aligned = AlignedFace(source.frames[frame], source.landmarks[frame], self._to_face)
            opening = float(source.opening[frame])
            stills[frame] = Still(self._face(example.still_track, frame), aligned, opening, 0.0)
        nearest = int(frames[np.abs(frames - example.targets.mean()).argmin()])  # the others get its colours
        rising = sorted(stills.values(), key=lambda still: still.opening)
        canvas = stills[nearest]
        identity = talker.prepare(Canvas(canvas.image, canvas.transform, canvas), rising)
        painted: list[Image] = []
        for face, mouth in zip(whole, requested, strict=True):
            fields = talker.fields(identity.features, identity.mouths, mouth[None])
            painted += Composer(replace(identity, canvas=face)).frames(fields)
        return np.stack(painted)

    def _face(self, track: int, frame: int) -> Image:
        return decode_jpeg(self._contexts[track, int(frame)], CONTEXT_FACE_PX)


def _contexts(data: Path, split: str, tracks: TrackSet, examples: Sequence[Example]) -> dict[tuple[int, int], bytes]:
    """Return track, frame → the encoded face at 224 px, of the faces that the examples need."""
    wanted: dict[int, set[int]] = {}
    for example in examples:
        wanted.setdefault(example.track, set()).update(example.targets.tolist())
        wanted.setdefault(example.still_track, set()).update(example.stills.tolist())
    numbers = {track.key: number for number, track in enumerate(tracks.tracks)}
    found = {}
    for key, images in SampleStore(data).contexts(split):
        number = numbers.get(key, -1)
        found.update({(number, frame): images[frame] for frame in wanted.get(number, ())})
    return found


def _key(
    data: Path,
    tracks: TrackSet,
    examples: Sequence[Example],
    what: str,
    noise_px: float,
    talker: WarpNetworks | None,
) -> str:
    """Return a hash of everything that the dataset depends on."""
    sha = hashlib.sha256(f"{VERSION} {what} {noise_px}".encode())
    for shard in SampleStore(data).report.shards:
        sha.update(shard.sha256.encode())
    for track in tracks.tracks:
        sha.update(track.key.encode())
    for example in examples:
        for part in (example.track, example.still_track, example.targets, example.stills):
            sha.update(np.asarray(part).tobytes())
    if talker is not None:
        sha.update(talker.hashes[WARP_TALKER].encode())
    return sha.hexdigest()
