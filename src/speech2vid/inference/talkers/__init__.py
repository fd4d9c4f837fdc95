"""Generation methods: one talker a file, all behind the interface of :mod:`speech2vid.inference.talkers.base`."""

from speech2vid.inference.talkers.base import (
    AlignedFaces,
    Canvas,
    Generated,
    Identity,
    Talker,
    WarpFields,
    load_talker,
)

__all__ = ["AlignedFaces", "Canvas", "Generated", "Identity", "Talker", "WarpFields", "load_talker"]
