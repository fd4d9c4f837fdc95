"""Files appear whole, under any permitted name, through links, with the permissions that belong to them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from speech2vid.errors import OutputError
from speech2vid.files import PendingFile, atomic_write
from speech2vid.media import VideoWriter, save_image


def written(path: Path) -> Path:
    with VideoWriter(path, 64, 48) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    return path


def blob(path: Path) -> Path:
    atomic_write(path, b"content")
    return path


def image(path: Path) -> Path:
    return save_image(np.zeros((8, 8, 3), np.uint8), path)


WRITERS = [(written, ".mp4"), (image, ".png"), (blob, ".bin")]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
@pytest.mark.parametrize("length", [240, 255])
def test_names_of_any_permitted_length(tmp_path: Path, write, suffix: str, length: int) -> None:
    write(tmp_path / ("a" * (length - len(suffix)) + suffix))
    write(tmp_path / ("é" * ((length - len(suffix)) // 2) + suffix))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("write", "suffix"), WRITERS[:2])
def test_a_name_that_is_too_long_is_said(tmp_path: Path, write, suffix: str) -> None:
    with pytest.raises(OutputError, match="name is too long"):
        write(tmp_path / ("a" * 256 + suffix))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path: Path, write, suffix: str, there: bool) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / f"target{suffix}", tmp_path / f"link{suffix}"
    if there:
        target.touch()
    link.symlink_to(Path("real") / target.name)
    write(link)
    assert link.is_symlink()
    assert target.stat().st_size > 0
    assert [path.name for path in (tmp_path / "real").iterdir()] == [target.name]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_permissions_are_those_of_the_umask_or_of_the_file_before(tmp_path: Path, write, suffix: str) -> None:
    before = os.umask(0o027)
    try:
        path = write(tmp_path / f"a{suffix}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        assert stat.S_IMODE(write(path).stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_failure_leaves_the_file_before(tmp_path: Path) -> None:
    path = blob(tmp_path / "a.bin")

    def fail() -> None:
        with PendingFile(path) as pending:
            pending.path.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="not a file"):
        written(tmp_path / "a.mp4")
