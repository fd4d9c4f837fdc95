"""The page's private folder: who may read what, what goes when, and what a killed page leaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech2vid.app.storage import PrivateFolder, remove_abandoned


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateFolder]:
    folder = PrivateFolder(tmp_path)
    yield folder
    folder.close()
    assert not folder.root.exists()


def upload(private: PrivateFolder, owner: str, name: str = "me.jpg") -> Path:
    path = private.root / "abc123" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    private.record_upload(owner, path)
    return path


def make_old(path: Path) -> None:
    os.utime(path, (1, 1))


def test_only_this_account_reads_the_folder(private: PrivateFolder) -> None:
    assert stat.S_IMODE(private.root.stat().st_mode) == 0o700


def test_uploads_and_results_belong_to_their_owner(private: PrivateFolder) -> None:
    example = private.root / "example.jpg"
    example.write_bytes(b"x")
    private.publish_existing()
    mine = upload(private, "ann")
    with private.job("ann", "tab") as folder:
        result = folder / "talk.mp4"
        result.write_bytes(b"x")
    assert private.may_read("bob", example)
    for path in (mine, result):
        assert private.may_read("ann", path)
        assert not private.may_read("bob", path)
    assert not private.may_read("ann", private.root / ".lock")
    assert not private.may_read("ann", folder / ".talk.1234.mp4")
    assert not private.may_read("ann", folder / ".." / ".." / ".." / "x" / "y" / "talk.mp4")
    (folder / "link.mp4").symlink_to("/etc/passwd")
    assert not private.may_read("ann", folder / "link.mp4")
    assert not private.may_read("ann", Path("/etc/passwd"))


def test_the_same_file_of_two_people_stays_until_both_have_gone(private: PrivateFolder) -> None:
    path = upload(private, "ann")
    private.record_upload("bob", path)
    private.forget_owner("ann")
    assert not private.may_read("ann", path)
    assert private.may_read("bob", path)
    assert path.exists()
    private.forget_owner("bob")
    assert not path.parent.exists()


def test_a_job_that_fails_leaves_nothing(private: PrivateFolder) -> None:
    job = private.job("ann", "tab")
    folder = job.__enter__()
    (folder / "half.mp4").write_bytes(b"x")
    assert not job.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not folder.exists()


def test_age_removes_all_but_examples_and_running_jobs(private: PrivateFolder) -> None:
    example = private.root / "examples" / "a.jpg"
    example.parent.mkdir()
    example.write_bytes(b"x")
    private.publish_existing()
    old, young = upload(private, "ann", "old.jpg"), upload(private, "ann", "young.jpg")
    broken_off = private.root / "tmpupload"
    broken_off.write_bytes(b"x")
    with private.job("ann", "tab") as done:
        pass
    with private.job("ann", "tab") as running:
        for path in (example, example.parent, old, broken_off, done, running):
            make_old(path)
        private.remove_old(60)
        assert running.exists()
    assert not done.exists()
    assert not old.exists()
    assert not broken_off.exists()
    assert not private.may_read("ann", old)
    assert young.exists()
    assert example.exists()


def test_a_closed_tab_loses_its_results_only(private: PrivateFolder) -> None:
    with private.job("ann", "one") as first, private.job("ann", "two") as second:
        pass
    private.forget_tab("ann", "one")
    assert not first.exists()
    assert second.exists()


def test_what_a_killed_page_left_is_removed_and_a_running_one_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from speech2vid.app.storage import PrivateFolder; "
        "p = PrivateFolder(Path(sys.argv[1])); (p.root / 'x').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.glob("speech2vid-app-*")
    assert (left / "x").exists()
    running = PrivateFolder(tmp_path)
    assert not left.exists()
    remove_abandoned(tmp_path)
    assert running.root.exists()
    running.close()


def test_folders_that_vanish_meanwhile_disturb_nobody(private: PrivateFolder) -> None:
    """Jobs come and go in other threads while sizes are added up and old files are looked for."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            with private.job("ann", "tab") as folder:
                (folder / "given").mkdir()
                (folder / "x").write_bytes(b"x")
            private.forget_owner("ann")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(300):
            private.stored_bytes()
            private.remove_old(60)
    finally:
        over.set()
        thread.join()
