"""``prepare`` as a person runs it: exit codes, the report as JSON, skipped files by name."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from speech2vid.cli.prepare import prepare as command
from speech2vid.data.prepare import prepare as function
from speech2vid.media import VideoWriter, load_photo


@pytest.fixture
def videos(photo: Path, speech: Path, tmp_path: Path) -> Path:
    """A folder with a good video of one second and a bad one."""
    folder = tmp_path / "videos"
    folder.mkdir()
    image = load_photo(photo)
    with VideoWriter(folder / "good.mp4", 512, 512, audio_source=speech, audio_limit_s=1, preset="ultrafast") as writer:
        for _ in range(25):
            writer.write(image)
    (folder / "bad.mp4").write_text("not a video")
    return folder


def test_command_and_function_have_the_same_parameters() -> None:
    skin, work = inspect.signature(command).parameters, inspect.signature(function).parameters
    assert set(skin) - {"as_json"} == set(work) - {"on_progress", "shard_bytes"}
    assert skin["jobs"].default == work["jobs"].default


def test_some_skipped_is_3_and_they_are_named(speech2vid, videos: Path, tmp_path: Path) -> None:
    result = speech2vid("prepare", videos, "--out", tmp_path / "store", "--sync", "off", "--json")
    assert result.returncode == 3, result.stderr
    record = json.loads(result.stdout)
    assert record["tracks_kept"] == 1
    assert record["tracks_dropped"] == {"unreadable": 1}
    assert record["hours_in"] >= record["hours_kept"] > 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert "bad.mp4" in line
    assert "unreadable" in line


def test_all_good_is_0(speech2vid, videos: Path, tmp_path: Path) -> None:
    result = speech2vid("prepare", videos / "good.mp4", "--out", tmp_path / "store", "--sync", "off")
    assert result.returncode == 0, result.stderr
    assert "1 tracks from 1 of 1 files" in result.stdout


def test_nothing_kept_is_1(speech2vid, videos: Path, tmp_path: Path) -> None:
    result = speech2vid("prepare", videos / "bad.mp4", "--out", tmp_path / "store", "--sync", "off", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["tracks_kept"] == 0
    assert "error: no usable tracks were found" in result.stderr


def test_no_source_at_all_is_1(speech2vid, tmp_path: Path) -> None:
    result = speech2vid("prepare", tmp_path / "no*thing", "--out", tmp_path / "store", "--sync", "off")
    assert result.returncode == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["error", "hint"]
    assert not (tmp_path / "store").exists()


def test_validate_names_what_is_wrong(speech2vid, videos: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    speech2vid("prepare", videos / "good.mp4", "--out", store, "--sync", "off")
    assert json.loads(speech2vid("validate", store, "--json").stdout)["tracks_kept"] == 1
    (shard,) = store.glob("*.tar")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    result = speech2vid("validate", store)
    assert result.returncode == 1
    assert shard.name in result.stderr
