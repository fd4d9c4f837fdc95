"""Task ``paper_talker``: the paper's own network, from audio and stills to the whole face (Sect. 3.1, 3.2, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.constants import (
    FACE_PX,
    IDENTITY_STILLS,
    MOUTH_POINTS,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
    SAMPLE_EVERY_FRAMES,
    TARGET_OFFSET_PX,
    TARGET_PX,
    WINDOW_STEPS,
)
from speech2vid.evaluation.mouth_metrics import correlation
from speech2vid.faces.align import canonical_points
from speech2vid.faces.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.losses import content_loss, gradient_l1, l1, weighted_l1
from speech2vid.models.face_recognition import TAPS, FaceRecognition, at_its_size
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.paper_redubber import PaperRedubber
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
from speech2vid.runtime.weights import is_ours
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import REGION, mouth_box, opening
from speech2vid.training.pretrained import start_audio, start_identity
from speech2vid.training.sampling import PAPER, Indices, percentile_stills
from speech2vid.training.task import (
    STATISTICS_TRACKS,
    TARGET,
    Batch,
    Item,
    Run,
    Task,
    TaskConfig,
    Validation,
    check_landmarker,
    colour_statistics,
    frames_of,
    pixels,
    speaker_mean,
)
from speech2vid.training.tasks.mouth_landmarks import load_landmark_network
from speech2vid.training.visualize import Row, contact_sheet, contact_video

VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_FRAMES = 2, 50, 4


@dataclass(frozen=True)
class PaperTalkerTaskConfig(TaskConfig):
    """Settings of the task ``paper_talker``.

    Attributes:
        frames: target frames a person.
        single: share of people whose slots all hold one still; the paper has 0.
        other_track: share of people whose stills come from another of their tracks; the paper has 0.
        every: targets are every so many frames of a track; the paper has 5.
        speaker_power: a speaker with n frames is drawn with weight n ** power; the paper draws by frames: 1.
        loss: ``l1``, or ``content``: L1 on the image and on the activations of a face-recognition network (Sect. 3.2).
        l1, content, gradient: weights of the L1 of the image, of each of the five activations, and of the edges; the
            paper has 1, 1 and 0.
        reduction: ``mean``, or ``sum``: the loss is scaled by the number of values of a face, 3 · 109². L1 is then the
            sum over pixels of Eq. 1, for which the paper's learning rate is meant. Logged terms are means.
        mouth: weight of the L1 of the mouth's pixels alone, a twelfth of the image; the paper has 0.
        difference: weight of the within-person difference loss on the mouth box: L1 between generated and target
            frames after each person's mean frame is subtracted from both, so that identity, pose and light drop out;
            the paper has 0.
        keypoints: weight of the error of the mouth motion that the task ``mouth_landmarks`` finds in generated frames;
            within a person, as ``difference``. The paper has 0.
        identity_init: initial weights of the identity encoder's convolutions: ``identity``, the task of that name in
            the same config, or a weight file of that task, or VGG-M's. Empty: random.
        audio_init: initial weights of the audio encoder: ``audio_encoder``, the task of that name in the same config,
            or a weight file of that task. Empty: random.
        audio_rate: learning-rate multiplier of the audio encoder.
        choose_by: the validation metric that selects the best weights.
    """

    network: PaperTalkerConfig = field(default_factory=PaperTalkerConfig)
    frames: int = 4
    single: float = 0.0
    other_track: float = 0.0
    every: int = SAMPLE_EVERY_FRAMES
    speaker_power: float = 1.0
    loss: Literal["l1", "content"] = "l1"
    l1: float = 1.0
    content: float = 1.0
    gradient: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    mouth: float = 0.0
    difference: float = 0.0
    keypoints: float = 0.0
    identity_init: str = ""
    audio_init: str = ""
    audio_rate: float = 1.0
    choose_by: Literal["l1", "mouth_correlation"] = "l1"

    def needed_tasks(self) -> Mapping[str, str]:
        needed = {}
        if self.keypoints:
            needed["mouth_landmarks"] = "set paper_talker.keypoints to 0"
        if self.identity_init == "identity":
            needed["identity"] = "give paper_talker.identity_init a weight file"
        if self.audio_init == "audio_encoder":
            needed["audio_encoder"] = "give paper_talker.audio_init a weight file"
        return needed


class FaceLoss:
    """L1, or content loss (Sect. 3.2), of generated faces.

    Args:
        loss: ``l1`` or ``content``.
        l1, content: weights of the image and of each activation.
        crop: rows and columns of the aligned face in the images, for the face-recognition network; all by default.

    Attributes:
        weights: term → weight.
    """

    def __init__(
        self,
        loss: Literal["l1", "content"],
        l1: float,
        content: float,
        device: torch.device,
        crop: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> None:
        self._crop = (..., *crop)
        self._network: FaceRecognition | None = None
        self.weights = {"l1": l1}
        if loss == "content":
            self._network = FaceRecognition.from_dlib(model_path(RECOGNITION_FILE)).to(device)
            self.weights = {"image": l1, **dict.fromkeys(TAPS, content)}

    def terms(self, generated: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the terms for faces (N, 3, H, W) in [0, 1], each a mean."""
        if self._network is None:
            return {"l1": l1(generated, target)}
        with torch.no_grad():
            target_taps = self._network.taps(at_its_size(target[self._crop]))
        return content_loss(generated, target, self._network.taps(at_its_size(generated[self._crop])), target_taps)


