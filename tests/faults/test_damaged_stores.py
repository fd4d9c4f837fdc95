"""A sample store that was damaged or made by a stranger: named, and nothing is written outside it."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from fuzzing import damaged
from sandbox import run

from speech2vid.data.shards import read_samples
from speech2vid.data.store import SampleStore


@pytest.fixture(scope="module")
def store(drawn_store, tmp_path_factory) -> Path:
    return drawn_store(tmp_path_factory.mktemp("stores") / "store")


def validate(path: Path) -> None:
    SampleStore(path).validate()


def hold(store: Path, seeds: range, folder: Path) -> None:
    names = sorted(path.name for path in store.iterdir() if path.suffix != ".html")
    unclean = []
    for seed in seeds:
        copy = folder / str(seed)
        shutil.copytree(store, copy)
        hit = copy / names[seed % len(names)]
        hit.write_bytes(damaged(hit.read_bytes(), seed))
        end = run(lambda copy=copy: validate(copy))
        if not end.clean:
            unclean.append((hit.name, seed, end))
        shutil.rmtree(copy)
    assert not unclean


def test_a_whole_store(store: Path) -> None:
    assert run(lambda: validate(store)).kind == "done"


def test_a_few(store: Path, tmp_path: Path) -> None:
    hold(store, range(24), tmp_path)


@pytest.mark.slow
def test_many(store: Path, tmp_path: Path) -> None:
    hold(store, range(24, 424), tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/speech2vid-outside.txt", "a/../../outside.txt"])
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("key.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert run(lambda: list(read_samples(folder / "a.tar"))).clean
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in folder.iterdir()] == ["a.tar"]
    assert not Path("/tmp/speech2vid-outside.txt").exists()
