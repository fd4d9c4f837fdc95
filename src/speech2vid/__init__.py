"""A photo and a voice become a video of that face saying it (Speech2Vid, IJCV 2019).

::

    from speech2vid import redub, talk

    talk("photo.jpg", "speech.wav", "out.mp4")
    redub("video.mp4", "other_speech.wav", "redub.mp4")

Live, while the sound is coming in::

    from speech2vid import TalkStream

    stream = TalkStream.of("photo.jpg")
    pictures = stream.push(samples)  # 16 kHz
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech2vid.inference.fields import TalkerNetworks
    from speech2vid.inference.identity import Identity, make_identity
    from speech2vid.inference.redub import RedubResult, redub
    from speech2vid.inference.stream import TalkStream
    from speech2vid.inference.talk import TalkResult, talk

__version__ = "0.1.0"
__all__ = [
    "Identity",
    "RedubResult",
    "TalkResult",
    "TalkStream",
    "TalkerNetworks",
    "__version__",
    "make_identity",
    "redub",
    "talk",
]


def __getattr__(name: str) -> Any:
    """Load the work when it is first asked for: ``import speech2vid`` alone loads nothing heavy."""
    if name in __all__:
        return getattr(import_module("speech2vid.inference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
