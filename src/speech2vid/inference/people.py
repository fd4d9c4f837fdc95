"""Who is seen in a photo or a video: the numbers that ``face_index`` takes, with a picture of each person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech2vid.constants import Landmarks
from speech2vid.errors import FaceError
from speech2vid.faces import SyncNetworks, face_models, faces_from_left
from speech2vid.faces.choose_face import LOOK
from speech2vid.inference.active_speaker import require_people
from speech2vid.inference.options import AnyPath
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.video_tracks import VideoTracks, find_tracks
from speech2vid.media import AnyFile, AnyPhoto, MediaFile, RawVideoReader, is_photo, load_photo, source_of
from speech2vid.progress import Progress
from speech2vid.timing import Stopwatch
from speech2vid.types import FaceBox, Image

MARGIN = 0.3  # of the box's side, shown round the face of a photo


@dataclass(frozen=True)
class PersonFound:
    """A person.

    Attributes:
        face_index: the number by which ``talk`` (photos) and ``redub`` (videos) choose this person.
        image: (h, w, 3) uint8 RGB, their face.
        box: where it is in a photo, px; None for a video.
        spans_s: when they are seen in a video, start and end of each stretch in seconds; empty for a photo.
    """

    face_index: int
    image: Image
    box: FaceBox | None = None
    spans_s: tuple[tuple[float, float], ...] = ()

    @property
    def seconds(self) -> float:
        """How long they are seen."""
        return sum(end - start for start, end in self.spans_s)


def people(
    source: AnyPhoto | AnyFile,
    *,
    landmarks: Landmarks = "paper",
    cache: bool | AnyPath = True,
    sync: SyncNetworks | None = None,
    progress: Progress | None = None,
) -> list[PersonFound]:
    """Find everybody in a photo or a video, in the order in which ``face_index`` counts them.

    In a photo people are counted from the left, in a video in the order of appearance, then from the left.

    Args:
        source: a path, bytes, a binary file object, an image array (H, W, 3) uint8 RGB or a Pillow image.
        landmarks: detector and landmarks, as the option of :func:`speech2vid.redub`.
        cache: of a video: keep the analysis for ``redub`` of the same video, as there.
        sync: networks loaded before.
        progress: of a video: called with the number of frames done and the number in all.

    Raises:
        MediaError: it cannot be read. FaceError: nobody is seen. ConfigError: an unknown option.
    """
    given, models = source_of(source, "face"), face_models(landmarks)
    if is_photo(given):
        image = load_photo(given)
        faces = faces_from_left(image, models)
        if not faces:
            raise FaceError(f"no frontal face was found in {given}", LOOK)
        return [PersonFound(index, _cut(image, face.box), face.box) for index, face in enumerate(faces)]
    with MediaFile(given) as file:
        reader = RawVideoReader(file)
        tick_s = reader.format.tick_s
        expected = round(file.info.duration_s * float(reader.format.rate_hz))
        sync = sync or SyncNetworks()

        def report(done: int) -> None:
            if progress is not None:
                progress(done, max(done, expected))

        if cache is False:
            tracks = find_tracks(file, sync, progress=report, models=models)
        else:
            tracks = known_tracks(file, Stopwatch(), report, None if cache is True else Path(cache), sync, models)
    require_people(tracks, given)
    return [_seen(tracks, person, float(tick_s)) for person in range(len(tracks.stills))]


def _seen(tracks: VideoTracks, person: int, tick_s: float) -> PersonFound:
    spans = [
        (tracks.ticks[face.start] * tick_s, (tracks.ticks[face.stop - 1] + tracks.durations[face.stop - 1]) * tick_s)
        for face in tracks.faces
        if face.person == person
    ]
    best = min(tracks.stills[person], key=lambda still: still.cost)
    return PersonFound(person, best.image(), spans_s=tuple((float(start), float(end)) for start, end in sorted(spans)))


def _cut(image: Image, box: FaceBox) -> Image:
    margin = MARGIN * (box.right - box.left)
    left, top = max(0, int(box.left - margin)), max(0, int(box.top - margin))
    return np.ascontiguousarray(image[top : int(box.bottom + margin) + 1, left : int(box.right + margin) + 1])
