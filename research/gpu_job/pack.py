"""Pack the tracks of a sample store into one folder small enough to send to a GPU machine; see README.md.

python -m research.gpu_job.pack --data STORE --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from research.gpu_job.packed import (
    FACE_NETWORK,
    FORMAT,
    INDEX,
    MFCC,
    MFCC_STEP,
    MOTION,
    MOTION_STEP,
    MOUTH_STEP_PX,
    MOUTHS,
    compress,
    decode,
    in_steps,
    mfcc_rows,
    write_face_network,
)

from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, MOUTH_COUNT, MOUTH_POINTS
from speech2vid.errors import DataError, OutputError, Speech2VidError
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.inference.talkers import Talker, load_talker
from speech2vid.models.dlib_file import read_layers
from speech2vid.training.dataset import TRAIN, VAL, TrackSet, TrainingTrack, load_splits
from speech2vid.training.mouth_masks import BOTTOM, TOP
from speech2vid.training.task import colour_statistics
from speech2vid.training.tasks.audio_to_mouth import principal_components
from speech2vid.training.tasks.paper_talker import mean_mouth_region
from speech2vid.types import Frames

MIB = 1 << 20
COMPONENTS = 8
VIDEOS = 12  # files, so that they are decoded in parallel
PILOT_FRAMES, PILOT_STRETCHES = 3000, 10  # encoded once to choose the quality of all
PILOT_CRF, LOWEST_CRF, HIGHEST_CRF = 24, 14, 40
CRF_HALVES = 6.0  # a constant rate factor this much higher halves the size
SPARE_BYTES = 4096  # for what the videos add to the index
CHECK_EVERY = 8  # tracks whose decoded faces are compared with the store's
MOUTH = np.s_[:, 60:106, 24:88]  # rows and columns of an aligned face in which the mouth lies


def pack(data: Path, out: Path, limit_mib: float, frames_per_speaker: int = 0, preset: str = "medium") -> None:
    """Write the folder, whole or not at all.

    Args:
        data: a sample store with the splits ``train`` and ``val``.
        out: must not exist.
        limit_mib: largest size of the folder.
        frames_per_speaker: drop tracks at random beyond so many frames of a training speaker; 0 keeps all.
        preset: of the encoder, ``ultrafast`` … ``veryslow``.

    Raises:
        DataError, WeightsError: the store or the teacher cannot be read; the limit is too low for the data.
        OutputError: ``out`` exists.
    """
    if out.exists():
        raise OutputError(f"{out} exists already", "remove it, or name another folder")
    train, val = load_splits(data, stream=True)
    splits = {TRAIN: in_order(train, frames_per_speaker), VAL: in_order(val)}
    folder = out.with_name(f"{out.name}.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        index = write_arrays(folder, splits)
        index |= {"format": FORMAT, "data": _described(splits[TRAIN])}
        colours = colour_statistics(train, np.random.default_rng(0))
        index["colour"] = dict(zip(("mean", "std"), (each.tolist() for each in colours), strict=True))
        index["mouth_box"] = _mouth_box()
        write_face_network(folder / FACE_NETWORK, *read_layers(model_path(RECOGNITION_FILE)))
        for path in sorted(folder.iterdir()):
            print(f"{path.name}: {path.stat().st_size / MIB:.2f} MiB")
        room = int(limit_mib * MIB) - _size(folder) - len(json.dumps(index)) - SPARE_BYTES
        every = [track for tracks in splits.values() for track in tracks]
        index |= write_videos(folder, every, room, preset)
        (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
        if _size(folder) > limit_mib * MIB:
            raise DataError(f"the data takes {_size(folder) / MIB:.1f} MiB", "raise --limit-mib")
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{out}: {_size(out) / MIB:.1f} MiB of at most {limit_mib:g}")


def in_order(tracks: TrackSet, frames_per_speaker: int = 0) -> list[TrainingTrack]:
    """The tracks to pack, a speaker's one after the other; a random part of those who have too many frames."""
    rng, chosen = np.random.default_rng(0), []
    for own in tracks.by_speaker.values():
        kept, frames = set(), 0
        for number in rng.permutation(len(own)):
            if not frames_per_speaker or frames < frames_per_speaker:
                kept.add(number)
                frames += len(own[number])
        chosen += [track for number, track in enumerate(own) if number in kept]
    return chosen


