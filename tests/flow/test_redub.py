"""A video and a new sound become a video in which only the mouth is new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.inference.redub import RedubResult, redub
from speech2vid.media import NativeReader, read_mark
from speech2vid.media.container import open_media

FaceClip = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder  # type: ignore[misc]


@pytest.fixture(scope="module")
def clip(face_clip: FaceClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.2 s of a face at 30 pictures a second, of which the middle shows none."""
    path = tmp_path_factory.mktemp("redub") / "clip.mp4"
    return face_clip(path, frames=36, hidden=range(14, 20), rate_hz=30)


@pytest.fixture(scope="module")
def made(clip: Path, speech: Path) -> RedubResult:
    return redub(clip, speech, clip.with_name("out.mp4"), length="video", crf=4)


def test_times_size_and_number_of_pictures_are_those_of_the_source(clip: Path, made: RedubResult) -> None:
    assert made.frames == 36
    assert _times(made.outfile) == _times(clip)
    assert NativeReader(made.outfile).format == NativeReader(clip).format
    assert read_mark(made.outfile)["command"] == "redub"  # type: ignore[index]
    assert not made.notes


def test_the_mouth_is_new_and_the_rest_is_as_it_was(clip: Path, made: RedubResult) -> None:
    changes = []
    for before, after in zip(NativeReader(clip), NativeReader(made.outfile), strict=True):
        difference = abs(before.planes[0].astype(int) - after.planes[0])
        assert difference[:60].mean() < 1.0  # the upper half of the face
        assert difference[:, :20].mean() < 1.0
        changes.append(difference[90:150, 60:140].mean())
    assert max(changes[14:20]) < 1.0, "pictures without a face"
    assert np.mean(changes[:12]) > 1.5
    assert np.mean(changes[24:]) > 1.5


def _times(path: Path) -> list[tuple[float, float]]:
    with open_media(path) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        return sorted((float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets)
