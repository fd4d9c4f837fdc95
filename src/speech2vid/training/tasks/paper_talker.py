"""Task ``paper_talker``: the paper's own network, from audio and stills to the whole face (Sect. 3.1, 3.2, 3.4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
from speech2vid.models.paper_talker import PaperTalker
from speech2vid.training.config import PaperTalkerTaskConfig
from speech2vid.training.dataset import TrackSet, TrainingTrack
from speech2vid.training.mouth_masks import REGION, mouth_box, opening
from speech2vid.training.pretrained import start_audio, start_identity
from speech2vid.training.sampling import PAPER, Indices, percentile_stills
from speech2vid.training.task import (
    STATISTICS_TRACKS,
    TARGET,
    Batch,
    Item,
    Task,
    Validation,
    colour_statistics,
    frames_of,
    pixels,
    speaker_mean,
)
from speech2vid.training.visualize import contact_sheet, contact_video

VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_FRAMES = 2, 50, 4


class PaperTalkerTask(Task):
    """Stills and MFCC windows → faces."""

    name = "paper_talker"
    architecture = PaperTalker.architecture
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
        self.config, self.train, self.val, self.device = config, train, val, device
        network = PaperTalker(config.network)
        normalise(network, train, np.random.default_rng(config.seed))
        if config.identity_init:
            start_identity(network.identity_encoder, Path(config.identity_init))
        if config.audio_init:
            start_audio(network.audio_encoder, Path(config.audio_init))
        self.faster = {"audio_encoder.": config.audio_rate}
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
        self.face_network: FaceRecognition | None = None
        self.weights = {"l1": config.l1}
        if config.loss == "content":
            self.face_network = FaceRecognition.from_dlib(model_path(RECOGNITION_FILE)).to(device)
            self.weights = {"image": config.l1, **dict.fromkeys(TAPS, config.content)}
        self.weights |= {"gradient": config.gradient, "mouth": config.mouth, "difference": config.difference}
        self.weights["keypoints"] = config.keypoints
        self.landmark_network = (
            None if landmark_network is None else landmark_network.to(device).eval().requires_grad_(False)
        )
        self._mouth = mean_mouth_region().to(device)

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
        """Five stills, or the one in the middle."""
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
        if self.face_network is None:
            return {"l1": l1(generated, target), **ours}
        with torch.no_grad():
            theirs = self.face_network.taps(at_its_size(target))
        return {**content_loss(generated, target, self.face_network.taps(at_its_size(generated)), theirs), **ours}

    def _difference(self, generated: Tensor, target: Tensor) -> Tensor:
        """L1 in the mouth box between (N, 3, 109, 109) faces, after each person's mean over its frames is removed."""
        varying = [each.unflatten(0, (-1, self.config.frames)) for each in (generated, target)]
        return weighted_l1(*((each - each.mean(1, keepdim=True)).flatten(0, 1) for each in varying), self._mouth)

    def _keypoints(self, generated: Tensor, mouths: Tensor) -> Tensor:
        """L1 between the mouth motion read off generated faces and the target's (B, T, 20, 2), in units of 2 px."""
        assert self.landmark_network is not None
        read = self.landmark_network(lower_face(generated)).unflatten(0, mouths.shape[:2]).float()
        motion, target = (each - each.mean(1, keepdim=True) for each in (read, mouths))
        gaps = opening(read) - opening(mouths)
        return ((motion - target).abs().mean() + (gaps - gaps.mean(1, keepdim=True)).abs().mean()) / 2

    def validate(self, network: nn.Module) -> Validation:
        by_speaker, rows, videos = {}, [], []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                generated, target, still = self._generate(network, track)
                error = (generated - target) * 255
                still_error = (still - target) * 255
                moved = mouth_movement(
                    *(
                        each[..., _rows(self._mouth), _columns(self._mouth)].cpu().numpy()
                        for each in (generated, target)
                    ),
                    track.opening[: len(generated)],
                )
                measured.append(
                    {
                        "l1": float(error.abs().mean() / 255),
                        "mse": float(error.square().mean()),
                        "still_mse": float(still_error.square().mean()),
                        **moved,
                    }
                )
                shown = [frames_of(each) for each in (target, generated)]
                chosen = np.linspace(0, len(generated) - 1, SHEET_FRAMES).astype(int)
                rows.append([frames_of(still[None])[0], *[each[i] for i in chosen for each in shown]])
            videos.append(shown)
            by_speaker[speaker] = speaker_mean(measured)
        return Validation(
            by_speaker,
            self.config.choose_by,
            higher_is_better=self.config.choose_by != "l1",
            sheet=contact_sheet(rows),
            video=contact_video(videos),
        )

    def _generate(self, network: nn.Module, track: TrainingTrack) -> tuple[Tensor, Tensor, Tensor]:
        """The first two seconds of a track, made and true (T, 3, 109, 109), and its median still, all in [0, 1]."""
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


def _rows(mask: Tensor) -> slice:
    return _span(mask.amax((0, 1, 3)))


def _columns(mask: Tensor) -> slice:
    return _span(mask.amax((0, 1, 2)))


def _span(line: Tensor) -> slice:
    inside = line.nonzero()
    return slice(int(inside.min()), int(inside.max()) + 1)


def mean_mouth_region() -> Tensor:
    """(1, 1, 109, 109): 1 in the box where aligned faces have their mouth, 0 outside."""
    face = torch.zeros(1, 1, FACE_PX, FACE_PX)
    face[REGION] = mouth_box(torch.from_numpy(canonical_points(FACE_PX)[None, MOUTH_POINTS]).float())
    return face[..., TARGET, TARGET]


def normalise(network: PaperTalker | PaperRedubber, train: TrackSet, rng: np.random.Generator) -> None:
    """Set what the network subtracts and divides by, from the training data."""
    tracks = [train[number] for number in rng.permutation(len(train.tracks))[:STATISTICS_TRACKS]]
    coefficients = torch.from_numpy(np.concatenate([track.windows[:, 0, :, WINDOW_STEPS // 2] for track in tracks]))
    network.audio_encoder.set_normalisation(coefficients.mean(0), coefficients.std(0))
    network.identity_encoder.set_normalisation(*colour_statistics(train, rng))
