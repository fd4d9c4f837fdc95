"""Task ``warp_talker``: the ``warp`` talker, from stills and the target's own mouth landmarks.

Besides pixels and edges, the loss compares features of the landmark network, and the landmarks that it finds with those
requested: otherwise the mean mouth would be a good answer to everything. Between the lips, where no still shows the
target, the residual must be right by itself, and a discriminator keeps teeth and tongue from being a blurred mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import MOUTH_POINTS
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.losses import gradient_l1
from speech2vid.models.mouth_discriminator import MouthDiscriminator, patch_weight
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.warp_decoder import WarpFields, compose_output, merge_copies
from speech2vid.models.warp_talker import WarpTalker, WarpTalkerConfig
from speech2vid.training.adversarial import adversarial_losses, adversarial_weights, ramped
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import REGION, REGION_RGB, emphasis, inner_mouth, mirrored, mouth_box, opening
from speech2vid.training.neutral_mouth import fit_neutral_mouth, mean_speech
from speech2vid.training.sampling import StillMix, percentile_stills
from speech2vid.training.task import (
    Batch,
    Item,
    Run,
    Task,
    TaskConfig,
    Validation,
    frames_of,
    pixels,
    speaker_mean,
)
from speech2vid.training.tasks.mouth_landmarks import load_landmark_network
from speech2vid.training.visualize import Row, contact_sheet, contact_video
from speech2vid.types import Frames, Image

GAIN, TINT, LIFT = 0.15, 0.05, 0.04  # standard deviations of contrast, of each colour's, and of brightness
ONE_STILL_QUANTILE = 0.3
LEAST_ERROR = 1e-3  # of a still that is nearly right
HEAD = ("decoder.narrow.", "decoder.paint.")  # few weights, small gradients
STATISTICS_MOUTHS = 500  # on which the size of the inner mouth is measured
VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_FRAMES = 2, 25, 4


@dataclass(frozen=True)
class WarpTalkerTaskConfig(TaskConfig):
    """Settings of the task ``warp_talker``.

    Attributes:
        frames: target frames a person.
        single: share of people whose slots all hold one still, of any mouth state.
        two: share of people whose slots hold two stills.
        other_track: share of people whose stills come from another of their tracks.
        landmark_noise: standard deviation of the noise on the requested mouth landmarks, px.
        head_rate: learning-rate multiplier of the layers that make masks and residual.
        l1, gradient, features, landmarks, smooth: weights of the loss terms.
        residual: weight of the error of the residual alone between the lips.
        undecided: weight of the masks' entropy between different stills.
        adversarial, feature_matching: weights of the adversarial and feature-matching losses; both grow from 0 over
            ``ramp`` steps. There is no discriminator where both are 0.
    """

    network: WarpTalkerConfig = field(default_factory=WarpTalkerConfig)
    weight_decay: float = 1e-3
    frames: int = 6
    single: float = 0.45
    two: float = 0.1
    other_track: float = 0.45
    landmark_noise: float = 0.15
    head_rate: float = 3.0
    l1: float = 1.0
    gradient: float = 0.35
    features: float = 0.05
    landmarks: float = 0.03
    smooth: float = 0.003
    residual: float = 0.15
    undecided: float = 0.01
    adversarial: float = 0.03
    feature_matching: float = 0.05
    ramp: int = 200

    def needed_tasks(self) -> Mapping[str, str]:
        needed = self.features or self.landmarks
        return {"mouth_landmarks": "set warp_talker.features and warp_talker.landmarks to 0"} if needed else {}


class WarpTalkerTask(Task):
    """Stills, their mouths and the requested mouth → the lower face."""

    name = "warp_talker"
    architecture = WarpTalker.architecture
    Config = WarpTalkerTaskConfig
    config: WarpTalkerTaskConfig
    network: WarpTalker
    discriminator: MouthDiscriminator | None

    def __init__(
        self,
        config: WarpTalkerTaskConfig,
        train: TrackSet,
        val: TrackSet,
        device: torch.device,
        landmark_network: MouthLandmarkNetwork | None = None,
    ) -> None:
        super().__init__(config, train, val, device)
        network = WarpTalker(config.network)
        with torch.no_grad():
            network.rest.weight.copy_(torch.from_numpy(fit_neutral_mouth(train, np.random.default_rng(config.seed))))
            network.speech.copy_(torch.from_numpy(mean_speech(train)))
        network.rest.requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.landmark_network = (
            None if landmark_network is None else landmark_network.to(device).eval().requires_grad_(False)
        )
        self.discriminator = MouthDiscriminator().to(device) if config.adversarial or config.feature_matching else None
        self.between_mean, self.patch_mean = _inner_mouth(train, np.random.default_rng(config.seed))
        mix = StillMix(config.single, config.two, config.other_track, every=1)
        self._sampler = train.sampler(mix)
        self.samples = -(-train.frames // config.frames)
        judged = {"features": config.features, "landmarks": config.landmarks} if landmark_network is not None else {}
        self.weights = {
            "l1": config.l1,
            "gradient": config.gradient,
            **judged,
            "smooth": config.smooth,
            "residual": config.residual,
            "undecided": config.undecided,
            **adversarial_weights(config.adversarial, config.feature_matching),
        }
        self.lr_multipliers = dict.fromkeys(HEAD, config.head_rate)

    def weights_at(self, step: int) -> dict[str, float]:
        return ramped(self.weights, step, self.config.ramp)

    @classmethod
    def build(cls, config: WarpTalkerTaskConfig, run: Run) -> WarpTalkerTask:
        judge = load_landmark_network(run.best["mouth_landmarks"]) if config.needed_tasks() else None
        return cls(config, run.train, run.val, run.dist.device, judge)

    def draw(self, rng: np.random.Generator) -> Item:
        example = self._sampler.draw(rng, self.config.frames)
        source, track = self.train[example.still_track], self.train[example.track]
        slots = example.stills[: self.config.network.stills]
        stills, still_points = source.frames[slots], source.landmarks[slots]
        faces, points = track.frames[example.targets], track.landmarks[example.targets]
        if rng.random() < 0.5:
            stills, still_points = mirrored(stills, still_points)
            faces, points = mirrored(faces, points)
        mouths = points[:, MOUTH_POINTS]
        return {
            "stills": stills,
            "still_mouths": still_points[:, MOUTH_POINTS],
            "same": (slots[:, None] == slots).astype(np.float32),
            "faces": faces[REGION_RGB],
            "mouths": mouths,
            "requested": mouths + np.float32(self.config.landmark_noise) * _normal(rng, len(mouths), 1, 2),
            "gain": (1 + GAIN * _normal(rng, 1, 1, 1, 1) + TINT * _normal(rng, 1, 3, 1, 1)),
            "lift": LIFT * _normal(rng, 1, 1, 1, 1),
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        gain, lift = batch["gain"], batch["lift"]
        stills = pixels(batch["stills"]) * gain + lift
        fields, undecided, generated = _generate(
            network, stills, batch["still_mouths"], batch["same"], batch["requested"]
        )
        target = (pixels(batch["faces"]) * gain + lift).flatten(0, 1)
        mouths = batch["mouths"].flatten(0, 1)
        weight, inner_mouth_mask = emphasis(mouths), inner_mouth(mouths)
        error = (generated - target) * weight
        terms = {"l1": error.abs().mean(), "gradient": gradient_l1(generated, target, weight)}
        if self.landmark_network is not None:
            ours = self.landmark_network.features(generated.clamp(0, 1))
            with torch.no_grad():
                theirs = self.landmark_network.features(target.clamp(0, 1))
            read = self.landmark_network.read(ours[-1])
            terms["features"] = torch.stack(
                [(a - b).abs().mean() for a, b in zip(ours[:3], theirs[:3], strict=True)]
            ).sum()
            terms["landmarks"] = (read - mouths).abs().mean() + (opening(read) - opening(mouths)).abs().mean()
        terms["smooth"] = fields.flow.diff(dim=-1).abs().mean() + fields.flow.diff(dim=-2).abs().mean()
        terms["residual"] = ((fields.residual - target).abs() * inner_mouth_mask).mean() / self.between_mean
        terms["undecided"] = undecided.mean()
        return (
            terms
            if self.discriminator is None
            else terms | self._adversarial_losses(self.discriminator, generated, target, inner_mouth_mask)
        )

    def _adversarial_losses(
        self, discriminator: MouthDiscriminator, generated: Tensor, target: Tensor, inner_mouth_mask: Tensor
    ) -> dict[str, Tensor]:
        counts = patch_weight(inner_mouth_mask) / self.patch_mean
        return adversarial_losses(discriminator, generated, target, inner_mouth_mask, counts)

    def validate(self, network: nn.Module) -> Validation:
        by_speaker: dict[str, dict[str, float]] = {}
        rows: list[Row] = []
        videos: list[Row] = []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                source = next((each for each in own if each is not track), track)
                images, video, measures = self._measure(network, track, source)
                measured.append(measures)
                rows.append(Row(speaker, images))
            videos.append(Row(speaker, video))
            by_speaker[speaker] = speaker_mean(measured)
        columns = ["still", *["target", "from five stills"] * SHEET_FRAMES, *["from one still"] * SHEET_FRAMES]
        shown = contact_video(videos, ["target", "from five stills", "from one still"])
        return Validation(by_speaker, "relative_error", sheet=contact_sheet(rows, columns), video=shown)

    def _measure(
        self, network: nn.Module, track: TrainingTrack, source: TrainingTrack
    ) -> tuple[list[Image], list[Frames], dict[str, float]]:
        """Generate the first second of a track from five stills and from one; return images, videos and metrics.

        ``relative_error``, which decides, is the error relative to that of a still; with a landmark network it adds how
        far the lips miss the target, since a mouth that hardly moves has a small error.
        """
        frames = min(len(track), VALIDATE_FRAMES)
        target = pixels(torch.from_numpy(track.frames[:frames][REGION_RGB]).to(self.device))
        mouths = torch.from_numpy(track.landmarks[:frames, MOUTH_POINTS]).to(self.device)
        box = mouth_box(mouths)

        def error(generated: Tensor) -> float:
            return float(((generated - target).abs() * box).sum() / (3 * box.sum()))

        count = self.config.network.stills
        five = percentile_stills(source.opening, np.random.default_rng(0))[:count]
        one = int(np.argsort(source.opening, kind="stable")[int(ONE_STILL_QUANTILE * len(source))])
        measures: dict[str, float] = {}
        relative_errors: list[float] = []
        images, video = [source.frames[one][REGION_RGB]], [track.frames[:frames][REGION_RGB]]
        for name, slots in (("", five), ("_one_still", np.full(count, one))):
            stills = pixels(torch.from_numpy(source.frames[slots]).to(self.device))[None]
            still_mouths = torch.from_numpy(source.landmarks[slots][:, MOUTH_POINTS]).to(self.device)[None]
            same = torch.from_numpy((slots[:, None] == slots).astype(np.float32)).to(self.device)[None]
            _, _, generated = _generate(network, stills, still_mouths, same, mouths[None])
            measures[f"error{name}"] = error(generated)
            measures[f"still_error{name}"] = min(error(still[REGION]) for still in stills[0])
            relative_errors.append(measures[f"error{name}"] / max(LEAST_ERROR, measures[f"still_error{name}"]))
            if self.landmark_network is not None:
                read, requested = (
                    opening(self.landmark_network(generated.clamp(0, 1))).cpu().numpy(),
                    opening(mouths).cpu().numpy(),
                )
                measures[f"opening_correlation{name}"] = correlation(read, requested)
                measures[f"opening_ratio{name}"] = float(read.std() / max(1e-3, requested.std()))
                relative_errors[-1] += 1 - measures[f"opening_correlation{name}"]
            shown = frames_of(generated)
            video.append(shown)
            for frame in np.linspace(0, frames - 1, SHEET_FRAMES).astype(int):
                if not name:
                    images.append(video[0][frame])
                images.append(shown[frame])
        return images, video, {"relative_error": float(np.mean(relative_errors)), **measures}

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def _generate(
    network: nn.Module, stills: Tensor, still_mouths: Tensor, same: Tensor, requested: Tensor
) -> tuple[WarpFields, Tensor, Tensor]:
    """Return fields, how undecided they are, and images, for B·T mouths.

    Args:
        stills: (B, K, 3, 112, 112) in [0, 1].
        still_mouths: (B, K, 20, 2) px.
        same: (B, K, K), 1 where two slots hold the same still.
        requested: (B, T, 20, 2) px, T mouths of each person.
    """
    frames = requested.shape[1]
    predicted = network(stills[REGION], still_mouths, requested)
    fields, undecided = merge_copies(predicted, same.repeat_interleave(frames, 0))
    return fields, undecided, compose_output(fields, stills.repeat_interleave(frames, 0))


def _inner_mouth(train: TrackSet, rng: np.random.Generator) -> tuple[float, float]:
    """Return the means of :func:`inner_mouth` and of :func:`patch_weight` in the training data.

    Terms divided by these, not by those of a batch, are means over items and can be averaged over processes.
    """
    tracks = [train[number] for number in rng.permutation(len(train.tracks))[:STATISTICS_MOUTHS]]
    mouths = np.stack([track.landmarks[rng.integers(len(track)), MOUTH_POINTS] for track in tracks])
    inner_mouth_mask = inner_mouth(torch.from_numpy(mouths))
    return float(inner_mouth_mask.mean()), float(patch_weight(inner_mouth_mask).mean())


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return rng.standard_normal(shape, np.float32)
