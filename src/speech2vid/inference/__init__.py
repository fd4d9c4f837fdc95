"""Stills and audio → video, on ONNX Runtime and numpy."""

from speech2vid.inference.identity import Identity, make_identity
from speech2vid.inference.redub import RedubResult, redub
from speech2vid.inference.stream import TalkStream
from speech2vid.inference.talk import TalkResult, generate_frames, talk
from speech2vid.inference.talkers.warp import TalkerNetworks

__all__ = [
    "Identity",
    "RedubResult",
    "TalkResult",
    "TalkStream",
    "TalkerNetworks",
    "generate_frames",
    "make_identity",
    "redub",
    "talk",
]
