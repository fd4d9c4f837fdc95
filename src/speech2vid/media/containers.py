"""The output containers: what each of them can hold, sign and hide."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Generator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import av

from speech2vid.errors import ConfigError, OutputError
from speech2vid.files import PendingFile
from speech2vid.media.sources import AnyPath, InMemory
from speech2vid.media.streams import reason


@dataclass(frozen=True)
class Container:
    """An output container.

    Attributes:
        suffix: of the file name.
        muxer: FFmpeg's name.
        holds: FFmpeg's names of the audio and subtitle codecs that are copied into it; None: nearly everything.
        signed_as: media type under which Content Credentials are put into it; None: they cannot be.
        edit_lists: whether it hides what is copied from before time 0.
        options: of the muxer.
    """

    suffix: str
    muxer: str
    holds: frozenset[str] | None = None
    signed_as: str | None = None
    edit_lists: bool = False
    options: dict[str, str] = field(default_factory=dict)

    def can_hold(self, codec: str) -> bool:
        """Return whether a stream of this codec can be copied into it."""
        return self.holds is None or codec in self.holds


_COMMON = {"mov_text", "aac", "mp3", "ac3", "eac3", "alac"}
_PCM = {"pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_s24be"}
_FASTSTART = {"movflags": "+faststart"}
CONTAINERS = {
    container.suffix: container
    for container in (
        Container(".mp4", "mp4", frozenset({*_COMMON, "opus", "flac", "dvd_subtitle"}), "video/mp4", True, _FASTSTART),
        Container(".mov", "mov", frozenset({*_COMMON, *_PCM}), "video/quicktime", True, _FASTSTART),
        Container(".mkv", "matroska"),
    )
}


class MemoryOutput:
    """An output that is not a file on a disk: an MP4 file in memory.

    Args:
        file: a writable binary file object that gets the whole content in one call of ``write``.

    Attributes:
        content: the whole file, or nothing before it is complete; stays empty if there is a ``file``.
    """

    suffix = ".mp4"

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.content = b""
        self.file = file

    def __str__(self) -> str:
        return "<output>"


AnyOutput = AnyPath | IO[bytes] | MemoryOutput
Output = Path | MemoryOutput


class PendingMemory:
    """What :class:`~speech2vid.files.PendingFile` is for a path: content that its target gets complete or not at all.

    Attributes:
        path: the content while it is written.
    """

    def __init__(self, target: MemoryOutput) -> None:
        self.path = InMemory(f"{target}{target.suffix}", bytearray())
        self._target = target

    def commit(self) -> None:
        """Hand the content over."""
        content = bytes(self.path.content)
        if self._target.file is None:
            self._target.content = content
        else:
            self._target.file.write(content)
        self.discard()

    def discard(self) -> None:
        """Forget the content."""
        self.path.content = b""

    def __enter__(self) -> PendingMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.commit()


def output_of(given: AnyOutput) -> Output:
    """Return a path or an output in memory for what a caller gave.

    Raises:
        ConfigError: it is neither a path nor a binary file object.
    """
    if isinstance(given, MemoryOutput):
        return given
    if isinstance(given, str | PathLike):
        return Path(given)
    if hasattr(given, "write"):
        return MemoryOutput(given)
    raise ConfigError(
        f"the output cannot be a value of type {type(given).__name__}", "give a path or a binary file object"
    )


def open_output(pending: PendingFile | PendingMemory, container: Container) -> Any:
    """Return PyAV's container that writes a pending output."""
    path = pending.path
    if isinstance(path, InMemory):  # opened once more by the muxer, to move the index to the beginning
        again = lambda url, flags, options: path.open()  # noqa: E731
        return av.open(path.open(), "w", format=container.muxer, options=container.options, io_open=again)
    return av.open(str(path.absolute()), "w", format=container.muxer, options=container.options)


def container_of(outfile: Output) -> Container:
    """Return the container that the suffix asks for.

    Raises:
        OutputError: no container has this suffix.
    """
    if outfile.suffix.lower() not in CONTAINERS:
        raise OutputError(f"{outfile} has an unsupported file name extension", f"use one of {', '.join(CONTAINERS)}")
    return CONTAINERS[outfile.suffix.lower()]


def pending_output(outfile: Output) -> PendingFile | PendingMemory:
    """Create the hidden file that becomes ``outfile``, or its counterpart in memory.

    Raises:
        OutputError: a folder or a device has this name, its folder is missing or not writable, or the name is too long.
    """
    if isinstance(outfile, MemoryOutput):
        return PendingMemory(outfile)
    try:
        if outfile.is_dir():
            raise OutputError(f"{outfile} is a folder", "give a file name inside it")
        if outfile.exists() and not outfile.is_file():
            raise OutputError(f"{outfile} is a device or a pipe, not a file", "write to a file")
        if not outfile.parent.is_dir():
            raise OutputError(f"the folder {outfile.parent} does not exist", "create it first")
        return PendingFile(outfile)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{outfile} cannot be written: its name is too long", "give it a shorter name") from error
        raise OutputError(
            f"{outfile} cannot be written: {reason(error)}", "choose a folder in which you may write"
        ) from error


@contextlib.contextmanager
def output_errors(outfile: Output) -> Generator[None, None, None]:
    """Turn what FFmpeg and the system report while ``outfile`` is written into an ``OutputError``."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some disk space or choose another folder" if full else "choose another folder"
        raise OutputError(f"{outfile} could not be written: {reason(error)}", hint) from error
