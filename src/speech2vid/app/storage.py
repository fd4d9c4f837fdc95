"""Uploads and results: a folder that only this user account can read, with a subfolder for each owner.

Owners are browsers (a cookie), tabs are pages of theirs. Pages see the folder as ``/private``; its real path, which
may contain a user's name, never leaves the machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

PREFIX = "speech2vid-app-"
SHOWN = "/private"
RESULTS = "made"  # made/OWNER/TAB/JOB/, made/OWNER/TAB/kept/, made/OWNER/uploads/UPLOAD/
KEPT, UPLOADS = "kept", "uploads"
LOCK = ".lock"
HALF_UPLOAD_S = 60  # after the last byte of an upload that was not completed


@dataclass(frozen=True)
class Visitor:
    """A browser (its cookie) and one page in it."""

    owner: str
    tab: str


class Storage:
    """A folder of mode 0700 for one running server.

    Args:
        parent: the system's temporary folder by default.

    Attributes:
        root: the folder.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        remove_abandoned(parent)
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()  # mkdtemp makes it 0700
        self._lock_file = (self.root / LOCK).open("w")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._mutex = threading.Lock()
        self._public: set[Path] = set()
        self._open: dict[Visitor, float | None] = {}  # when a page was closed; None: it is open

    def publish_existing(self) -> None:
        """Let everybody read the files that lie in the folder now (the examples); they stay."""
        self._public = {path for path in self.root.rglob("*") if path.is_file() and path.name != LOCK}

    def may_read(self, owner: str, path: Path) -> bool:
        """Return whether ``owner`` may read a file: an example, or an upload or result of theirs."""
        if ".." in path.parts or path.is_symlink() or any(part.startswith(".") for part in path.parts[1:]):
            return False
        return path in self._public or (path.is_relative_to(self._results_of(owner)) and path.is_file())

    def take_upload(self, owner: str, path: Path) -> Path:
        """Link a file that Gradio has saved into its owner's folder; return where it is there.

        Gradio's own file, which is the same for all who upload the same content, is removed by ``tidy``.
        """
        folder = self._results_of(owner) / UPLOADS / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        link(path, folder / path.name)
        return folder / path.name

    def new_folder(self, visitor: Visitor) -> Path:
        """Return a new folder for a job of a visitor and its results."""
        folder = self._tab(visitor) / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        return folder

    def kept(self, visitor: Visitor) -> Path:
        """Return the folder for what a page's jobs keep for later ones; it goes with the page's results."""
        return self._tab(visitor) / KEPT

    def open(self, visitor: Visitor) -> None:
        """Record that a page was opened."""
        with self._mutex:
            self._open[visitor] = None

    def leave(self, visitor: Visitor) -> None:
        """Record that a page was closed: its files go a little later, see ``tidy``."""
        with self._mutex:
            if visitor in self._open:
                self._open[visitor] = time.monotonic()

    def tidy(self, grace_s: float, keep_s: float, busy: Collection[Path] = ()) -> None:
        """Remove the files of pages closed for ``grace_s``, and all older than ``keep_s`` but ``busy`` folders."""
        before = time.monotonic() - grace_s
        with self._mutex:
            gone = [visitor for visitor, closed in self._open.items() if closed is not None and closed < before]
            for visitor in gone:
                del self._open[visitor]
            present = {visitor.owner for visitor in self._open}
        for visitor in gone:
            folder = self._tab(visitor) if visitor.owner in present else self._results_of(visitor.owner)
            shutil.rmtree(folder, ignore_errors=True)
        for tab in (tab for owner in _entries(self.root / RESULTS) for tab in _entries(owner)):
            for folder in _entries(tab):
                if folder not in busy and _age_s(folder) > keep_s:
                    shutil.rmtree(folder, ignore_errors=True)
        for path in _entries(self.root):  # Gradio's: uploads that were taken, or broke off
            examples = path in self._public or any(file in self._public for file in path.glob("*"))
            if path.name not in (RESULTS, LOCK) and not examples and _age_s(path) > min(keep_s, HALF_UPLOAD_S):
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)

    def stored_bytes(self) -> int:
        """Return the size of everything in the folder."""
        total = 0
        for folder, _, files in os.walk(self.root):  # goes on where something vanishes meanwhile, unlike rglob
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def close(self) -> None:
        """Remove the folder. May be called twice."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock_file.close()

    def _results_of(self, owner: str) -> Path:
        return self.root / RESULTS / _digest(owner)

    def _tab(self, visitor: Visitor) -> Path:
        return self._results_of(visitor.owner) / _digest(visitor.tab)


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove_abandoned(parent: Path) -> None:
    """Remove folders of servers that ended without cleaning up (killed, power cut): nobody holds their lock."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _digest(name: str) -> str:
    """A folder name that tells nothing of a cookie."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder; none if it has gone meanwhile."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
