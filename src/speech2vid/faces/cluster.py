"""Who is who across the shots of a video, or across videos: faces grouped by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speech2vid.faces.embedding import embed, face_chip
from speech2vid.types import Image, Points

SAME_PERSON = 0.55  # distance of embeddings: 95 % of pairs of one person are below 0.43, of two above 0.68


class FaceClusters:
    """Tells faces apart as they come; a person is known by the mean of their faces so far."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []
        self._counts: list[int] = []

    @property
    def means(self) -> NDArray[np.float64]:
        """(people, 128) mean embeddings."""
        return np.array([total / count for total, count in zip(self._sums, self._counts, strict=True)]).reshape(-1, 128)

    def nearest(self, embedding: Sequence[float] | NDArray[np.floating]) -> tuple[int | None, float]:
        """The person most like this face, and how far they are; None where there is nobody yet."""
        face = np.asarray(embedding, np.float64)
        distances = [
            float(np.linalg.norm(total / count - face)) for total, count in zip(self._sums, self._counts, strict=True)
        ]
        if not distances:
            return None, float("inf")
        nearest = int(np.argmin(distances))
        return nearest, distances[nearest]

    def assign(self, embedding: Sequence[float] | NDArray[np.floating]) -> int:
        """Number of the person whose face this is, in order of appearance; a stranger gets the next number."""
        face = np.asarray(embedding, np.float64)
        person, distance = self.nearest(face)
        if person is None or distance > SAME_PERSON:
            self._sums.append(face)
            self._counts.append(1)
            return len(self._sums) - 1
        self._sums[person] = self._sums[person] + face
        self._counts[person] += 1
        return person


def cluster_faces(embeddings: Sequence[Sequence[float]]) -> list[int]:
    """Number of the person of each track: the number of that person's first track. Always the same for one order."""
    people = FaceClusters()
    persons = [people.assign(values) for values in embeddings]
    return [persons.index(person) for person in persons]


def mean_embedding(faces: Sequence[Image], landmarks: Sequence[Points]) -> NDArray[np.float64]:
    """Mean face embedding of images of one person, (128,). Landmarks (68, 2) in each image's pixels."""
    chips = [face_chip(face, points) for face, points in zip(faces, landmarks, strict=True)]
    return np.asarray(embed(chips).astype(np.float64).mean(axis=0))
