"""Files that appear complete or not at all, and the folders that come with the package."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import weakref
from importlib import resources
from pathlib import Path
from types import TracebackType

# Hold it while NumPy reads a file: it parses headers with `ast`, and in Python 3.11 and 3.12 two threads that do so at
# once may end in a SystemError (gh-106905)
NUMPY_READ = threading.Lock()


class PendingFile:
    """A file that is written under a hidden name next to its target and takes the target's name in one step.

    A symbolic link is followed: the file it points to is replaced and the link stays. A file that is replaced hands on
    its permissions; a new one gets those that the umask leaves. Use it as a context manager: leaving the block with an
    exception discards the file, leaving it normally commits it.

    Args:
        target: path of the finished file, in a folder that exists.

    Attributes:
        path: the hidden file, which exists and is empty at first. Its name has the suffix of the target and is short,
            so that a target name of any permitted length works.

    Raises:
        OSError: the folder is missing or not writable.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.realpath(target))
        self.path = self.target.with_name(f".{secrets.token_hex(8)}{self.target.suffix[:16]}")
        weakref.finalize(self, _remove, self.path)  # also when a signal arrives at the worst moment
        self.path.open("xb").close()

    def commit(self, *, lasting: bool = False) -> None:
        """Give the hidden file the name of the target; ``lasting``: after its content has reached the disk."""
        if lasting:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(self.path, stat.S_IMODE(self.target.stat().st_mode))
        os.replace(self.path, self.target)

    def discard(self) -> None:
        """Remove the hidden file; an existing target stays as it was."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> PendingFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
        finally:
            self.discard()


def atomic_write(path: Path, blob: bytes, *, lasting: bool = False) -> None:
    """Write a file in one step: it appears complete, or the previous one stays.

    Args:
        path: the file.
        blob: its content.
        lasting: it must outlast a power failure.

    Raises:
        OSError: it cannot be written.
    """
    pending = PendingFile(path)
    try:
        pending.path.write_bytes(blob)
        pending.commit(lasting=lasting)
    finally:
        pending.discard()


def package_weights() -> Path:
    """Return the folder of the weights that come with the package."""
    return Path(str(resources.files("speech2vid") / "weights"))


def package_assets() -> Path:
    """Return the folder of the photo, the speech and the canonical face that come with the package."""
    return Path(str(resources.files("speech2vid") / "assets"))


def _remove(hidden: Path) -> None:
    with contextlib.suppress(OSError):  # nobody is left to report it to
        hidden.unlink()
