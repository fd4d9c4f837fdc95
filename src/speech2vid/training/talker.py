"""Stage ``talker``: the paper's own network, from sound and stills to the whole face (Sect. 3.1, 3.2, 3.4)."""

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
from speech2vid.data.sampling import PAPER, Indices, percentile_stills
from speech2vid.evaluation.measures import correlation
from speech2vid.face.dlib_models import RECOGNITION_FILE, model_path
from speech2vid.face.registration import canonical_points
from speech2vid.losses import content_loss, gradient_l1, l1, weighted_l1
from speech2vid.models.audio_trunk import start_audio
from speech2vid.models.face_recognition import TAPS, FaceRecognition, at_its_size
from speech2vid.models.identity_trunk import start_identity
from speech2vid.models.redubber import Redubber
from speech2vid.models.shape_reader import ShapeReader
from speech2vid.models.talker import Talker
from speech2vid.training.config import TalkerStageConfig
from speech2vid.training.mouths import REGION, mouth_box, opening
from speech2vid.training.sheet import contact_sheet, contact_video
from speech2vid.training.stage import (
    STATISTICS_TRACKS,
    TARGET,
    Batch,
    Item,
    Stage,
    Validation,
    colour_statistics,
    frames_of,
    pixels,
    speaker_mean,
)
from speech2vid.training.tracks import TrackSet, TrainingTrack

VALIDATE_TRACKS, VALIDATE_FRAMES, SHEET_FRAMES = 2, 50, 4