def write_arrays(folder: Path, splits: dict[str, list[TrainingTrack]]) -> dict[str, object]:
    """Write audio features, mouth keypoints and the teacher's mouth motion; return their part of the index."""
    every = [track for tracks in splits.values() for track in tracks]
    rows = {split: np.concatenate([mfcc_rows(track.windows) for track in tracks]) for split, tracks in splits.items()}
    mean, std = rows[TRAIN].mean(0), rows[TRAIN].std(0)
    (folder / MFCC).write_bytes(compress(in_steps(np.concatenate(list(rows.values())), std * MFCC_STEP)))
    mouths = np.concatenate([track.landmarks[:, MOUTH_POINTS].reshape(-1, 2 * MOUTH_COUNT) for track in every])
    (folder / MOUTHS).write_bytes(compress(in_steps(mouths, MOUTH_STEP_PX)))

    teacher = load_talker(threads=1)
    motion = {split: np.concatenate([taught(teacher, track) for track in tracks]) for split, tracks in splits.items()}
    directions, deviations = principal_components(motion[TRAIN], COMPONENTS)
    components = np.concatenate(list(motion.values())) @ directions.T / np.maximum(deviations, 1e-6)
    (folder / MOTION).write_bytes(compress(in_steps(components, MOTION_STEP)))
    heights = directions.reshape(-1, MOUTH_COUNT, 2)[..., 1]
    opening = (heights[:, BOTTOM].mean(1) - heights[:, TOP].mean(1)) * deviations
    return {
        "tracks": [[track.key, track.speaker, split, len(track)] for split, own in splits.items() for track in own],
        "mfcc": {"step": (std * MFCC_STEP).tolist(), "mean": mean.tolist(), "std": std.tolist()},
        "motion": {"opening": opening.tolist(), "deviations": deviations.tolist()},
    }


def taught(teacher: Talker, track: TrainingTrack) -> NDArray[np.float32]:
    """The teacher's mouth motion of a track, (T, 40) px."""
    stream = teacher.audio_stream("follow")
    motion = np.concatenate([stream.push(track.audio), stream.flush()]).reshape(-1, 2 * MOUTH_COUNT)
    own = motion[track.lead_frames : track.lead_frames + len(track)].astype(np.float32)
    return np.concatenate([own, np.repeat(own[-1:], len(track) - len(own), axis=0)])


def write_videos(folder: Path, tracks: Sequence[TrainingTrack], room: int, preset: str) -> dict[str, object]:
    """Encode the faces at the best quality that takes at most ``room`` bytes; return their part of the index.

    Raises:
        DataError: even the lowest quality takes more.
    """
    total = sum(map(len, tracks))
    pilot = []  # stretches of neighbours: tracks of one speaker cost less together than apart
    for part in np.array_split(np.arange(len(tracks)), min(PILOT_STRETCHES, len(tracks))):
        until = np.searchsorted(np.cumsum([len(tracks[i]) for i in part]), PILOT_FRAMES / PILOT_STRETCHES)
        pilot += [tracks[i] for i in part[: until + 1]]
    path = folder / "pilot.mp4"
    encode(path, pilot, PILOT_CRF, preset)
    rate = path.stat().st_size / sum(map(len, pilot))
    path.unlink()
    crf = HIGHEST_CRF + 1
    if room > 0:
        crf = max(LOWEST_CRF, math.ceil(PILOT_CRF + CRF_HALVES * math.log2(rate * total / room)))
    print(f"pilot: {rate:.0f} bytes a frame at crf {PILOT_CRF}; room for {room / total:.0f} a frame")
    ends = np.cumsum([len(track) for track in tracks])
    cuts = np.searchsorted(ends, np.linspace(0, total, min(VIDEOS, len(tracks)) + 1)[1:-1])
    groups = [[tracks[i] for i in part] for part in np.split(np.arange(len(tracks)), cuts) if len(part)]
    paths = [folder / f"faces-{number:02d}.mp4" for number in range(len(groups))]
    while crf <= HIGHEST_CRF:
        size = 0
        for path, group in zip(paths, groups, strict=True):
            encode(path, group, crf, preset)
            size += path.stat().st_size
        print(f"crf {crf}: {size / MIB:.1f} MiB, {size / total:.0f} bytes a frame")
        if size <= room:
            break
        crf += max(1, math.ceil(CRF_HALVES * math.log2(size / room)))
    else:
        raise DataError(
            f"{total:,} frames do not fit into {room / MIB:.1f} MiB of video",
            "raise --limit-mib, or pack fewer with --frames-per-speaker",
        )
    quality = [error for path, group in zip(paths, groups, strict=True) for error in compare(path, group)]
    face, mouth = (_psnr([each[part] for each in quality]) for part in (0, 1))
    worst = _psnr([float(np.quantile([each[1] for each in quality], 0.9))])
    print(f"decoded faces: PSNR {face:.1f} dB, mouth {mouth:.1f} dB; below {worst:.1f} dB in a tenth of the tracks")
    counts = [sum(map(len, group)) for group in groups]
    return {
        "videos": [[path.name, count] for path, count in zip(paths, counts, strict=True)],
        "crf": crf,
        "psnr_db": face,
    }


