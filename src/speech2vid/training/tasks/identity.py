"""Task ``identity``: dlib's face-recognition network, distilled into the trunk of the identity encoder (Sect. 3.1)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import FACE_PX
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.models.face_recognition import FaceRecognition, at_its_size
from speech2vid.models.identity_trunk import IdentityTrunk
from speech2vid.training.config import IdentityTaskConfig
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import mirrored
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Batch, Item, Task, Validation, colour_statistics, pixels, speaker_mean

VALIDATE_TRACKS, VALIDATE_FRAMES = 4, 3
GAIN, TINT, LIFT = 0.15, 0.05, 0.05  # standard deviations of contrast, of each colour's, and of brightness


class IdentityTask(Task):
    """Faces, off their place and in other light → the embeddings that the teacher gives them."""

    name = "identity"
    architecture = IdentityTrunk.architecture
    config: IdentityTaskConfig
    network: IdentityTrunk

    def __init__(self, config: IdentityTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device
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
        """``distance`` to the teacher; ``verification_auc``: how often two faces of one are nearer than of two."""
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
        """Speaker → (n, 128), of a few frames of a few tracks."""
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
    """How often two ``own`` embeddings (n, 128) are nearer than one is to ``others`` (m, 128); 0.5 by chance.

    Args:
        tracks: (n,) which track each of ``own`` is from. Faces of one track are alike to any network: they are not
            compared, unless there is one track only.
    """
    pairs = [(i, j) for i, j in combinations(range(len(own)), 2) if tracks[i] != tracks[j]]
    pairs = pairs or list(combinations(range(len(own)), 2))
    near = np.array([np.linalg.norm(own[i] - own[j]) for i, j in pairs])
    order = np.sort(np.linalg.norm(own[:, None] - others[None], axis=-1).ravel())
    beyond = len(order) - np.searchsorted(order, near, side="right")
    ties = np.searchsorted(order, near, side="right") - np.searchsorted(order, near, side="left")
    return float(np.mean((beyond + 0.5 * ties) / len(order)))
