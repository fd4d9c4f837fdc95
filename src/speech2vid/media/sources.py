"""What a caller may give in place of a file: a path, bytes, a file object, or an array."""

from __future__ import annotations

import io
import struct
from os import PathLike
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from speech2vid.errors import ConfigError, MediaError

Kind = Literal["audio", "video", "face"]

WAV_PCM, WAV_FLOAT = 1, 3  # format tags
MOST_BYTES = 2**32 - 64  # of a WAV file


class InMemory:
    """A file whose content is in memory. It is read like a :class:`~pathlib.Path`, as far as readers of media need.

    Args:
        name: for messages.
        content: of the file; a bytearray may grow while it is written.
        image: decoded pixels instead of content: (H, W, 3) uint8 RGB, or an image of Pillow.
    """

    def __init__(
        self, name: str, content: bytes | bytearray = b"", image: NDArray[np.uint8] | PIL.Image.Image | None = None
    ) -> None:
        self.name, self.content, self.image = name, content, image

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        """Return the file name extension of the name."""
        return Path(self.name).suffix

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Return a file object at the beginning of the content; several may be in use at the same time."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)  # shares the bytes
        return _View(self.content)  # type: ignore[return-value]


class _View(io.RawIOBase):
    """A position in a bytearray that can be read, written and extended."""

    def __init__(self, content: bytearray) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + (0, self._at, len(self._content))[whence]
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        block = self._content[self._at : self._at + len(buffer)]
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def write(self, block: Any, /) -> int:
        block = bytes(block)
        self._content.extend(bytes(max(0, self._at - len(self._content))))
        self._content[self._at : self._at + len(block)] = block
        self._at += len(block)
        return len(block)


AnyPath = str | PathLike[str]
AnyFile = AnyPath | bytes | bytearray | memoryview | IO[bytes] | InMemory
AnyAudio = AnyFile | tuple[NDArray[Any], int]  # samples (N,) or (N, channels) and their rate in Hz
AnyPhoto = AnyFile | NDArray[np.uint8] | PIL.Image.Image  # (H, W, 3) RGB
Source = Path | InMemory


def source_of(given: Any, kind: Kind) -> Source:
    """Return a path or a file in memory for what a caller gave.

    File objects are read to their end. Arrays of samples become a WAV file in memory, so that they are treated exactly
    as that file on a disk would be.

    Args:
        given: a path, bytes, or a binary file object; for ``audio`` also ``(samples, rate_hz)``, samples of shape (N,)
            or (N, channels), int16 or floating point in −1–1; for ``face`` also (H, W, 3) uint8 RGB or a Pillow image.
        kind: what it is; messages call what has no name by it.

    Raises:
        ConfigError: it is none of these, or an array of another shape or type.
        MediaError: samples that are not finite numbers.
    """
    if isinstance(given, Path | InMemory):
        return given
    if isinstance(given, str | PathLike):
        return Path(given)
    name = f"<{kind}>"
    if isinstance(given, bytes | bytearray | memoryview):
        return InMemory(name, bytes(given))
    if hasattr(given, "read") and not isinstance(given, PIL.Image.Image):
        return _read(given, name)
    if kind == "face" and isinstance(given, PIL.Image.Image):
        return InMemory(name, image=given)
    if kind == "face" and isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or not given.size:
            raise ConfigError(
                f"the face is an array of shape {given.shape} and type {given.dtype}",
                "give (height, width, 3) uint8, red first",
            )
        return InMemory(name, image=given)
    if kind == "audio" and isinstance(given, np.ndarray):
        raise ConfigError("the audio is an array without a sample rate", "give (samples, rate_hz)")
    if kind == "audio" and isinstance(given, tuple) and len(given) == 2:
        return InMemory(name, _wav(*given))
    arrays = {"audio": ", (samples, rate_hz)", "face": ", an image array, a Pillow image"}.get(kind, "")
    raise ConfigError(
        f"the {kind} cannot be a value of type {type(given).__name__}",
        f"give a path, bytes, a binary file object{arrays}",
    )


def same_file(one: Source, other: object) -> bool:
    """Return whether both are the same existing file; files in memory if their content is one object."""
    if isinstance(one, InMemory) and isinstance(other, InMemory):
        return one is other or (bool(one.content) and one.content is other.content)
    if not isinstance(one, Path) or not isinstance(other, Path):
        return False
    try:
        return one.exists() and other.exists() and one.samefile(other)
    except OSError:  # a name that no file can have
        return False


def _read(file: Any, name: str) -> InMemory:
    content = file.read()
    if not isinstance(content, bytes | bytearray | memoryview):
        raise ConfigError(f"{name} is a file object that gives text", "open it in binary mode ('rb')")
    own = getattr(file, "name", None)
    return InMemory(own if isinstance(own, str) else name, bytes(content))


def _wav(samples: Any, rate_hz: Any) -> bytes:
    """Return the samples as a WAV file: int16 stays int16, anything else becomes 32-bit floating point."""
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or not 1000 <= rate_hz <= 768_000:
        raise ConfigError(
            f"the sample rate cannot be {rate_hz!r}", "give (samples, rate_hz), the rate in samples per s"
        )
    samples = np.asarray(samples)
    whole = samples.dtype == np.int16
    if samples.ndim not in (1, 2) or not (whole or samples.dtype.kind == "f"):
        raise ConfigError(
            f"the audio is an array of shape {samples.shape} and type {samples.dtype}",
            "give samples of shape (N,) or (N, channels), int16 or floating point",
        )
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if not samples.size or channels > 64:
        raise ConfigError(
            f"the audio is an array of shape {samples.shape}", "give samples of shape (N,) or (N, channels)"
        )
    if not whole and not np.isfinite(samples).all():
        raise MediaError("the audio has samples that are not finite numbers", "replace NaN and infinity by 0")
    data: bytes = samples.astype("<i2" if whole else "<f4").tobytes()
    if len(data) > MOST_BYTES:
        raise ConfigError("the audio array is larger than 4 GB", "give a file")
    width = 2 if whole else 4
    tag, frame = (WAV_PCM if whole else WAV_FLOAT), width * channels
    head = struct.pack("<HHIIHH", tag, channels, int(rate_hz), int(rate_hz) * frame, frame, 8 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body
