"""What training reads from a store, and stores that cannot be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speech2vid.constants import PAPER_LANDMARKS, SAMPLES_PER_FRAME
from speech2vid.data.records import LANDMARKER, Track
from speech2vid.data.report import MANIFEST
from speech2vid.data.stored_faces import StoredFaces
from speech2vid.errors import DataError
from speech2vid.training import dataset as tracks_module
from speech2vid.training.dataset import TrackSet, load_splits
from speech2vid.training.sampling import StillMix


@pytest.fixture
def store(drawn_store: Callable[[Path], Path], tmp_path: Path) -> Path:
    return drawn_store(tmp_path / "store")


def edit(store: Path, old: str, new: str) -> None:
    manifest = store / MANIFEST
    manifest.write_text(manifest.read_text().replace(old, new))


def test_both_splits_come_whole(store: Path) -> None:
    train, val = load_splits(store)
    assert list(train.by_speaker) == ["speaker0", "speaker1", "speaker2"]
    assert list(val.by_speaker) == ["speaker3", "speaker4"]
    assert [track.key for track in train.tracks] == sorted(track.key for track in train.tracks)
    assert train.frames == 6 * 30
    assert train.hours == pytest.approx(6 * 30 / 25 / 3600)
    track = train[0]
    assert len(track) == len(track.frames) == len(track.windows) == 30
    assert track.windows.shape == (30, 1, 12, 35)
    assert len(track.audio) == 30 * SAMPLES_PER_FRAME


def test_windows_begin_where_the_first_frame_does(drawn_tracks: Callable[..., list[Track]]) -> None:
    """Audio before the first frame is context, not the first frame's."""
    (track,) = drawn_tracks(1, tracks=1)
    lead = np.full(8 * SAMPLES_PER_FRAME, 1000, np.int16)
    led = replace(
        track,
        audio=np.concatenate([lead, track.audio]),
        record=replace(track.record, audio_lead_frames=8),
    )
    plain, late = TrackSet([track])[0], TrackSet([led])[0]
    np.testing.assert_allclose(late.windows[8:], plain.windows[8:], atol=1e-4)
    assert not np.allclose(late.windows[0], plain.windows[0], atol=1e-2)


def test_everybody_is_drawn_and_stills_are_their_own(store: Path) -> None:
    train, _ = load_splits(store)
    sampler, rng = train.sampler(StillMix()), np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(60)]
    assert {train[each.track].speaker for each in drawn} == set(train.by_speaker)
    assert all(train[each.track].speaker == train[each.still_track].speaker for each in drawn)


def test_one_speaker_only(store: Path) -> None:
    for number in range(1, 5):
        edit(store, f"\tspeaker{number}\t", "\tspeaker0\t")
    with pytest.raises(DataError, match=r"only one speaker, speaker0.*at least two"):
        load_splits(store)


def test_an_empty_split(store: Path) -> None:
    edit(store, "\tval\t", "\ttest\t")
    with pytest.raises(DataError, match="no track in the split 'val', only in: test, train"):
        load_splits(store)


def test_a_speaker_in_both_splits(store: Path) -> None:
    edit(store, "\tspeaker3\t", "\tspeaker1\t")
    with pytest.raises(DataError, match="speaker1 is in train and in val"):
        load_splits(store)


def test_faces_left_in_the_store_are_the_same(store: Path) -> None:
    held, left = (load_splits(store, stream=stream)[0] for stream in (False, True))
    assert isinstance(left[0].frames, StoredFaces)
    for ours, theirs in zip(left.tracks, held.tracks, strict=True):
        assert ours.frames.shape == theirs.frames.shape
        numbers = np.array([[3, 29, 3], [0, -1, 7]])
        for part in (4, -1, slice(5, 9), slice(None), numbers, ours.opening > 2):
            np.testing.assert_array_equal(ours.frames[part], theirs.frames[part])
        np.testing.assert_array_equal(np.stack(list(ours.frames)), theirs.frames)
        np.testing.assert_array_equal(np.asarray(ours.frames), theirs.frames)
        np.testing.assert_array_equal(ours.landmarks, theirs.landmarks)
        np.testing.assert_array_equal(ours.audio, theirs.audio)


def test_what_does_not_fit_into_memory_is_left_in_the_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_splits(store)[0][0].frames, np.ndarray)
    monkeypatch.setattr(tracks_module.os, "sysconf", lambda name: 1000)
    assert isinstance(load_splits(store)[0][0].frames, StoredFaces)


def test_a_store_that_is_damaged_while_training_is_named(store: Path) -> None:
    train, _ = load_splits(store, stream=True)
    shard = store / "train-000000.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataError, match=r"train-000000\.tar is damaged: face 3"):
        train[0].frames[3]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a complete sample store"):
        load_splits(tmp_path)


def test_a_damaged_shard(store: Path) -> None:
    shard = store / "train-000000.tar"
    blob = bytearray(shard.read_bytes())
    blob[2000:3000] = bytes(1000)
    shard.write_bytes(blob)
    with pytest.raises(DataError, match="damaged"):
        load_splits(store)


def test_tracks_of_two_landmarkers_are_refused(drawn_tracks: Callable[..., list[Track]]) -> None:
    first, second = drawn_tracks(2, tracks=1)
    assert TrackSet([first, second]).landmarker == PAPER_LANDMARKS  # records of earlier versions name none
    other = replace(second, record=replace(second.record, versions={LANDMARKER: "mesh 1"}))
    assert TrackSet([other]).landmarker == "mesh 1"
    with pytest.raises(DataError, match=r"dlib-68 1 \(speaker0-0\) and mesh 1 \(speaker1-0\).*same --landmarks"):
        TrackSet([first, other])
