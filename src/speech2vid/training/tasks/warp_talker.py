"""Stage ``picture``: the ``warp`` talker learns to show true mouth shapes on stills of the person.

Beside the plain difference, the picture must have the target's edges, look like it to the reader's first layers, and
must read as the shape that was asked for: the last keeps it from answering everything with the mean mouth. Between the
lips, where no still has what is wanted, the residual must be right by itself, and a critic that learns along keeps
teeth and tongue from being the blurred mean of all that could be there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speech2vid.constants import MOUTH_POINTS
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.models.mouth_discriminator import MouthCritic, patch_weight
from speech2vid.models.mouth_landmarks import ShapeReader
from speech2vid.models.warp_decoder import WarpFields, compose, merge_copies
from speech2vid.models.warp_talker import WarpTalker
from speech2vid.training.adversarial import contest
from speech2vid.training.config import PictureConfig
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import REGION, REGION_RGB, between_lips, emphasis, mirrored, mouth_box, opening
from speech2vid.training.neutral_mouth import fit_rest, mean_speech
from speech2vid.training.sampling import StillMix, percentile_stills
from speech2vid.training.task import Batch, Item, Stage, Validation, frames_of, pixels, speaker_mean
from speech2vid.training.visualize import contact_sheet, contact_video
from speech2vid.types import Frames, Image

GAIN, TINT, LIFT = 0.15, 0.05, 0.04  # standard deviations of contrast, of each colour's, and of brightness
ONE_STILL_QUANTILE = 0.3
LEAST_ERROR = 1e-3  # of a still that is nearly right
HEAD = ("decoder.narrow.", "decoder.paint.")  # few weights, small gradients
STATISTICS_MOUTHS = 500  # how large the inner mouth is, is measured on so many
VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_FRAMES = 2, 25, 4


class PictureStage(Stage):
    """Stills, their mouths and the mouth wanted → the lower face."""

    name = "picture"
    architecture = WarpTalker.architecture
    config: PictureConfig
    network: WarpTalker
    critic: MouthCritic | None

    def __init__(
        self, config: PictureConfig, train: TrackSet, val: TrackSet, device: torch.device, reader: ShapeReader | None
    ) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device
        network = WarpTalker(config.network)
        with torch.no_grad():
            network.rest.weight.copy_(torch.from_numpy(fit_rest(train, np.random.default_rng(config.seed))))
            network.speech.copy_(torch.from_numpy(mean_speech(train)))
        network.rest.requires_grad_(False)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reader = None if reader is None else reader.to(device).eval().requires_grad_(False)
        self.critic = MouthCritic().to(device) if config.adversarial or config.match else None
        self.between_mean, self.patch_mean = _inner_mouth(train, np.random.default_rng(config.seed))
        mix = StillMix(config.single, config.two, config.other_track, every=1)
        self._sampler = train.sampler(mix)
        self.samples = -(-train.frames // config.frames)
        judged = {"features": config.features, "shape": config.shape} if reader is not None else {}
        critics = {"critic": 1.0, "adversarial": config.adversarial, "match": config.match}
        self.weights = {
            "l1": config.l1,
            "gradient": config.gradient,
            **judged,
            "smooth": config.smooth,
            "residual": config.residual,
            "undecided": config.undecided,
            **(critics if self.critic is not None else {}),
        }
        self.faster = dict.fromkeys(HEAD, config.head_rate)

    def weights_at(self, step: int) -> dict[str, float]:
        ramp = min(1.0, step / max(1, self.config.ramp))
        return {
            name: ramp * weight if name in ("adversarial", "match") else weight for name, weight in self.weights.items()
        }

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
            "asked": mouths + np.float32(self.config.shape_noise) * _normal(rng, len(mouths), 1, 2),
            "gain": (1 + GAIN * _normal(rng, 1, 1, 1, 1) + TINT * _normal(rng, 1, 3, 1, 1)),
            "lift": LIFT * _normal(rng, 1, 1, 1, 1),
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        gain, lift = batch["gain"], batch["lift"]
        stills = pixels(batch["stills"]) * gain + lift
        fields, undecided, made = _generate(network, stills, batch["still_mouths"], batch["same"], batch["asked"])
        true = (pixels(batch["faces"]) * gain + lift).flatten(0, 1)
        mouths = batch["mouths"].flatten(0, 1)
        weight, between = emphasis(mouths), between_lips(mouths)
        error = (made - true) * weight
        terms = {"l1": error.abs().mean(), "gradient": _edge_error(made - true, weight)}
        if self.reader is not None:
            ours = self.reader.features(made.clamp(0, 1))
            with torch.no_grad():
                theirs = self.reader.features(true.clamp(0, 1))
            read = self.reader.read(ours[-1])
            terms["features"] = torch.stack(
                [(a - b).abs().mean() for a, b in zip(ours[:3], theirs[:3], strict=True)]
            ).sum()
            terms["shape"] = (read - mouths).abs().mean() + (opening(read) - opening(mouths)).abs().mean()
        terms["smooth"] = fields.flow.diff(dim=-1).abs().mean() + fields.flow.diff(dim=-2).abs().mean()
        terms["residual"] = ((fields.residual - true).abs() * between).mean() / self.between_mean
        terms["undecided"] = undecided.mean()
        return terms if self.critic is None else terms | self._contest(self.critic, made, true, between)

    def _contest(self, critic: MouthCritic, made: Tensor, true: Tensor, between: Tensor) -> dict[str, Tensor]:
        counts = patch_weight(between) / self.patch_mean
        return contest(critic, made, true, between, counts)

    def validate(self, network: nn.Module) -> Validation:
        by_speaker, rows, videos = {}, [], []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                source = next((each for each in own if each is not track), track)
                pictures, video, measures = self._measure(network, track, source)
                measured.append(measures)
                rows.append(pictures)
            videos.append(video)
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(by_speaker, "lack", sheet=contact_sheet(rows), video=contact_video(videos))

    def _measure(
        self, network: nn.Module, track: TrainingTrack, source: TrainingTrack
    ) -> tuple[list[Image], list[Frames], dict[str, float]]:
        """Generate the first second of a track from five stills and from one; what to look at, and measures.

        ``lack``, which decides, is the error over that of a still, and with a reader how far the lips disobey: a mouth
        that hardly moves has a small error.
        """
        frames = min(len(track), VALIDATE_FRAMES)
        true = pixels(torch.from_numpy(track.frames[:frames][REGION_RGB]).to(self.device))
        mouths = torch.from_numpy(track.landmarks[:frames, MOUTH_POINTS]).to(self.device)
        box = mouth_box(mouths)

        def error(made: Tensor) -> float:
            return float(((made - true).abs() * box).sum() / (3 * box.sum()))

        count = self.config.network.stills
        five = percentile_stills(source.opening, np.random.default_rng(0))[:count]
        one = int(np.argsort(source.opening, kind="stable")[int(ONE_STILL_QUANTILE * len(source))])
        measures: dict[str, float] = {}
        lacks: list[float] = []
        pictures, video = [source.frames[one][REGION_RGB]], [track.frames[:frames][REGION_RGB]]
        for name, slots in (("", five), ("_one_still", np.full(count, one))):
            stills = pixels(torch.from_numpy(source.frames[slots]).to(self.device))[None]
            still_mouths = torch.from_numpy(source.landmarks[slots][:, MOUTH_POINTS]).to(self.device)[None]
            same = torch.from_numpy((slots[:, None] == slots).astype(np.float32)).to(self.device)[None]
            _, _, made = _generate(network, stills, still_mouths, same, mouths[None])
            measures[f"error{name}"] = error(made)
            measures[f"still_error{name}"] = min(error(still[REGION]) for still in stills[0])
            lacks.append(measures[f"error{name}"] / max(LEAST_ERROR, measures[f"still_error{name}"]))
            if self.reader is not None:
                read, asked = opening(self.reader(made.clamp(0, 1))).cpu().numpy(), opening(mouths).cpu().numpy()
                measures[f"opening_correlation{name}"] = correlation(read, asked)
                measures[f"opening_ratio{name}"] = float(read.std() / max(1e-3, asked.std()))
                lacks[-1] += 1 - measures[f"opening_correlation{name}"]
            shown = frames_of(made)
            video.append(shown)
            for frame in np.linspace(0, frames - 1, SHEET_FRAMES).astype(int):
                if not name:
                    pictures.append(video[0][frame])
                pictures.append(shown[frame])
        return pictures, video, {"lack": float(np.mean(lacks)), **measures}

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def _generate(
    network: nn.Module, stills: Tensor, still_mouths: Tensor, same: Tensor, asked: Tensor
) -> tuple[WarpFields, Tensor, Tensor]:
    """Fields, how undecided they are, and pictures, for B·T mouths.

    Args:
        stills: (B, K, 3, 112, 112) in [0, 1].
        still_mouths: (B, K, 20, 2) px.
        same: (B, K, K), 1 where two slots hold the same still.
        asked: (B, T, 20, 2) px, T mouths of each person.
    """
    frames = asked.shape[1]
    predicted = network(stills[REGION], still_mouths, asked)
    fields, undecided = merge_copies(predicted, same.repeat_interleave(frames, 0))
    return fields, undecided, compose(fields, stills.repeat_interleave(frames, 0))


def _inner_mouth(train: TrackSet, rng: np.random.Generator) -> tuple[float, float]:
    """Mean of :func:`between_lips` and of :func:`patch_weight` in the training data.

    What is divided by these, not by those of a batch, is a mean over items and can be averaged over processes.
    """
    tracks = [train[number] for number in rng.permutation(len(train.tracks))[:STATISTICS_MOUTHS]]
    mouths = np.stack([track.landmarks[rng.integers(len(track)), MOUTH_POINTS] for track in tracks])
    between = between_lips(torch.from_numpy(mouths))
    return float(between.mean()), float(patch_weight(between).mean())


def _edge_error(error: Tensor, weight: Tensor) -> Tensor:
    """As ``losses.gradient_l1`` of made and true, with weights (N, 1, H, W) of the pixel on the upper left."""
    across = (error.diff(dim=-1) * weight[..., :-1]).abs().mean()
    return across + (error.diff(dim=-2) * weight[..., :-1, :]).abs().mean()


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return rng.standard_normal(shape, np.float32)
