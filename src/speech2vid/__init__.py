"""A photo and a voice become a video of that face saying it (Speech2Vid, IJCV 2019); a video says another recording.

::

    from speech2vid import redub, talk

    talk("photo.jpg", "speech.wav", "out.mp4")
    redub("video.mp4", "other.wav", "dubbed.mp4")

Live, while the audio is coming in::

    from speech2vid import TalkStream

    stream = TalkStream.of("photo.jpg")
    images = stream.push(samples)  # 16 kHz
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech2vid.errors import Speech2VidError
    from speech2vid.inference.batch import BatchOutcome, batch
    from speech2vid.inference.identity import make_identity
    from speech2vid.inference.options import RedubOptions, TalkOptions
    from speech2vid.inference.redub import RedubResult, redub
    from speech2vid.inference.stream import TalkStream
    from speech2vid.inference.talk import TalkResult, talk
    from speech2vid.inference.talkers.base import Identity, Talker, load_talker
    from speech2vid.media.credentials import Signer

__version__ = "0.1.0"
__all__ = [
    "BatchOutcome",
    "Identity",
    "RedubOptions",
    "RedubResult",
    "Signer",
    "Speech2VidError",
    "TalkOptions",
    "TalkResult",
    "TalkStream",
    "Talker",
    "__version__",
    "batch",
    "load_talker",
    "make_identity",
    "redub",
    "talk",
]

_HOMES = {
    "BatchOutcome": "inference.batch",
    "Identity": "inference.talkers.base",
    "RedubOptions": "inference.options",
    "RedubResult": "inference.redub",
    "Signer": "media.credentials",
    "Speech2VidError": "errors",
    "TalkOptions": "inference.options",
    "TalkResult": "inference.talk",
    "TalkStream": "inference.stream",
    "Talker": "inference.talkers.base",
    "batch": "inference.batch",
    "load_talker": "inference.talkers.base",
    "make_identity": "inference.identity",
    "redub": "inference.redub",
    "talk": "inference.talk",
}


def __getattr__(name: str) -> Any:
    """Load the work when it is first asked for: ``import speech2vid`` alone loads nothing heavy."""
    if name in _HOMES:
        return getattr(import_module(f"speech2vid.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
