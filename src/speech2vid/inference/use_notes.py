"""What a user should know of where the networks that run come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from speech2vid.errors import WeightsError
from speech2vid.faces import FaceModels, face_models
from speech2vid.inference.head.samplers import HEAD_MOTION
from speech2vid.inference.options import AnyPath, Options
from speech2vid.inference.talkers.warp import SPEECH_ENCODER
from speech2vid.runtime.weights import DEFAULT, read_header, weight_set


def use_notes(options: Options, networks: Mapping[str, str], command: str) -> list[str]:
    """Return what the user should know of where the networks come from.

    Raises:
        WeightsError: none of the networks that run is from the weights that the user gave, or one was trained with
            another landmarker.
    """
    reading = [each for each in networks if each != HEAD_MOTION]  # the landmarks of the photo
    notes = landmarker_notes(options.weights, reading, face_models(options.landmarks))
    if not networks:
        return notes
    weights = weight_set(options.weights)
    weights.require_use(list(networks), command)
    borrowed = weights.borrowed([name for name in networks if name != SPEECH_ENCODER])  # no training makes one
    if borrowed:
        notes.append(f"{', '.join(borrowed)} came from the default set: {weights.name} has none")
    return notes


def landmarker_notes(given: AnyPath | None, networks: Iterable[str], models: FaceModels) -> list[str]:
    """Return a note if networks of the default set run on landmarks that they were not trained with.

    Args:
        given: the weights that the user gave.
        networks: architectures that run.
        models: the detector and landmarker that were requested.

    Raises:
        WeightsError: networks that the user gave were trained with another landmarker.
    """
    weights, foreign = weight_set(given), []
    for architecture in networks:
        path = weights.find(architecture)
        if path is None or (trained := read_header(path).landmarker) in ("", models.landmarker_id):
            continue
        if weights.origin(architecture) != DEFAULT:
            raise WeightsError(
                f"{path} was trained with the landmarker {trained}, and {models.landmarker_id} was requested",
                "choose the other --landmarks, or give weights trained on a store prepared with these",
            )
        foreign.append((architecture, trained))
    if not foreign:
        return []
    names = ", ".join(architecture for architecture, _ in foreign)
    return [f"{names} of the default set: trained with {foreign[0][1]}, used with {models.landmarker_id}"]


def hashes_of(*parts: Any) -> dict[str, str]:
    """Return the SHA-256 of every network of talkers, redubbers and sharpeners; None stands for nothing."""
    return {name: sha for part in parts if part is not None for name, sha in part.hashes.items()}
