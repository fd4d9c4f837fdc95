"""The benchmark of the sync network: corrections are put back, windows are counted right, the tables are whole."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from speech2vid.data.records import Track
from speech2vid.faces import SyncNetworks


@pytest.fixture(scope="module")
def benchmark(root: Path) -> ModuleType:
    name = "sync_accuracy"
    spec = importlib.util.spec_from_file_location(name, root / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("late", [-3, 2])
def test_what_preparation_took_out_is_put_back(
    benchmark: ModuleType, drawn_tracks: Callable[..., list[Track]], late: int
) -> None:
    (track,) = drawn_tracks(1, 1, frames=60)
    corrected = replace(track, record=replace(track.record, offset_s=late / 25, offset_frames=late))
    networks = SyncNetworks(threads=1)
    plain, back = (benchmark.clip_of(each, networks).audio for each in (track, corrected))
    inner = slice(15, 40)
    moved = slice(inner.start + late, inner.stop + late)
    assert (back[moved] * plain[inner]).sum(axis=1).mean() > 0.95  # unit vectors
    assert (back[inner] * plain[inner]).sum(axis=1).mean() < 0.9


def test_windows_within_a_frame_are_counted(benchmark: ModuleType) -> None:
    values = np.zeros((100, 31), np.float32)
    values[:50, 16], values[50:, 20] = 1, 1  # right by a frame, then wrong by five
    clip = benchmark.Clip("key", "she", *[np.zeros((100, 1), np.float32)] * 4, 0)
    found = benchmark.accuracy([values], [clip], 5)
    assert found["windows"].value == found["clips"].value == pytest.approx(48 / 96, abs=0.02)
    assert benchmark.accuracy([values], [clip], 200) is None


def test_the_tables_are_whole(benchmark: ModuleType, drawn_tracks: Callable[..., list[Track]]) -> None:
    networks = SyncNetworks(threads=1)
    record = benchmark.measure([benchmark.clip_of(track, networks) for track in drawn_tracks(2, 1, frames=80)])
    text = benchmark.markdown(record)
    assert "2 clips" in text
    assert "chance 9.7%" in text
    assert text.count("sync network") == 1