class PaperTalkerTask(Task):
    """Stills and MFCC windows → faces."""

    name = "paper_talker"
    architecture = PaperTalker.architecture
    Config = PaperTalkerTaskConfig
    config: PaperTalkerTaskConfig
    network: PaperTalker

    def __init__(
        self,
        config: PaperTalkerTaskConfig,
        train: TrackSet,
        val: TrackSet,
        device: torch.device,
        landmark_network: MouthLandmarkNetwork | None = None,
    ) -> None:
        super().__init__(config, train, val, device)
        network = PaperTalker(config.network)
        normalise(network, train, np.random.default_rng(config.seed))
        if config.identity_init:
            if is_ours(Path(config.identity_init)):
                check_landmarker(Path(config.identity_init), train)
            start_identity(network.identity_encoder, Path(config.identity_init))
        if config.audio_init:
            check_landmarker(Path(config.audio_init), train)
            start_audio(network.audio_encoder, Path(config.audio_init))
        self.lr_multipliers = {"audio_encoder.": config.audio_rate}
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        mix = replace(
            PAPER,
            one_photo=config.single,
            other_track=config.other_track,
            every=config.every,
            speaker_power=config.speaker_power,
        )
        self._sampler = train.sampler(mix)
        self.samples = -(-train.frames // (config.every * config.frames))
        self._loss = FaceLoss(config.loss, config.l1, config.content, device)
        ours = {name: getattr(config, name) for name in ("gradient", "mouth", "difference", "keypoints")}
        scale = 3.0 * TARGET_PX**2 if config.reduction == "sum" else 1.0
        self.weights = {name: scale * weight for name, weight in {**self._loss.weights, **ours}.items()}
        self.landmark_network = (
            None if landmark_network is None else landmark_network.to(device).eval().requires_grad_(False)
        )
        self._mouth = mean_mouth_region().to(device)
        self._mouth_rows, self._mouth_columns = (_span(self._mouth[0, 0].amax(axis)) for axis in (1, 0))

    @classmethod
    def build(cls, config: PaperTalkerTaskConfig, run: Run) -> PaperTalkerTask:
        """Return the task, with the names of tasks in its settings replaced by those tasks' weights."""
        needed = {name: run.best[name] for name in config.needed_tasks()}
        judge = load_landmark_network(needed["mouth_landmarks"]) if config.keypoints else None
        if "identity" in needed:
            config = replace(config, identity_init=str(needed["identity"]))
        if "audio_encoder" in needed:
            config = replace(config, audio_init=str(needed["audio_encoder"]))
        return cls(config, run.train, run.val, run.dist.device, judge)

    def draw(self, rng: np.random.Generator) -> Item:
        example = self._sampler.draw(rng, self.config.frames)
        source, track = self.train[example.still_track], self.train[example.track]
        return {
            "stills": source.frames[self._slots(example.stills)],
            "windows": track.windows[example.targets],
            "faces": track.frames[example.targets][:, TARGET, TARGET],
            "mouths": track.landmarks[example.targets][:, MOUTH_POINTS],
        }

    def _slots(self, stills: Indices) -> Indices:
        """Return all five stills, or the one in the middle."""
        return stills if self.config.network.identity_images == IDENTITY_STILLS else stills[[IDENTITY_STILLS // 2]]

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        generated = network(batch["windows"].flatten(0, 1), pixels(batch["stills"]).flatten(1, 2))
        target = pixels(batch["faces"]).flatten(0, 1)
        nothing = generated.new_zeros(())
        ours = {
            "gradient": gradient_l1(generated, target) if self.weights["gradient"] else nothing,
            "mouth": weighted_l1(generated, target, self._mouth) if self.weights["mouth"] else nothing,
            "difference": self._difference(generated, target) if self.weights["difference"] else nothing,
            "keypoints": self._keypoints(generated, batch["mouths"]) if self.weights["keypoints"] else nothing,
        }
        return {**self._loss.terms(generated, target), **ours}

    def _difference(self, generated: Tensor, target: Tensor) -> Tensor:
        """Return the L1 in the mouth box of (N, 3, 109, 109) faces, each person's mean over its frames removed."""
        ours, theirs = (each.reshape(-1, self.config.frames, *each.shape[1:]) for each in (generated.float(), target))
        ours, theirs = ((each - each.mean(1, keepdim=True)).flatten(0, 1) for each in (ours, theirs))
        return weighted_l1(ours, theirs, self._mouth)

    def _keypoints(self, generated: Tensor, mouths: Tensor) -> Tensor:
        """Return the L1 of the mouth motion in generated faces and the target's (B, T, 20, 2), in units of 2 px."""
        assert self.landmark_network is not None
        read = self.landmark_network(lower_face(generated)).reshape(mouths.shape).float()
        motion, target = (each - each.mean(1, keepdim=True) for each in (read, mouths))
        gaps = opening(read) - opening(mouths)
        return ((motion - target).abs().mean() + (gaps - gaps.mean(1, keepdim=True)).abs().mean()) / 2

    def validate(self, network: nn.Module) -> Validation:
        by_speaker: dict[str, dict[str, float]] = {}
        rows: list[Row] = []
        videos: list[Row] = []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                generated, target, still = self._generate(network, track)
                error = (generated - target) * 255
                still_error = (still - target) * 255
                ours, theirs = (
                    each[..., self._mouth_rows, self._mouth_columns].cpu().numpy() for each in (generated, target)
                )
                measured.append(
                    {
                        "l1": float(error.abs().mean() / 255),
                        "mse": float(error.square().mean()),
                        "still_mse": float(still_error.square().mean()),
                        **mouth_movement(ours, theirs, track.opening[: len(generated)]),
                    }
                )
                shown = [frames_of(each) for each in (target, generated)]
                chosen = np.linspace(0, len(generated) - 1, SHEET_FRAMES).astype(int)
                rows.append(Row(speaker, [frames_of(still[None])[0], *[each[i] for i in chosen for each in shown]]))
            videos.append(Row(speaker, shown))
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(
            by_speaker,
            self.config.choose_by,
            higher_is_better=self.config.choose_by != "l1",
            sheet=contact_sheet(rows, ["still", *["target", "generated"] * SHEET_FRAMES]),
            video=contact_video(videos, ["target", "generated"]),
        )

    def _generate(self, network: nn.Module, track: TrainingTrack) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first two seconds of a track, generated and target (T, 3, 109, 109), and its median still; 0–1."""
        frames = min(len(track), VALIDATE_FRAMES)
        slots = self._slots(percentile_stills(track.opening, np.random.default_rng(0)))
        stills = pixels(torch.from_numpy(track.frames[slots]).to(self.device))
        windows = torch.from_numpy(track.windows[:frames]).to(self.device)
        target = pixels(torch.from_numpy(track.frames[:frames]).to(self.device))[..., TARGET, TARGET]
        return network(windows, stills.flatten(0, 1)[None]), target, stills[len(slots) // 2][..., TARGET, TARGET]

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def mouth_movement(
    generated: NDArray[np.float32], target: NDArray[np.float32], openings: NDArray[np.float32]
) -> dict[str, float]:
    """Return how far generated mouths move as the target's do, without landmarks.

    The clip's opening pattern is the regression of the target's mouth pixels on the lip opening. Generated frames are
    projected on it: small movements count that a landmark detector does not see.

    Args:
        generated, target: (T, 3, h, w) mouth pixels in [0, 1].
        openings: (T,) lip opening of the target, px.

    Returns:
        ``mouth_correlation``: Pearson's, of the projection with ``openings``; ``mouth_amplitude``: standard deviation
        of the projection of the generated frames over that of the target's.
    """
    centred = openings - openings.mean()
    pattern = np.tensordot(centred, target - target.mean(0), 1)
    shown = [np.tensordot(each - each.mean(0), pattern, 3) for each in (generated, target)]
    amplitude = float(shown[0].std() / max(float(shown[1].std()), 1e-9))
    return {"mouth_correlation": correlation(shown[0], openings), "mouth_amplitude": amplitude}


def lower_face(faces: Tensor) -> Tensor:
    """Cut the generated region (N, 3, 64, 96) of the 112 px face from target crops (N, 3, 109, 109); edges repeat."""
    top, left = REGION_TOP - TARGET_OFFSET_PX, REGION_LEFT - TARGET_OFFSET_PX
    bottom, right = top + REGION_HEIGHT, left + REGION_WIDTH
    padded = functional.pad(faces, (0, max(0, right - TARGET_PX), 0, max(0, bottom - TARGET_PX)), mode="replicate")
    return padded[..., top:bottom, left:right]


def mean_mouth_region() -> Tensor:
    """Return (1, 1, 109, 109): 1 in the box where aligned faces have their mouth, 0 outside."""
    face = torch.zeros(1, 1, FACE_PX, FACE_PX)
    face[REGION] = mouth_box(torch.from_numpy(canonical_points(FACE_PX)[None, MOUTH_POINTS]).float())
    return face[..., TARGET, TARGET]


def _span(line: Tensor) -> slice:
    inside = line.nonzero()
    return slice(int(inside.min()), int(inside.max()) + 1)


def normalise(network: PaperTalker | PaperRedubber, train: TrackSet, rng: np.random.Generator) -> None:
    """Set the normalisation of MFCC and of colours from the training data."""
    tracks = [train[number] for number in rng.permutation(len(train.tracks))[:STATISTICS_TRACKS]]
    coefficients = torch.from_numpy(np.concatenate([track.windows[:, 0, :, WINDOW_STEPS // 2] for track in tracks]))
    network.audio_encoder.set_normalisation(coefficients.mean(0), coefficients.std(0))
    network.identity_encoder.set_normalisation(*colour_statistics(train, rng))
