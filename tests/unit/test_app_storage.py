"""The page's private folder: who may read what, what goes when, and what a killed page leaves."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech2vid.app.storage import Storage, Visitor, remove_abandoned


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    folder = Storage(tmp_path)
    yield folder
    folder.close()
    assert not folder.root.exists()


def upload(storage: Storage, owner: str, name: str = "me.jpg") -> Path:
    """As Gradio saves a file: the same content in the same place."""
    path = storage.root / "abc123" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return storage.take_upload(owner, path)


def make_old(path: Path) -> None:
    os.utime(path, (1, 1))


def test_only_this_account_reads_the_folder(storage: Storage) -> None:
    assert stat.S_IMODE(storage.root.stat().st_mode) == 0o700


def test_uploads_and_results_belong_to_their_owner(storage: Storage) -> None:
    example = storage.root / "example.jpg"
    example.write_bytes(b"x")
    storage.publish_existing()
    mine = upload(storage, "ann")
    folder = storage.new_folder(Visitor("ann", "tab"))
    result = folder / "talk.mp4"
    result.write_bytes(b"x")
    assert storage.may_read("bob", example)
    for path in (mine, result):
        assert storage.may_read("ann", path)
        assert not storage.may_read("bob", path)
    assert not storage.may_read("ann", storage.root / ".lock")
    assert not storage.may_read("ann", folder / ".talk.1234.mp4")
    assert not storage.may_read("ann", folder / ".." / ".." / ".." / "x" / "y" / "talk.mp4")
    (folder / "link.mp4").symlink_to("/etc/passwd")
    assert not storage.may_read("ann", folder / "link.mp4")
    assert not storage.may_read("ann", Path("/etc/passwd"))


def test_the_same_file_of_two_visitors_is_one_of_each(storage: Storage) -> None:
    ann, bob = Visitor("ann", "tab"), Visitor("bob", "tab")
    saved = storage.root / "abc123" / "me.jpg"
    anns, bobs = upload(storage, "ann"), upload(storage, "bob")
    assert not storage.may_read("ann", bobs)
    assert not storage.may_read("ann", saved)
    for visitor in (ann, bob):
        storage.open(visitor)
    storage.leave(ann)
    storage.tidy(grace_s=0, keep_s=60)
    assert not anns.exists()
    assert storage.may_read("bob", bobs)


def test_age_removes_all_but_examples_and_running_jobs(storage: Storage) -> None:
    example = storage.root / "examples" / "a.jpg"
    example.parent.mkdir()
    example.write_bytes(b"x")
    storage.publish_existing()
    old, young = upload(storage, "ann", "old.jpg"), upload(storage, "ann", "young.jpg")
    broken_off = storage.root / "tmpupload"
    broken_off.write_bytes(b"x")
    done, running = (storage.new_folder(Visitor("ann", "tab")) for _ in range(2))
    saved = storage.root / "abc123"
    for path in (example, example.parent, old.parent, broken_off, saved, done, running):
        make_old(path)
    storage.tidy(grace_s=60, keep_s=60, busy={running})
    assert running.exists()
    assert not done.exists()
    assert not old.exists()
    assert not broken_off.exists()
    assert not saved.exists()
    assert not storage.may_read("ann", old)
    assert young.exists()
    assert example.exists()


def test_a_closed_tab_loses_its_results_only(storage: Storage) -> None:
    first, second = (storage.new_folder(Visitor("ann", tab)) for tab in ("one", "two"))
    for tab in ("one", "two"):
        storage.open(Visitor("ann", tab))
    storage.leave(Visitor("ann", "one"))
    storage.tidy(grace_s=0, keep_s=60)
    assert not first.exists()
    assert second.exists()


def test_files_of_a_closed_page_go_after_a_grace_period(storage: Storage) -> None:
    mine = upload(storage, "ann")
    one, two = Visitor("ann", "one"), Visitor("ann", "two")
    first, second = storage.new_folder(one), storage.new_folder(two)
    storage.open(one)
    storage.open(two)
    storage.leave(one)
    storage.tidy(grace_s=60, keep_s=60)
    assert first.exists()
    storage.tidy(grace_s=0, keep_s=60)
    assert not first.exists()
    assert second.exists()
    assert mine.exists()
    storage.leave(two)
    storage.tidy(grace_s=0, keep_s=60)
    assert not second.exists()
    assert not mine.exists()


def test_what_a_killed_page_left_is_removed_and_a_running_one_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from speech2vid.app.storage import Storage; "
        "p = Storage(Path(sys.argv[1])); (p.root / 'x').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.glob("speech2vid-app-*")
    assert (left / "x").exists()
    running = Storage(tmp_path)
    assert not left.exists()
    remove_abandoned(tmp_path)
    assert running.root.exists()
    running.close()


def test_folders_that_vanish_meanwhile_disturb_nobody(storage: Storage) -> None:
    """Jobs come and go in other threads while sizes are added up and old files are looked for."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                folder = storage.new_folder(Visitor("ann", "tab"))
                (folder / "given").mkdir()
                (folder / "x").write_bytes(b"x")
            shutil.rmtree(storage.root / "made", ignore_errors=True)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(300):
            storage.stored_bytes()
            storage.tidy(60, 60)
    finally:
        over.set()
        thread.join()
