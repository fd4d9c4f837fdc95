"""Who is seen in a track, and splits that share neither a face nor a file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from speech2vid.constants import FACE_PX
from speech2vid.data.jpeg import decode_jpegs
from speech2vid.data.records import FaceTrack
from speech2vid.faces.cluster import mean_embedding

LOOKS = 3  # frames of a track that are looked at
DECIMALS = 4


def embedding_of(track: FaceTrack) -> list[float]:
    """Mean face embedding of a track, (128,), rounded for the record."""
    at = np.unique(np.linspace(0, len(track) - 1, LOOKS + 2)[1:-1].round().astype(int))
    faces = decode_jpegs(b"".join(track.jpegs[i] for i in at), len(at), FACE_PX)
    mean = mean_embedding(list(faces), [track.landmarks[i] for i in at])
    return [round(float(value), DECIMALS) for value in mean]


def connected(members: Mapping[str, Sequence[Hashable]]) -> dict[str, str]:
    """Join the keys that share a member, directly or through others: key → first key of its company."""
    company = {key: key for key in members}

    def head(key: str) -> str:
        while company[key] != key:
            key = company[key]
        return key

    first: dict[Hashable, str] = {}
    for key, shared in members.items():
        for each in shared:
            a, b = sorted((head(first.setdefault(each, key)), head(key)))
            company[b] = a
    return {key: head(key) for key in members}
