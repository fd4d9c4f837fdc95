"""A photo and a voice become a video of that face saying it (Speech2Vid, IJCV 2019); a video says another recording.

::

    from speech2vid import redub, talk

    talk("photo.jpg", "speech.wav", "out.mp4")
    redub("video.mp4", "other.wav", "dubbed.mp4")

Without files, for one face and many recordings::

    from speech2vid import make_identity, talk

    identity = make_identity(photo_bytes)
    video = talk(identity, (samples, 48_000))  # the MP4 file as bytes

Live, while the audio is coming in::

    from speech2vid import TalkStream

    stream = TalkStream.of("photo.jpg")
    images = stream.push(samples)  # 16 kHz
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speech2vid.errors import (
        ConfigError,
        DataError,
        FaceError,
        MediaError,
        MissingExtraError,
        OutputError,
        Speech2VidError,
        TrainingError,
        TrainingStopped,
        WeightsError,
    )
    from speech2vid.faces.sync import SyncNetworks
    from speech2vid.inference.batch import BatchOutcome, batch
    from speech2vid.inference.identity import make_identity
    from speech2vid.inference.options import RedubOptions, TalkOptions
    from speech2vid.inference.people import PersonFound, people
    from speech2vid.inference.redub import RedubResult, redub
    from speech2vid.inference.redubbers.base import Redubber
    from speech2vid.inference.redubbers.choose import load_redubber
    from speech2vid.inference.stream import TalkStream
    from speech2vid.inference.sync import SyncResult, sync
    from speech2vid.inference.talk import TalkResult, talk
    from speech2vid.inference.talkers.base import Identity, Talker, load_talker
    from speech2vid.media.credentials import Signer
    from speech2vid.media.verification import Verification, verify

__version__ = "0.1.0"
__all__ = [
    "BatchOutcome",
    "ConfigError",
    "DataError",
    "FaceError",
    "Identity",
    "MediaError",
    "MissingExtraError",
    "OutputError",
    "PersonFound",
    "RedubOptions",
    "RedubResult",
    "Redubber",
    "Signer",
    "Speech2VidError",
    "SyncNetworks",
    "SyncResult",
    "TalkOptions",
    "TalkResult",
    "TalkStream",
    "Talker",
    "TrainingError",
    "TrainingStopped",
    "Verification",
    "WeightsError",
    "__version__",
    "batch",
    "load_redubber",
    "load_talker",
    "make_identity",
    "people",
    "redub",
    "sync",
    "talk",
    "verify",
]

_HOMES = {
    "BatchOutcome": "inference.batch",
    "ConfigError": "errors",
    "DataError": "errors",
    "FaceError": "errors",
    "Identity": "inference.talkers.base",
    "MediaError": "errors",
    "MissingExtraError": "errors",
    "OutputError": "errors",
    "PersonFound": "inference.people",
    "RedubOptions": "inference.options",
    "RedubResult": "inference.redub",
    "Redubber": "inference.redubbers.base",
    "Signer": "media.credentials",
    "Speech2VidError": "errors",
    "SyncNetworks": "faces.sync",
    "SyncResult": "inference.sync",
    "TalkOptions": "inference.options",
    "TalkResult": "inference.talk",
    "TalkStream": "inference.stream",
    "Talker": "inference.talkers.base",
    "TrainingError": "errors",
    "TrainingStopped": "errors",
    "Verification": "media.verification",
    "WeightsError": "errors",
    "batch": "inference.batch",
    "load_redubber": "inference.redubbers.choose",
    "load_talker": "inference.talkers.base",
    "make_identity": "inference.identity",
    "people": "inference.people",
    "redub": "inference.redub",
    "sync": "inference.sync",
    "talk": "inference.talk",
    "verify": "media.verification",
}


def __getattr__(name: str) -> Any:
    """Load the work when it is first asked for: ``import speech2vid`` alone loads nothing heavy."""
    if name in _HOMES:
        return getattr(import_module(f"speech2vid.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