def encode(path: Path, tracks: Sequence[TrainingTrack], crf: int, preset: str) -> None:
    """Write the faces of tracks, one after the other, as H.264; only the first frame is sure to be a key frame."""
    options = {"crf": str(crf), "preset": preset, "x264-params": "keyint=infinite:threads=1"}
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FRAME_RATE_HZ, options=options)
        stream.width = stream.height = FACE_PX
        stream.pix_fmt = "yuv420p"
        for track in tracks:
            for face in track.frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(face), format="rgb24")))
        output.mux(stream.encode(None))


def compare(path: Path, tracks: Sequence[TrainingTrack]) -> Iterator[tuple[float, float]]:
    """Decode a video as the GPU machine will; yield mean squared error of face and mouth of every eighth track.

    Raises:
        DataError: frames are missing.
    """
    decoded: Frames = np.empty((sum(map(len, tracks)), FACE_PX, FACE_PX, 3), np.uint8)
    decode(path, decoded)
    start = 0
    for number, track in enumerate(tracks):
        if number % CHECK_EVERY == 0:
            error = (decoded[start : start + len(track)].astype(np.float32) - np.asarray(track.frames[:])) ** 2
            yield float(error.mean()), float(error[MOUTH].mean())
        start += len(track)


def _psnr(errors: Sequence[float]) -> float:
    return 10 * math.log10(255**2 / max(1e-6, float(np.mean(errors))))


def _described(tracks: Sequence[TrainingTrack]) -> str:
    speakers, frames = len({track.speaker for track in tracks}), sum(map(len, tracks))
    return f"{len(tracks):,} tracks of {speakers} speakers, {frames / FRAME_RATE_HZ / 3600:.2f} hours"


def _mouth_box() -> list[int]:
    """First and last row, first and last column of the mouth in the 109 px target."""
    rows, columns = np.nonzero(mean_mouth_region()[0, 0].numpy())
    return [int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pack", description="Pack a sample store for training on a GPU machine.")
    parser.add_argument("--data", type=Path, required=True, help="sample store")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--limit-mib", type=float, default=48, help="largest size of the folder (default: 48)")
    parser.add_argument(
        "--frames-per-speaker",
        type=int,
        default=0,
        help="keep about so many of each training speaker",
    )
    parser.add_argument("--preset", default="medium", help="speed of the video encoder (default: medium)")
    given = parser.parse_args(arguments)
    try:
        pack(given.data, given.out, given.limit_mib, given.frames_per_speaker, given.preset)
    except Speech2VidError as error:
        print(f"error: {error.message}", f"hint: {error.hint}", sep="\n", file=sys.stderr)
        return 1
    print(COMMAND.format(folder=given.out))
    return 0


COMMAND = """
On the GPU machine, in the root of this repository and with the folder there, run

  PYTHONPATH=src python3 -m research.gpu_job.run --data {folder} --out ${{OUT:-results}} --seconds 550

and at home, with what it leaves in `results`,

  PYTHONPATH=src python -m research.gpu_job.join results weights"""

if __name__ == "__main__":
    sys.exit(main())
