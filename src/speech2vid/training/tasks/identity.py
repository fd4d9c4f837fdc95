"""Task ``identity``: dlib's face-recognition network, distilled into the trunk of the identity encoder (Sect. 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import FACE_PX
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.models.face_recognition import FaceRecognition, at_its_size
from speech2vid.models.identity_trunk import IdentityTrunk, IdentityTrunkConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import mirrored
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import (
    Batch,
    Item,
    Task,
    TaskConfig,
    Validation,
    colour_statistics,
    pixels,
    speaker_mean,
)

VALIDATE_TRACKS, VALIDATE_FRAMES = 4, 3
GAIN, TINT, LIFT = 0.15, 0.05, 0.05  # standard deviations of contrast, of each colour's, and of brightness


@dataclass(frozen=True)
class IdentityTaskConfig(TaskConfig):
    """Settings of the task ``identity``: a face-recognition network of the shape of the talker's identity encoder.

    Attributes:
        every: faces are every so many frames of a track; neighbours are alike.
        shift_px: largest shift of a face.
    """

    network: IdentityTrunkConfig = field(default_factory=IdentityTrunkConfig)
    batch: int = 48
    decay: float = 1.0
    ema: float = 0.99
    every: int = 5
    shift_px: int = 4


class IdentityTask(Task):
    """Shifted and recoloured faces → the teacher's embeddings."""

    name = "identity"
    architecture = IdentityTrunk.architecture
    Config = IdentityTaskConfig
    config: IdentityTaskConfig
    network: IdentityTrunk

    def __init__(self, config: IdentityTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        network = IdentityTrunk(config.network)
        network.encoder.set_normalisation(*colour_statistics(train, np.random.default_rng(config.seed)))
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = FaceRecognition.from_dlib(model_path(RECOGNITION_FILE)).to(device)
        self._sampler = train.sampler(StillMix(every=config.every))
        self.samples = -(-train.frames // config.every)
        self.weights = {"embedding": 1.0}

    def draw(self, rng: np.random.Generator) -> Item:
        example = self._sampler.draw(rng)
        track = self.train[example.track]
        frames, landmarks = track.frames[example.targets], track.landmarks[example.targets]
        if rng.random() < 0.5:
            frames, _ = mirrored(frames, landmarks)
        reach = self.config.shift_px
        padded = np.pad(frames[0], ((reach, reach), (reach, reach), (0, 0)), "edge")
        top, left = rng.integers(0, 2 * reach + 1, 2)
        change = 1 + GAIN * rng.standard_normal() + TINT * rng.standard_normal(3)
        face = padded[top : top + FACE_PX, left : left + FACE_PX] * change + 255 * LIFT * rng.standard_normal()
        return {"faces": face.round().clip(0, 255).astype(np.uint8)}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        faces = pixels(batch["faces"])
        with torch.no_grad():
            wanted = self.teacher(at_its_size(faces)).embedding
        return {"embedding": (network(faces) - wanted).square().sum(1).mean()}

    def validate(self, network: nn.Module) -> Validation:
        """Return ``distance`` to the teacher, and ``verification_auc``."""
        own, theirs = self._embeddings(network), self._embeddings(self.teacher)
        by_speaker = {}
        for speaker, embeddings in own.items():
            others = np.concatenate([each for name, each in own.items() if name != speaker] or [embeddings])
            distance = np.linalg.norm(embeddings - theirs[speaker], axis=1).mean()
            tracks = np.arange(len(embeddings)) // VALIDATE_FRAMES
            measures = {"distance": float(distance), "verification_auc": verification_auc(embeddings, others, tracks)}
            by_speaker[speaker] = speaker_mean([measures])
        return Validation(by_speaker, "distance")

    def _embeddings(self, network: nn.Module) -> dict[str, NDArray[np.float32]]:
        """Return speaker → (n, 128), of a few frames of a few tracks."""
        found = {}
        for speaker, own in self.val.by_speaker.items():
            frames = [
                track.frames[np.linspace(0, len(track) - 1, VALIDATE_FRAMES).astype(int)]
                for track in own[:VALIDATE_TRACKS]
            ]
            faces = pixels(torch.from_numpy(np.concatenate(frames)).to(self.device))
            if isinstance(network, FaceRecognition):
                found[speaker] = network(at_its_size(faces)).embedding.cpu().numpy()
            else:
                found[speaker] = network(faces).cpu().numpy()
        return found

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def verification_auc(own: NDArray[np.float32], others: NDArray[np.float32], tracks: NDArray[np.int64]) -> float:
    """Return the share of pairs of ``own`` embeddings (n, 128) that are nearer than pairs with ``others`` (m, 128).

    Args:
        tracks: (n,) the track of each of ``own``. Faces of one track are alike to any network: they are not compared,
            unless there is one track only.

    Returns:
        area under the ROC curve of face verification, 0.5 by chance.
    """
    pairs = [(i, j) for i, j in combinations(range(len(own)), 2) if tracks[i] != tracks[j]]
    pairs = pairs or list(combinations(range(len(own)), 2))
    near = np.array([np.linalg.norm(own[i] - own[j]) for i, j in pairs])
    order = np.sort(np.linalg.norm(own[:, None] - others[None], axis=-1).ravel())
    beyond = len(order) - np.searchsorted(order, near, side="right")
    ties = np.searchsorted(order, near, side="right") - np.searchsorted(order, near, side="left")
    return float(np.mean((beyond + 0.5 * ties) / len(order)))