class TalkerStage(Stage):
    """Stills and MFCC windows → faces."""

    name = "talker"
    architecture = Talker.architecture
    config: TalkerStageConfig
    network: Talker

    def __init__(
        self,
        config: TalkerStageConfig,
        train: TrackSet,
        val: TrackSet,
        device: torch.device,
        reader: ShapeReader | None = None,
    ) -> None:
        self.config, self.train, self.val, self.device = config, train, val, device
        network = Talker(config.network)
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
        self.judge: FaceRecognition | None = None
        self.weights = {"l1": config.l1}
        if config.loss == "content":
            self.judge = FaceRecognition.from_dlib(model_path(RECOGNITION_FILE)).to(device)
            self.weights = {"image": config.l1, **dict.fromkeys(TAPS, config.content)}
        self.weights |= {"gradient": config.gradient, "mouth": config.mouth, "difference": config.difference}
        self.reader = None if reader is None else reader.to(device).eval().requires_grad_(False)
        self.weights["keypoints"] = config.keypoints
        self._mouth = usual_mouth().to(device)

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
        made = network(batch["windows"].flatten(0, 1), pixels(batch["stills"]).flatten(1, 2))
        true = pixels(batch["faces"]).flatten(0, 1)
        nothing = made.new_zeros(())
        ours = {
            "gradient": gradient_l1(made, true) if self.weights["gradient"] else nothing,
            "mouth": weighted_l1(made, true, self._mouth) if self.weights["mouth"] else nothing,
            "difference": self._difference(made, true) if self.weights["difference"] else nothing,
            "keypoints": self._keypoints(made, batch["mouths"]) if self.weights["keypoints"] else nothing,
        }
        if self.judge is None:
            return {"l1": l1(made, true), **ours}
        with torch.no_grad():
            theirs = self.judge.taps(at_its_size(true))
        return {**content_loss(made, true, self.judge.taps(at_its_size(made)), theirs), **ours}

    def _difference(self, made: Tensor, true: Tensor) -> Tensor:
        """L1 in the mouth box between (N, 3, 109, 109) faces, after each person's mean over its frames is removed."""
        varying = [each.unflatten(0, (-1, self.config.frames)) for each in (made, true)]
        return weighted_l1(*((each - each.mean(1, keepdim=True)).flatten(0, 1) for each in varying), self._mouth)

    def _keypoints(self, made: Tensor, mouths: Tensor) -> Tensor:
        """L1 between the mouth motion read off generated faces and that of the target (B, T, 20, 2), in units of 2 px."""
        assert self.reader is not None
        read = self.reader(lower_face(made)).unflatten(0, mouths.shape[:2]).float()
        motion, target = (each - each.mean(1, keepdim=True) for each in (read, mouths))
        gaps = opening(read) - opening(mouths)
        return ((motion - target).abs().mean() + (gaps - gaps.mean(1, keepdim=True)).abs().mean()) / 2

    def validate(self, network: nn.Module) -> Validation:
        by_speaker, rows, videos = {}, [], []
        for speaker, own in self.val.by_speaker.items():
            measured = []
            for track in own[:VALIDATE_TRACKS]:
                made, true, still = self._generate(network, track)
                error = (made - true) * 255
                still_error = (still - true) * 255
                moved = mouth_movement(
                    *(each[..., _rows(self._mouth), _columns(self._mouth)].cpu().numpy() for each in (made, true)),
                    track.opening[: len(made)],
                )
                measured.append(
                    {
                        "l1": float(error.abs().mean() / 255),
                        "mse": float(error.square().mean()),
                        "still_mse": float(still_error.square().mean()),
                        **moved,
                    }
                )
                shown = [frames_of(each) for each in (true, made)]
                chosen = np.linspace(0, len(made) - 1, SHEET_FRAMES).astype(int)
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
        true = pixels(torch.from_numpy(track.frames[:frames]).to(self.device))[..., TARGET, TARGET]
        return network(windows, stills.flatten(0, 1)[None]), true, stills[len(slots) // 2][..., TARGET, TARGET]

    def network_config(self) -> dict[str, Any]:
        return self.config.network.to_dict()


def mouth_movement(
    generated: NDArray[np.float32], target: NDArray[np.float32], opening: NDArray[np.float32]
) -> dict[str, float]:
    """Return how far generated mouths move as the target's do, without landmarks.

    The clip's opening pattern is the regression of the target's mouth pixels on the lip opening. Generated frames are
    projected on it: small movements count that a landmark detector does not see.

    Args:
        generated, target: (T, 3, h, w) mouth pixels in [0, 1].
        opening: (T,) lip opening of the target, px.

    Returns:
        ``mouth_correlation``: Pearson's, of the projection with ``opening``; ``mouth_amplitude``: standard deviation of
        the projection of the generated frames over that of the target's.
    """
    centred = opening - opening.mean()
    pattern = np.tensordot(centred, target - target.mean(0), 1)
    shown = [np.tensordot(each - each.mean(0), pattern, 3) for each in (generated, target)]
    amplitude = float(shown[0].std() / max(float(shown[1].std()), 1e-9))
    return {"mouth_correlation": correlation(shown[0], opening), "mouth_amplitude": amplitude}


def _rows(mask: Tensor) -> slice:
    return _span(mask.amax((0, 1, 3)))


def _columns(mask: Tensor) -> slice:
    return _span(mask.amax((0, 1, 2)))


def _span(line: Tensor) -> slice:
    inside = line.nonzero()
    return slice(int(inside.min()), int(inside.max()) + 1)


def lower_face(faces: Tensor) -> Tensor:
    """Cut the generated region (N, 3, 64, 96) of the 112 px face from target crops (N, 3, 109, 109); edges repeat."""
    bottom, right = REGION_TOP + REGION_HEIGHT - TARGET_OFFSET_PX, REGION_LEFT + REGION_WIDTH - TARGET_OFFSET_PX
    pads = (0, max(0, right - TARGET_PX), 0, max(0, bottom - TARGET_PX))
    padded = functional.pad(faces, pads, mode="replicate")
    return padded[..., REGION_TOP - TARGET_OFFSET_PX : bottom, REGION_LEFT - TARGET_OFFSET_PX : right]


def usual_mouth() -> Tensor:
    """(1, 1, 109, 109): 1 in the box where aligned faces have their mouth, 0 outside."""
    face = torch.zeros(1, 1, FACE_PX, FACE_PX)
    face[REGION] = mouth_box(torch.from_numpy(canonical_points(FACE_PX)[None, MOUTH_POINTS]).float())
    return face[..., TARGET, TARGET]


def normalise(network: Talker | Redubber, train: TrackSet, rng: np.random.Generator) -> None:
    """Set what the network subtracts and divides by, from the training data."""
    tracks = [train[number] for number in rng.permutation(len(train.tracks))[:STATISTICS_TRACKS]]
    coefficients = torch.from_numpy(np.concatenate([track.windows[:, 0, :, WINDOW_STEPS // 2] for track in tracks]))
    network.audio_encoder.set_normalisation(coefficients.mean(0), coefficients.std(0))
    network.identity_encoder.set_normalisation(*colour_statistics(train, rng))
