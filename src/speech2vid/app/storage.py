"""Uploads and results: a folder that only this user account can read, and a record of who owns what in it.

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
MADE = "made"  # results: made/OWNER/TAB/JOB/
KEPT = "kept"  # what a page keeps from job to job: made/OWNER/TAB/kept/
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
        self._uploads: dict[Path, set[str]] = {}
        self._public: set[Path] = set()
        self._open: dict[Visitor, float | None] = {}  # when a page was closed; None: it is open

    def publish_existing(self) -> None:
        """Whatever lies in the folder now (the examples) may be read by everybody, and stays."""
        self._public = {path for path in self.root.rglob("*") if path.is_file() and path.name != LOCK}

    def record_upload(self, owner: str, path: Path) -> None:
        """``path`` came from ``owner``. The same content may come from several."""
        with self._mutex:
            self._uploads.setdefault(path, set()).add(owner)

    def may_read(self, owner: str, path: Path) -> bool:
        """Whether ``owner`` may see a file: an example, an upload of theirs, a result of theirs."""
        if ".." in path.parts or path.is_symlink() or any(part.startswith(".") for part in path.parts[1:]):
            return False
        with self._mutex:
            if path in self._public or owner in self._uploads.get(path, ()):
                return True
        return path.is_relative_to(self._made_by(owner))

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
            absent = {visitor.owner for visitor in gone} - {visitor.owner for visitor in self._open}
        for visitor in gone:
            self.forget_tab(visitor)
        for owner in absent:
            self.forget_owner(owner)
        self.remove_old(keep_s, busy)

    def forget_tab(self, visitor: Visitor) -> None:
        """Remove the results of a page."""
        shutil.rmtree(self._tab(visitor), ignore_errors=True)

    def forget_owner(self, owner: str) -> None:
        """Remove everything of a browser."""
        shutil.rmtree(self._made_by(owner), ignore_errors=True)
        with self._mutex:
            for path, owners in list(self._uploads.items()):
                owners.discard(owner)
                if not owners:
                    self._drop_upload(path)

    def remove_old(self, keep_s: float, busy: Collection[Path] = ()) -> None:
        """Remove uploads and results older than ``keep_s``; ``busy`` folders of running jobs stay."""
        oldest = time.time() - keep_s
        with self._mutex:
            for path in [path for path in self._uploads if _age_of(path) < oldest]:
                self._drop_upload(path)
        for tab in (tab for owner in _entries(self.root / MADE) for tab in _entries(owner)):
            for folder in _entries(tab):
                if folder not in busy and _age_of(folder) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
        half = time.time() - min(keep_s, HALF_UPLOAD_S)
        for path in _entries(self.root):  # what an upload that broke off has left; those that are whole lie in folders
            if path.name in (MADE, LOCK) or path in self._public:
                continue
            if path.is_file():
                if _age_of(path) < half:
                    path.unlink(missing_ok=True)
            elif _age_of(path) < oldest and not any(
                file in self._public or file in self._uploads for file in _entries(path)
            ):
                shutil.rmtree(path, ignore_errors=True)

    def stored_bytes(self) -> int:
        """Size of everything in the folder."""
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

    def _made_by(self, owner: str) -> Path:
        return self.root / MADE / _digest(owner)

    def _tab(self, visitor: Visitor) -> Path:
        return self._made_by(visitor.owner) / _digest(visitor.tab)

    def _drop_upload(self, path: Path) -> None:
        self._uploads.pop(path, None)
        if path not in self._public:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another file in it, or gone already
                path.parent.rmdir()


def remove_abandoned(parent: Path) -> None:
    """Remove folders of pages that ended without cleaning up (killed, power cut): nobody holds their lock."""
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
    """What is in a folder; nothing if it has gone meanwhile."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _age_of(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return time.time()
