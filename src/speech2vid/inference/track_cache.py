"""What the first pass found out about a video, kept for the next dub of the same video.

A file a video in the user's cache folder, named by the video's content and by what could change the result. Arrays and
JSON in a zip, never pickle. A damaged file is made again; the oldest files go when the folder grows too large.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from speech2vid.faces import PAPER, FaceModels, SyncNetworks
from speech2vid.files import NUMPY_READ, PendingFile
from speech2vid.inference.video_tracks import SeenFace, SeenStill, VideoTracks, find_tracks
from speech2vid.media import AnyFile, MediaFile, Source, source_of
from speech2vid.timing import Stopwatch

FORMAT = "4"  # counted up when the first pass finds other things
PROGRAMS = ("av", "dlib-bin", "opencv-python-headless")  # whose versions change what is found
MOST_BYTES = 512 << 20
_READ_BYTES = 1 << 20


def known_tracks(
    video: AnyFile | MediaFile,
    watch: Stopwatch | None = None,
    progress: Callable[[int], None] | None = None,
    folder: Path | None = None,
    sync: SyncNetworks | None = None,
    models: FaceModels = PAPER,
) -> VideoTracks:
    """``find_tracks`` of a video, or what it found the last time.

    Args:
        video, watch, progress: as there; nothing is told of a video that is known.
        folder: where it is kept; by default the user's own.
        sync: the networks that measure how well faces fit the audio; those of the default set by default.
        models: detector and landmarker; what another one found is not used.
    """
    watch = watch or Stopwatch()
    with watch("cache"):
        sync = sync or SyncNetworks()
        folder = folder or cache_folder()
        source = video.path if isinstance(video, MediaFile) else source_of(video, "video")
        path = None if folder is None else folder / f"{_key(source, sync.sha256, models)}.npz"
        tracks = None if path is None else load(path)
    if tracks is None:
        tracks = find_tracks(video, sync, watch, progress, models)
        if path is not None:
            with watch("cache"):
                save(tracks, path)
    return tracks


def cache_folder() -> Path | None:
    """Where things are kept that can be made again: as the platform wants it. None for a user without a home."""
    try:
        base = _caches()
    except RuntimeError:
        return None
    return base / "speech2vid" / "tracks"


def _caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _key(video: Source, sync_sha256: str, models: FaceModels) -> str:
    digest = hashlib.sha256()
    found_by = (models.detector_id, models.landmarker_id)
    for part in (FORMAT, sync_sha256, *found_by, *(metadata.version(name) for name in PROGRAMS)):
        digest.update(part.encode() + b"\0")
    with video.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def load(path: Path) -> VideoTracks | None:
    """What is kept there; None where there is nothing, or nothing whole. Reading makes a file young again."""
    try:
        with NUMPY_READ, np.load(path, allow_pickle=False) as arrays:
            tracks = _unpacked(arrays)
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return tracks


def save(tracks: VideoTracks, path: Path) -> None:
    """Keep it, whole or not at all. A cache that cannot be written is no reason to stop."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with PendingFile(path) as pending, pending.path.open("wb") as file:
            np.savez(file, **_packed(tracks))
        _bound(path.parent, path)


def _bound(folder: Path, newest: Path) -> None:
    files = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > MOST_BYTES and path != newest:
            path.unlink(missing_ok=True)


def _packed(tracks: VideoTracks) -> dict[str, Any]:
    """Arrays by name."""
    stills = [still for person in tracks.stills for still in person]
    about = {
        "shots": tracks.shots,
        "tilted": tracks.tilted,
        "faces": [
            [face.start, face.shot, face.person, face.first_frame, len(face), len(face.fits)] for face in tracks.faces
        ],
        "stills": [len(person) for person in tracks.stills],
        "jpegs": [len(still.jpeg) for still in stills],
        "facts": [[still.opening, still.cost] for still in stills],
    }
    return {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "ticks": tracks.ticks,
        "durations": tracks.durations,
        "landmarks": np.concatenate([np.empty((0, 68, 2), np.float32), *(face.landmarks for face in tracks.faces)]),
        "fits": np.concatenate([np.empty((0, 31), np.float32), *(face.fits for face in tracks.faces)]),
        "jpeg": np.concatenate([np.empty(0, np.uint8), *(still.jpeg for still in stills)]),
        "still_landmarks": np.stack([np.empty((68, 2), np.float32), *(still.landmarks for still in stills)])[1:],
    }


def _unpacked(arrays: Any) -> VideoTracks:
    about = json.loads(bytes(arrays["about"]))
    landmarks = _parts(arrays["landmarks"], [face[4] for face in about["faces"]])
    fits = _parts(arrays["fits"], [face[5] for face in about["faces"]])
    faces = [
        SeenFace(start, shot, person, points, first, fit)
        for (start, shot, person, first, _, _), points, fit in zip(about["faces"], landmarks, fits, strict=True)
    ]
    images = _parts(arrays["jpeg"], about["jpegs"])
    seen = [
        SeenStill(image, points, float(opening), float(cost))
        for image, points, (opening, cost) in zip(images, arrays["still_landmarks"], about["facts"], strict=True)
    ]
    borders = [0, *accumulate(about["stills"])]
    stills = [seen[a:b] for a, b in pairwise(borders)]
    return VideoTracks(arrays["ticks"], arrays["durations"], about["shots"], faces, stills, about["tilted"])


def _parts(rows: Any, lengths: list[int]) -> list[Any]:
    """Rows cut into parts of these lengths."""
    borders = [0, *accumulate(lengths)]
    if borders[-1] != len(rows):
        raise ValueError("rows are missing")
    return [rows[a:b] for a, b in pairwise(borders)]
