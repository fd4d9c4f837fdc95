"""Task ``head_motion``: the distribution of head movements and blinks, from audio and the recent past."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.audio.mfcc import audio_features
from speech2vid.audio.vad import waveform_activity
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import DataError
from speech2vid.faces.head_motion import BROWS, EYELIDS, HEAD, blinks, head_motion
from speech2vid.inference.head.motion import (
    ACTIVE_AFTER,
    ACTIVE_BEFORE,
    LEVEL_AFTER,
    LEVEL_BEFORE,
    STEP_FRAMES,
    level_in_frames,
)
from speech2vid.inference.head.samplers import FIRST_BLINK_S, seen_by_network
from speech2vid.models.head_motion import POSE, HeadMotion, HeadMotionConfig
from speech2vid.runtime.voice_activity import voice_detector
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.task import Batch, Item, Task, TaskConfig, Validation, speaker_mean
from speech2vid.types import Floats

MIRROR = np.array([-1, 1, -1, -1, 1, 1, 1], np.float32)  # of the columns HEAD
STEP_S = STEP_FRAMES / FRAME_RATE_HZ
BLINK_LEAD = 1  # frames from the first movement of the lids to the frame that counts as the first of a blink
SILENT = -1.0  # as a level in frames
LEAST_DEVIATION = 1e-3  # of a column that hardly moves
SPAN = 4  # steps over which a clip must at least last beyond the two that are given


@dataclass(frozen=True)
class HeadMotionTaskConfig(TaskConfig):
    """Settings of the task ``head_motion``.

    Attributes:
        least_s: shorter tracks are left out: a head hardly moves in a word.
        length: steps of 0.16 s in a batch item.
        shift: standard deviation of random offsets of the pose, in standard deviations of the poses: the mean pose of
            a clip is no property of the head.
        blink_weight: of the blinks' loss.
    """

    network: HeadMotionConfig = field(default_factory=HeadMotionConfig)
    batch: int = 32
    learning_rate: float = 2e-3
    decay: float = 1.0
    ema: float = 0.99
    least_s: float = 2.4
    length: int = 60
    shift: float = 0.3
    blink_weight: float = 0.5


@dataclass(frozen=True)
class _Clip:
    """What is known of a track, at 25 Hz.

    Attributes:
        poses: (T, 7).
        starts: (T,) whether a blink begins.
        level, activity: (T,).
        liveliness: logarithm of the mean movement in a step.
    """

    poses: Floats
    starts: Floats
    level: Floats
    activity: Floats
    liveliness: float


class HeadMotionTask(Task):
    """Tracks of a few seconds → likelihood of their movements and blinks, step by step."""

    name = "head_motion"
    architecture = HeadMotion.architecture
    Config = HeadMotionTaskConfig
    config: HeadMotionTaskConfig
    network: HeadMotion

    def __init__(self, config: HeadMotionTaskConfig, train: TrackSet, val: TrackSet, device: torch.device) -> None:
        super().__init__(config, train, val, device)
        self._clips = {part: self._long_enough(tracks) for part, tracks in (("train", train), ("val", val))}
        speakers = self._clips["train"]
        if not speakers or not self._clips["val"]:
            raise DataError(
                f"no track lasts {config.least_s} s in one of the splits", "prepare longer videos, or lower least_s"
            )
        clips = [clip for own in speakers.values() for clip in own]
        network = HeadMotion(config.network)
        network.pose_scale.copy_(torch.from_numpy(_deviation([clip.poses for clip in clips])))
        moved = [clip.poses[STEP_FRAMES:] - clip.poses[:-STEP_FRAMES] for clip in clips]
        network.movement_scale.copy_(torch.from_numpy(_deviation(moved)))
        lively = np.array([np.mean([clip.liveliness for clip in own]) for own in speakers.values()])
        network.liveliness.copy_(torch.tensor([lively.mean(), max(0.1, lively.std())], dtype=torch.float32))
        self.network = network.to(device)
        self.samples = sum(len(clip.poses) for clip in clips) // (STEP_FRAMES * config.length) + 1
        self.weights = {"movement": 1.0, "blink": config.blink_weight}

    def _long_enough(self, tracks: TrackSet) -> dict[str, list[_Clip]]:
        least = max(self.config.least_s * FRAME_RATE_HZ, STEP_FRAMES * (SPAN + 3))
        clips = {speaker: [_clip(t) for t in own if len(t) >= least] for speaker, own in tracks.by_speaker.items()}
        return {speaker: own for speaker, own in clips.items() if own}

    def draw(self, rng: np.random.Generator) -> Item:
        speakers = self._clips["train"]
        own = speakers[sorted(speakers)[rng.integers(len(speakers))]]
        steps = self._steps(own[rng.integers(len(own))], int(rng.integers(STEP_FRAMES)))
        length = self.config.length
        first = int(rng.integers(max(1, len(steps["mask"]) - length + 1)))
        item = {name: _padded(values[first : first + length], length) for name, values in steps.items()}
        if rng.random() < 0.5:
            item["seen"][:, :POSE] *= MIRROR
            item["seen"][:, POSE : 2 * POSE] *= MIRROR
            item["next"] *= MIRROR
        scale = self.network.pose_scale.cpu().numpy()
        item["seen"][:, :POSE] += self.config.shift * scale * rng.standard_normal(POSE).astype(np.float32)
        return item

    def _steps(self, clip: _Clip, first: int = 0) -> dict[str, Floats]:
        """Return the steps of a clip from a frame on: seen, next movement, blinks, mask."""
        starts = np.arange(first, len(clip.poses) - 2 * STEP_FRAMES, STEP_FRAMES)
        here, there, after = (clip.poses[starts + k * STEP_FRAMES] for k in range(3))
        blinked = np.flatnonzero(clip.starts)
        last = np.searchsorted(blinked, starts) - 1
        since_s = np.full(len(starts), FIRST_BLINK_S) + starts / FRAME_RATE_HZ
        since_s[last >= 0] = (starts[last >= 0] - blinked[last[last >= 0]]) / FRAME_RATE_HZ
        mean, deviation = self.network.liveliness.cpu().numpy()
        level = _around(clip.level, LEVEL_BEFORE, LEVEL_AFTER, SILENT)[starts]
        activity = _around(clip.activity, ACTIVE_BEFORE, ACTIVE_AFTER, 0.0)[starts]
        seen = seen_by_network(there, there - here, level, activity, since_s, (clip.liveliness - mean) / deviation)
        blink = clip.starts[starts[:, None] + np.arange(STEP_FRAMES)].max(axis=1)
        return {"seen": seen, "next": after - there, "blink": blink, "mask": np.ones(len(starts), np.float32)}

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        state = self.network.initial_state(len(batch["seen"])).to(batch["seen"].device)
        surprise, blink = [], []
        for seen, movement, blinked, mask in zip(
            *(batch[k].unbind(1) for k in ("seen", "next", "blink", "mask")), strict=True
        ):
            logits, means, deviations, chance, state = network(seen, state)
            surprise.append(mask * _surprise(logits, means, deviations, movement / self.network.movement_scale))
            blink.append(mask * functional.binary_cross_entropy_with_logits(chance, blinked, reduction="none"))
        counts = batch["mask"].sum(1)
        return {
            "movement": (torch.stack(surprise, 1).sum(1) / counts).mean() / POSE,
            "blink": (torch.stack(blink, 1).sum(1) / counts).mean(),
        }

    def validate(self, network: nn.Module) -> Validation:
        """Return the mean surprise (negative log likelihood) of the movements, a value, and of the blinks, a step."""
        by_speaker = {}
        for speaker, own in self._clips["val"].items():
            measured = []
            for clip in own:
                batch = {name: torch.from_numpy(rows)[None].to(self.device) for name, rows in self._steps(clip).items()}
                terms = {name: float(value) for name, value in self.terms(network, batch).items()}
                measured.append({**terms, "surprise": terms["movement"] + self.config.blink_weight * terms["blink"]})
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(by_speaker, "surprise")

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def _clip(track: TrainingTrack) -> _Clip:
    motion = head_motion(track.source_landmarks)
    poses = motion[:, HEAD].copy()
    poses[:, BROWS] = np.clip(poses[:, BROWS], -1, 1)
    starts = np.zeros(len(motion), np.float32)
    for start, _ in blinks(motion[:, EYELIDS].mean(axis=1)):
        starts[max(0, start - BLINK_LEAD)] = 1
    features = audio_features(track.audio)
    heard = slice(track.lead_frames, track.lead_frames + len(track))
    rows = features.level_db[: len(features.level_db) // STEP_FRAMES * STEP_FRAMES]
    level, activity = level_in_frames(rows)[heard], waveform_activity(track.audio, voice_detector())[heard]
    count = min(len(motion), len(level), len(activity))
    turns = np.linalg.norm(poses[STEP_FRAMES:, :3] - poses[:-STEP_FRAMES, :3], axis=1).mean()
    return _Clip(poses[:count], starts[:count], level[:count], activity[:count], math.log(max(1e-4, float(turns))))


def _around(values: Floats, before: int, after: int, outside: float) -> Floats:
    """Return the values around each frame: (T,) → (T, before + 1 + after)."""
    padded = np.pad(values, (before, after), constant_values=outside)
    return np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)


def _padded(rows: Floats, length: int) -> Floats:
    return np.concatenate([rows, np.zeros((length - len(rows), *rows.shape[1:]), np.float32)])


def _deviation(parts: list[Floats]) -> Floats:
    """Return the root mean square of each column, at least 0.001; each clip counts the same."""
    squares = np.mean([np.square(part).mean(axis=0) for part in parts], axis=0)
    return np.asarray(np.maximum(np.sqrt(squares), LEAST_DEVIATION), np.float32)


def _surprise(logits: Tensor, means: Tensor, deviations: Tensor, movement: Tensor) -> Tensor:
    """Return the negative log likelihood of movements (N, 7) under mixtures of Gaussians, (N,)."""
    rest = (movement[:, None] - means) / deviations.exp()
    each = -0.5 * rest.square().sum(2) - deviations.sum(2) - 0.5 * POSE * math.log(2 * math.pi)
    return -torch.logsumexp(torch.log_softmax(logits, dim=1) + each, dim=1)
