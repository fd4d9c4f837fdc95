"""Who is who, where nobody says it: tracks grouped by face, and splits that share neither a face nor a file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX
from speech2vid.data.pictures import decode_pictures
from speech2vid.data.records import FaceTrack
from speech2vid.face.embedding import embed, face_chip

SAME_PERSON = 0.55  # distance of embeddings: 95 % of pairs of one person are below 0.43, of two above 0.68
LOOKS = 3  # frames of a track that are looked at
DECIMALS = 4


def embedding_of(track: FaceTrack) -> list[float]:
    """Mean face embedding of a track, (128,), rounded for the record."""
    at = np.unique(np.linspace(0, len(track) - 1, LOOKS + 2)[1:-1].round().astype(int))
    faces = decode_pictures(b"".join(track.pictures[i] for i in at), len(at), FACE_PX)
    chips = [face_chip(face, track.landmarks[i]) for face, i in zip(faces, at, strict=True)]
    mean = embed(chips).astype(np.float64).mean(axis=0)
    return [round(float(value), DECIMALS) for value in mean]


def group_faces(embeddings: Sequence[Sequence[float]]) -> list[int]:
    """Number of the person of each track: the number of that person's first track. Always the same for one order."""
    founders: list[int] = []
    sums: list[NDArray[np.float64]] = []
    counts: list[int] = []
    people = []
    for number, values in enumerate(embeddings):
        face = np.asarray(values, np.float64)
        distances = [float(np.linalg.norm(total / count - face)) for total, count in zip(sums, counts, strict=True)]
        nearest = int(np.argmin(distances)) if distances else -1
        if nearest < 0 or distances[nearest] > SAME_PERSON:
            founders.append(number)
            sums.append(face)
            counts.append(1)
            people.append(number)
        else:
            sums[nearest] = sums[nearest] + face
            counts[nearest] += 1
            people.append(founders[nearest])
    return people


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
