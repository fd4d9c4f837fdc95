"""Task ``sync``: which audio belongs to which mouth (Sect. 7, 8).

Within a clip every time step is a candidate for every other one. A known failure is a loss that stays at chance:
``loss_over_chance`` is 1 then, and the log warns.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import MFCC_PER_FRAME, MOUTH_POINTS
from speech2vid.faces.mouth_crops import CHIN_POINTS, crop_motion, mouth_crops, point_motion
from speech2vid.losses import contrastive_loss, matching_loss, offset_loss, offset_scores
from speech2vid.models.audio_to_mouth import PLAIN_BANDS, AudioToMouth
from speech2vid.models.sync import AUDIO_REACH_ROWS, VIDEO_REACH, SyncConfig, SyncNetwork
from speech2vid.runtime.torch import load
from speech2vid.training.audio_augment import degraded
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import MIRROR_MOUTH
from speech2vid.training.sampling import StillMix
from speech2vid.training.task import Batch, Item, Task, TaskConfig, Validation, speaker_mean
from speech2vid.training.tasks.audio_to_mouth import MIDDLE_ROW, OUTSIDE_ROWS, audio_views, packaged_audio_to_mouth
from speech2vid.types import Floats

log = logging.getLogger(__name__)

MAX_OFFSET = 15
STUCK = 0.98  # of the loss at chance
REACH = AUDIO_REACH_ROWS - 1  # of the views: one row is spent on computing them
MIRROR_CHIN = np.arange(CHIN_POINTS.stop - CHIN_POINTS.start)[::-1]


@dataclass(frozen=True)
class SyncTaskConfig(TaskConfig):
    """Settings of the task ``sync``.

    Attributes:
        frames: length of a stretch; every one of them is a candidate.
        loss: multi-way matching, or SyncNet's contrastive loss.
        offset: weight of the cross-entropy of the whole stretch's offset; that of its steps has 1.
        hearing: audio layers: those of the package's ``audio_to_mouth`` weights, kept as they are, or trained from
            nothing without phone likelihoods.
        degraded: share of stretches whose audio has noise, another level and another microphone.
        one_view: share of stretches seen by images alone or by landmarks alone.
    """

    network: SyncConfig = field(default_factory=SyncConfig)
    batch: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    decay: float = 1.0
    clip: float = 5.0
    ema: float = 0.99
    frames: int = 31
    loss: Literal["multi-way", "contrastive"] = "multi-way"
    offset: float = 1.0
    hearing: Literal["package", "none"] = "package"
    degraded: float = 0.35
    one_view: float = 0.15


class SyncTask(Task):
    """Mouths and audio of the same clips → unit vectors that agree at the same time."""

    name = "sync"
    architecture = "sync"
    Config = SyncTaskConfig
    config: SyncTaskConfig
    network: SyncNetwork

    def __init__(self, config: SyncTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        self._sampler = train.sampler(StillMix(every=1))
        self.samples = sum(max(1, round(len(track) / config.frames)) for track in train.tracks)
        multi_way = config.loss == "multi-way"
        self.weights = {"match": float(multi_way), "offset": config.offset * multi_way, "contrast": 1.0 - multi_way}
        if config.hearing == "package":
            audio_to_mouth = load(packaged_audio_to_mouth(), AudioToMouth)[0]
            network = SyncNetwork(replace(config.network, audio_width=audio_to_mouth.config.width))
            network.listen_like(audio_to_mouth)
        else:
            network = SyncNetwork(config.network)
        self._kept(network, lambda layers: layers.requires_grad_(False))
        phones = network.likelihoods if config.hearing == "package" else None
        rng = np.random.default_rng(config.seed)
        self._views = {track.key: [audio_views(phones, track.audio)] for track in (*train.tracks, *val.tracks)}
        for track in train.tracks:
            self._views[track.key].append(audio_views(phones, degraded(track.audio, rng)))
        self._crops = {track.key: mouth_crops(track.frames) for track in (*train.tracks, *val.tracks)}
        if config.hearing == "none":
            plain = np.concatenate([self._views[track.key][0][:, :PLAIN_BANDS] for track in train.tracks])
            network.plain_mean.copy_(torch.from_numpy(plain.astype(np.float32).mean(0)[:, None]))
            network.plain_deviation.copy_(torch.from_numpy(plain.astype(np.float32).std(0)[:, None] + 1e-3))
        self.network = network.to(device)

    def draw(self, rng: np.random.Generator) -> Item:
        track = self.train[self._sampler.draw(rng).track]
        frames = min(self.config.frames, len(track))
        first = int(rng.integers(0, len(track) - frames + 1))
        item = self._item(track, first, frames, int(rng.random() < self.config.degraded))
        short = self.config.frames - frames
        crops, points = self._changed(item["crops"], item["points"], rng)
        return {
            "crops": np.pad(crops, ((0, short), (0, 0), (0, 0)), "edge"),
            "points": np.pad(points, ((0, short), (0, 0)), "edge"),
            "views": np.pad(item["views"], ((0, MFCC_PER_FRAME * short), (0, 0)), "edge"),
            "known": np.pad(item["known"], (0, short)),
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(network, SyncNetwork)
        self._kept(network, nn.Module.eval)
        similarity, known = _compare(network, batch)
        scale = network.log_scale.exp()
        if self.config.loss == "contrastive":
            return {"contrast": contrastive_loss(similarity, known)}
        scores = offset_scores(similarity, known, min(MAX_OFFSET, similarity.shape[1] // 2))
        return {"match": matching_loss(similarity, scale, known), "offset": offset_loss(scores, scale)}

    def validate(self, network: nn.Module) -> Validation:
        assert isinstance(network, SyncNetwork)
        by_speaker = {}
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own:
                item = self._item(track, 0, len(track), 0)
                batch = {name: torch.from_numpy(value)[None].to(self.device) for name, value in item.items()}
                similarity, known = _compare(network, batch)
                candidates = int(known[0].any(dim=0).sum())
                reach = min(MAX_OFFSET, candidates // 2)
                found = int(offset_scores(similarity, known, reach).argmax()) - reach
                loss = float(matching_loss(similarity, network.log_scale.exp(), known, neighbour=0.0))
                measured.append(
                    {
                        "within_1": float(abs(found) <= 1),
                        "within_1_by_chance": 3 / (2 * reach + 1),
                        "loss_over_chance": loss / math.log(max(2, candidates)),
                    }
                )
            by_speaker[speaker] = speaker_mean(measured)
        judged = Validation(by_speaker, "loss_over_chance")
        if judged.metrics["loss_over_chance"] > STUCK:
            log.warning("the loss of task sync is still at chance; try a lower learning_rate")
        return judged

    def network_config(self) -> dict[str, Any]:
        return self.network.config.to_dict()

    def _kept(self, network: SyncNetwork, act: Callable[[nn.Module], object]) -> None:
        """Apply ``act`` to the layers that are not trained; without a phone model, the phones' input is constant."""
        act(network.heard.phones)
        if self.config.hearing == "package":
            for layers in (network.heard.plain, network.heard.mix, network.heard.blocks):
                act(layers)

    def _item(self, track: TrainingTrack, first: int, frames: int, version: int) -> Item:
        """Return consecutive frames of a track and their audio; ``known`` is 1 where audio was recorded."""
        views = self._views[track.key][version]
        at = track.lead_frames + first
        row = OUTSIDE_ROWS + MFCC_PER_FRAME * at + MIDDLE_ROW
        rows = np.arange(row - REACH, row + MFCC_PER_FRAME * (frames - 1) + REACH + 1)
        part = slice(first, first + frames)
        recorded = at + np.arange(frames) < len(track.audio) // 640
        return {
            "crops": crop_motion(self._crops[track.key][part]),
            "points": point_motion(track.landmarks[part]),
            "views": views[np.clip(rows, 0, len(views) - 1)].astype(np.float32),
            "known": recorded.astype(np.float32),
        }

    def _changed(
        self, crops: NDArray[np.floating], points: NDArray[np.floating], rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return crops and points as of another face and camera, now and then with one of the two views gone."""
        crops = np.roll(crops, rng.integers(-2, 3, 2), axis=(1, 2)) * np.exp(rng.normal(0, 0.2))
        if rng.random() < 0.3:
            crops = crops + rng.normal(0, rng.uniform(0, 0.2), crops.shape)
        if rng.random() < 0.3:
            neighbours = sum(np.roll(crops, step, axis) for step in (-1, 1) for axis in (1, 2))
            crops = (crops + neighbours) / 5
        if rng.random() < 0.5:
            crops, points = crops[:, :, ::-1], _mirrored(points)
        if rng.random() < 0.3:
            height, width = rng.integers(4, 14, 2)
            top, left = rng.integers(0, 32 - height), rng.integers(0, 48 - width)
            crops = crops.copy()
            crops[:, top : top + height, left : left + width] = 0
        points = points * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.1, points.shape)
        if rng.random() < self.config.one_view:
            crops, points = (crops * 0, points) if rng.random() < 0.5 else (crops, points * 0)
        return crops.astype(np.float32), points.astype(np.float32)


def _compare(network: SyncNetwork, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return cosines (N, T − 4, T − 4) of images with audio, and which pairs count."""
    video = network.video(batch["crops"], batch["points"])
    views = batch["views"].transpose(1, 2)
    plain, phones = views[:, :PLAIN_BANDS], views[:, PLAIN_BANDS:, 2:-2]
    heard = network.listen((plain - network.plain_mean) / network.plain_deviation, phones)
    inner = slice(VIDEO_REACH, heard.shape[1] - VIDEO_REACH)
    known = batch["known"][:, inner] > 0
    return video @ heard[:, inner].transpose(1, 2), known[:, :, None] & known[:, None, :]


def _mirrored(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (T, 58) of ``point_motion`` with left and right exchanged."""
    mouth = MOUTH_POINTS.stop - MOUTH_POINTS.start
    pairs = points.reshape(len(points), -1, 2)
    pairs = np.concatenate([pairs[:, :mouth][:, MIRROR_MOUTH], pairs[:, mouth:][:, MIRROR_CHIN]], axis=1)
    return (pairs * np.array([-1, 1], np.float32)).reshape(points.shape)
