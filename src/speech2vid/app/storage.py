"""Where uploads and results live: a folder that only this user account reads, and a ledger of who owns what in it.

Owners are browsers (a cookie), tabs are pages of theirs. Pages see the folder as ``/storage``; its real place, which
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
from collections.abc import Iterator
from pathlib import Path

PREFIX = "speech2vid-app-"
SHOWN = "/private"
RESULTS = "made"  # results: made/OWNER/TAB/JOB/
KEPT = "kept"  # what a page keeps from job to job: made/OWNER/TAB/kept/
LOCK = ".lock"
HALF_UPLOAD_S = 60  # after the last byte of an upload that was not completed


class Storage:
    """A folder of mode 0700 for one running page.

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
        self._busy: set[Path] = set()

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
        return path.is_relative_to(self._results_of(owner))

    @contextlib.contextmanager
    def job(self, owner: str, tab: str) -> Iterator[Path]:
        """A new folder for a job and its results. Not removed by age while the job runs; removed if it raises."""
        folder = self._results_of(owner) / _digest(tab) / secrets.token_urlsafe(16)
        folder.mkdir(parents=True)
        self._busy.add(folder)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._busy.discard(folder)

    def kept(self, owner: str, tab: str) -> Path:
        """Where a page keeps from job to job what it found out about its files; goes with its results."""
        return self._results_of(owner) / _digest(tab) / KEPT

    def forget_tab(self, owner: str, tab: str) -> None:
        """Remove the results of a page that was closed."""
        shutil.rmtree(self._results_of(owner) / _digest(tab), ignore_errors=True)

    def forget_owner(self, owner: str) -> None:
        """Remove everything of a browser whose last page was closed."""
        shutil.rmtree(self._results_of(owner), ignore_errors=True)
        with self._mutex:
            for path, owners in list(self._uploads.items()):
                owners.discard(owner)
                if not owners:
                    self._drop_upload(path)

    def remove_old(self, keep_s: float) -> None:
        """Remove uploads and results that have lain longer than ``keep_s``."""
        oldest = time.time() - keep_s
        with self._mutex:
            for path in [path for path in self._uploads if _age_of(path) < oldest]:
                self._drop_upload(path)
        for tab in (tab for owner in _entries(self.root / RESULTS) for tab in _entries(owner)):
            for folder in _entries(tab):
                if folder not in self._busy and _age_of(folder) < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
        half = time.time() - min(keep_s, HALF_UPLOAD_S)
        for path in _entries(self.root):  # what an upload that broke off has left; those that are whole lie in folders
            if path.name in (RESULTS, LOCK) or path in self._public:
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
        """Remove the folder."""
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock_file.close()

    def _results_of(self, owner: str) -> Path:
        return self.root / RESULTS / _digest(owner)

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
