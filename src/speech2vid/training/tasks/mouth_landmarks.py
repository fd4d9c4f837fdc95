"""Task ``mouth_landmarks``: mouth landmarks from an image, for the losses of later tasks. Not exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import FACE_PX, MOUTH_POINTS, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.runtime.torch import fill
from speech2vid.runtime.weights import read_header
from speech2vid.training.dataset import TrackSet
from speech2vid.training.mouth_masks import REGION_RGB, mirrored, opening
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Batch, Item, Task, TaskConfig, Validation, pixels, speaker_mean

SHIFT_PX = 5
FRAMES_A_TRACK = 75  # in validation


@dataclass(frozen=True)
class MouthLandmarksTaskConfig(TaskConfig):
    """Settings of the task ``mouth_landmarks``.

    Attributes:
        width: channels of the first layer.
    """

    batch: int = 64
    ema: float = 0.0
    decay: float = 1.0
    clip: float = 0.0
    width: int = 16


class MouthLandmarksTask(Task):
    """Shifted, mirrored, recoloured and blurred lower faces → mouth landmarks, px."""

    name = "mouth_landmarks"
    architecture = "mouth_landmarks"
    Config = MouthLandmarksTaskConfig
    exported = False
    config: MouthLandmarksTaskConfig
    network: MouthLandmarkNetwork

    def __init__(self, config: MouthLandmarksTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        self.network = MouthLandmarkNetwork(config.width).to(device)
        self._sampler = train.sampler(StillMix(every=1))
        self.samples = train.frames
        self.weights = {"place": 1.0, "opening": 1.0}

    def draw(self, rng: np.random.Generator) -> Item:
        example = self._sampler.draw(rng)
        track = self.train[example.track]
        frames, landmarks = track.frames[example.targets], track.landmarks[example.targets]
        if rng.random() < 0.5:
            frames, landmarks = mirrored(frames, landmarks)
        dx, dy = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
        left = int(np.clip(REGION_LEFT + dx, 0, FACE_PX - REGION_WIDTH))
        top = int(np.clip(REGION_TOP + dy, 0, FACE_PX - REGION_HEIGHT))
        face: NDArray[np.floating] = (
            frames[0, top : top + REGION_HEIGHT, left : left + REGION_WIDTH].astype(np.float32) / 255
        )
        mouth = landmarks[0, MOUTH_POINTS] - np.array([left - REGION_LEFT, top - REGION_TOP])
        face = face * (1 + 0.2 * rng.standard_normal()) * (1 + 0.06 * rng.standard_normal(3))
        face = face + 0.06 * rng.standard_normal()
        blur = rng.random()
        if blur < 0.3:
            face = np.asarray(cv2.blur(face, (3, 3)))
        elif blur > 0.8:
            small = cv2.resize(face, (REGION_WIDTH // 2, REGION_HEIGHT // 2), interpolation=cv2.INTER_AREA)
            face = np.asarray(cv2.resize(small, (REGION_WIDTH, REGION_HEIGHT), interpolation=cv2.INTER_LINEAR))
        return {"face": face.transpose(2, 0, 1).astype(np.float32), "mouth": mouth.astype(np.float32)}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        read = network(batch["face"])
        return {
            "place": (read - batch["mouth"]).abs().mean(),
            "opening": (opening(read) - opening(batch["mouth"])).abs().mean(),
        }

    def validate(self, network: nn.Module) -> Validation:
        by_speaker = {}
        for speaker, tracks in self.val.by_speaker.items():
            measured = []
            for track in tracks:
                faces = torch.from_numpy(track.frames[:FRAMES_A_TRACK][REGION_RGB])
                read = network(pixels(faces.to(self.device))).cpu()
                target = torch.from_numpy(track.landmarks[:FRAMES_A_TRACK, MOUTH_POINTS])
                agreement = correlation(opening(read).numpy(), opening(target).numpy())
                measured.append({"error_px": float((read - target).abs().mean()), "opening_correlation": agreement})
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(by_speaker, "error_px")

    def network_config(self) -> dict[str, Any]:
        return {"width": self.config.width}


def load_landmark_network(path: Path) -> MouthLandmarkNetwork:
    """Return the trained network of the task's weight file. WeightsError as :func:`speech2vid.runtime.torch.load`."""
    network = MouthLandmarkNetwork(read_header(path).config["width"])
    fill(network, path, MouthLandmarksTask.architecture)
    return network
