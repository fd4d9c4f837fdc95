"""The trainings of the job: mouth-landmark network, audio encoder, the paper's talker.

The losses and measures are those of :mod:`speech2vid.training.tasks`, on batches that are already on the GPU. A stage
ends by the clock: the learning rate follows the share of its time that is spent.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from research.gpu_job.tracks import Tracks
from research.gpu_job.validation import TARGET, autocast, mouth_slices, per_speaker
from torch import Tensor, nn
from torch.nn import functional

from speech2vid.constants import (
    FACE_PX,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
    TARGET_OFFSET_PX,
    TARGET_PX,
)
from speech2vid.errors import TrainingError
from speech2vid.losses import content_loss, l1, total
from speech2vid.models.audio_trunk import AudioTrunk
from speech2vid.models.face_recognition import TAPS, FaceRecognition, at_its_size
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.paper_talker import PaperTalker
from speech2vid.training.mouth_masks import MIRROR_MOUTH, REGION, opening

Say = Callable[[str], None]

TERMS = ("l1", "mouth", "difference", "keypoints", *TAPS)
SHIFT_PX = 5  # of a lower face in training the landmark network
SPEED, OFFSET, NOISE = 0.12, 0.2, 0.15  # of MFCC windows: log speed; offset and noise in standard deviations


@dataclass
class Budget:
    """What a stage may take: seconds from now on, or a number of steps where that is given."""

    seconds: float
    steps: int = 0
    start: float = field(default_factory=time.monotonic)

    def spent(self, step: int) -> float:
        """Share that is used up after ``step`` steps; the stage ends at 1."""
        return step / self.steps if self.steps else (time.monotonic() - self.start) / max(1e-3, self.seconds)


@dataclass(frozen=True)
class Recipe:
    """How the talker is trained; the names are those of ``PaperTalkerTaskConfig``.

    Attributes:
        content: weight of each of the five activations of the face-recognition network.
        content_from: share of the time from which on they count.
    """

    people: int = 64
    frames: int = 8
    single: float = 0.3
    other_track: float = 0.4
    mouth: float = 1.0
    difference: float = 3.0
    keypoints: float = 0.3
    content: float = 0.05
    content_from: float = 0.6
    learning_rate: float = 1e-3
    audio_rate: float = 0.1
    weight_decay: float = 1e-2
    warmup: int = 100
    decay: float = 0.5
    clip: float = 1.0
    ema: float = 0.995


def falling(share: float, step: int, warmup: int, decay: float) -> float:
    """Factor on the learning rate: rises over ``warmup`` steps, holds, falls along a cosine over the last ``decay``."""
    rise, left = min(1.0, (step + 1) / max(1, warmup)), max(0.0, 1.0 - share)
    return rise * (0.5 - 0.5 * math.cos(math.pi * left / decay)) if left < decay else rise


def fit(
    network: nn.Module, loss: Callable[[], Tensor], budget: Budget, learning_rate: float, device: torch.device
) -> int:
    """Train a small network until its budget is spent; return the number of steps."""
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, fused=device.type == "cuda")
    network.train()
    step = 0
    while (share := budget.spent(step)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * falling(share, step, 100, 1.0)
        optimiser.zero_grad(set_to_none=True)
        with autocast(device):
            found = loss()
        found.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        step += 1
        if step % 20 == 0:
            found.item()  # wait for the GPU: the budget counts work done
    network.eval()
    return step


def train_landmarks(
    train: Tracks, val: Tracks, budget: Budget, batch: int, width: int, say: Say
) -> MouthLandmarkNetwork:
    """Train the network that reads mouth landmarks off lower faces (task ``mouth_landmarks``)."""
    network = MouthLandmarkNetwork(width).to(train.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss() -> Tensor:
        faces, mouths = lower_faces(train, train.frames(batch)[1])
        read = network(faces)
        return (read - mouths).abs().mean() + (opening(read) - opening(mouths)).abs().mean()

    steps = fit(network, loss, budget, 1e-3, train.device)
    with torch.no_grad():
        read = torch.cat([network(val.pixels(part)[REGION]) for part in _all(val).split(1024)])
    error = float((read - val.mouths).abs().mean())
    followed = per_speaker(val, opening(read), val.opening)
    say(f"mouth landmarks: {steps} steps of {batch}; unseen speakers: error {error:.2f} px, opening r {followed:.3f}")
    return network.requires_grad_(False)


def lower_faces(tracks: Tracks, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Shifted, mirrored, recoloured and blurred lower faces (M, 3, 64, 96), and their mouths (M, 20, 2) px."""
    count, device = len(frames), tracks.device
    shift = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2, count), device=device)
    left = (REGION_LEFT + shift[0]).clamp(0, FACE_PX - REGION_WIDTH)
    top = (REGION_TOP + shift[1]).clamp(0, FACE_PX - REGION_HEIGHT)
    mirror = torch.rand(count, device=device) < 0.5
    rows = top[:, None] + torch.arange(REGION_HEIGHT, device=device)
    columns = left[:, None] + torch.arange(REGION_WIDTH, device=device)
    columns = torch.where(mirror[:, None], FACE_PX - 1 - columns, columns)
    faces = tracks.faces[frames[:, None, None], rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2).float() / 255
    mouths = tracks.mouths[frames]
    turned = mouths[:, torch.from_numpy(MIRROR_MOUTH).to(device)]
    turned[..., 0] = FACE_PX - 1 - turned[..., 0]
    corner = torch.stack([left - REGION_LEFT, top - REGION_TOP], 1)[:, None]
    mouths = torch.where(mirror[:, None, None], turned, mouths) - corner

    def normal(channels: int) -> Tensor:
        return torch.randn(count, channels, 1, 1, device=device)

    faces = faces * (1 + 0.2 * normal(1)) * (1 + 0.06 * normal(3)) + 0.06 * normal(1)
    blur = torch.rand(count, 1, 1, 1, device=device)
    soft = functional.avg_pool2d(faces, 3, 1, 1, count_include_pad=False)
    small = functional.interpolate(functional.avg_pool2d(faces, 2), scale_factor=2, mode="bilinear")
    return torch.where(blur < 0.3, soft, torch.where(blur > 0.8, small, faces)), mouths


def train_audio(
    train: Tracks, val: Tracks, network: AudioTrunk, deviations: Sequence[float], budget: Budget, batch: int, say: Say
) -> None:
    """Train the talker's audio encoder on the teacher's mouth motion (task ``audio_encoder``).

    In place of augmented recordings, MFCC windows get another speed, a constant offset and noise.
    """
    importance = torch.tensor(deviations, device=train.device) / sum(deviations)
    std = network.encoder.mfcc_std

    def loss() -> Tensor:
        _, frames = train.frames(batch)
        speed = torch.exp(SPEED * (2 * torch.rand(batch, device=train.device) - 1))
        windows = train.windows(frames, speed)
        changed = OFFSET * torch.randn_like(windows[..., :1]) + NOISE * torch.randn_like(windows)
        predicted = network(windows + std * changed).float()
        error = functional.smooth_l1_loss(predicted, train.motion[frames], reduction="none")
        return (error * importance).sum(-1).mean()

    steps = fit(network, loss, budget, 1e-3, train.device)
    with torch.no_grad():
        parts = [network(val.windows(part)) @ network.opening for part in _all(val).split(4096)]
    followed = per_speaker(val, torch.cat(parts), val.opening)
    ceiling = per_speaker(val, val.motion @ network.opening, val.opening)
    judged = f"opening r {followed:.3f}, its teacher's {ceiling:.3f}"
    say(f"audio encoder: {steps} steps of {batch}; unseen speakers: {judged}")


class TalkerTraining:
    """The paper's talker in training.

    Attributes:
        ema: the running mean of the weights, which is judged and kept.
        step, frames: updates, and frames generated for them.

    Args:
        network: on its device, channels last.
        box: first and last row, first and last column of the mouth in the 109 px target.
        compiled: run the network through ``torch.compile``.
    """

    def __init__(
        self,
        network: PaperTalker,
        train: Tracks,
        recipe: Recipe,
        box: Sequence[int],
        landmark_network: MouthLandmarkNetwork,
        face_network: FaceRecognition | None,
        compiled: bool = False,
    ) -> None:
        self.network, self.train, self.recipe = network, train, recipe
        self.ema = copy.deepcopy(network).eval().requires_grad_(False)
        self.landmark_network, self.face_network = landmark_network, face_network
        self.box = mouth_slices(box)
        self.step = self.frames = 0
        self._run = torch.compile(network) if compiled else network
        self._sums = torch.zeros(len(TERMS), device=train.device)
        self._summed = 0
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            times = recipe.audio_rate if name.startswith("audio_encoder.") else 1.0
            groups.setdefault((times, recipe.weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
        self._optimiser = torch.optim.AdamW(
            [{"params": own, "times": times, "weight_decay": decay} for (times, decay), own in groups.items()],
            recipe.learning_rate,
            fused=train.device.type == "cuda",
        )

    def update(self, share: float) -> None:
        """Make one update, when ``share`` of the time is spent."""
        recipe, device = self.recipe, self.train.device
        rate = recipe.learning_rate * falling(share, self.step, recipe.warmup, recipe.decay)
        for group in self._optimiser.param_groups:
            group["lr"] = group["times"] * rate
        self.network.train()
        self._optimiser.zero_grad(set_to_none=True)
        example = self.train.draw(recipe.people, recipe.frames, recipe.single, recipe.other_track)
        targets = example.targets.flatten()
        content = recipe.content * min(1.0, (share - recipe.content_from) / 0.05)  # grows over 5 % of the time
        face_network = self.face_network if content > 0 else None
        with autocast(device):
            generated = self._run(self.train.windows(targets), self.train.stills(example.stills)).float()
            terms = losses(
                generated,
                self.train.pixels(targets)[..., TARGET, TARGET],
                self.train.mouths[example.targets],
                self.box,
                self.landmark_network,
                face_network,
            )
            loss = total(terms, self._weights(terms, content))
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self._optimiser.step()
        self.step += 1
        self.frames += len(targets)
        zero = self._sums.new_zeros(())
        self._sums += torch.stack([terms.get(name, zero).detach().float() for name in TERMS])
        self._summed += 1
        update_ema(self.ema, self.network, min(recipe.ema, (self.step - 1) / (self.step + 19)))

    def _weights(self, terms: Mapping[str, Tensor], content: float) -> dict[str, float]:
        recipe = self.recipe
        own = {"mouth": recipe.mouth, "difference": recipe.difference, "keypoints": recipe.keypoints}
        return {name: weight for name, weight in {**own, **dict.fromkeys(TAPS, content)}.items() if name in terms}

    def mean_terms(self) -> dict[str, float]:
        """The loss terms, unweighted, since the last call; waits for the GPU.

        Raises:
            TrainingError: one is not a finite number.
        """
        values = (self._sums / max(1, self._summed)).tolist()
        self._sums.zero_()
        self._summed = 0
        terms = dict(zip(TERMS, values, strict=True))
        for name, value in terms.items():
            if not math.isfinite(value):
                raise TrainingError(f"the loss term {name} is {value} at step {self.step}", "lower --rate")
        return terms


def losses(
    generated: Tensor,
    target: Tensor,
    mouths: Tensor,
    box: tuple[slice, slice],
    landmark_network: MouthLandmarkNetwork,
    face_network: FaceRecognition | None,
) -> dict[str, Tensor]:
    """The loss terms of the task ``paper_talker``.

    Args:
        generated, target: (B · T, 3, 109, 109) in [0, 1], T frames of each person one after the other.
        mouths: (B, T, 20, 2), the target's, px of the 112 px face.
        box: rows and columns of the mouth.
        face_network: of the content loss; None leaves it out.
    """
    frames = mouths.shape[1]
    ours, theirs = (each[..., box[0], box[1]] for each in (generated, target))
    varying = [each.unflatten(0, (-1, frames)) for each in (ours, theirs)]
    varying = [each - each.mean(1, keepdim=True) for each in varying]
    read = landmark_network(lower_face(generated)).unflatten(0, mouths.shape[:2]).float()
    motion, wanted = (each - each.mean(1, keepdim=True) for each in (read, mouths))
    gaps = opening(read) - opening(mouths)
    terms = {
        "l1": l1(generated, target),
        "mouth": l1(ours, theirs),
        "difference": l1(*varying),
        "keypoints": ((motion - wanted).abs().mean() + (gaps - gaps.mean(1, keepdim=True)).abs().mean()) / 2,
    }
    if face_network is not None:
        with torch.no_grad():
            taps = face_network.taps(at_its_size(target))
        found = content_loss(generated, target, face_network.taps(at_its_size(generated)), taps)
        terms |= {name: found[name] for name in TAPS}
    return terms


def lower_face(faces: Tensor) -> Tensor:
    """Cut the generated region (N, 3, 64, 96) from target crops (N, 3, 109, 109); edges repeat."""
    top, left = REGION_TOP - TARGET_OFFSET_PX, REGION_LEFT - TARGET_OFFSET_PX
    bottom, right = top + REGION_HEIGHT, left + REGION_WIDTH
    padded = functional.pad(faces, (0, max(0, right - TARGET_PX), 0, max(0, bottom - TARGET_PX)), mode="replicate")
    return padded[..., top:bottom, left:right]


def update_ema(mean: nn.Module, network: nn.Module, keep: float) -> None:
    """mean ← keep · mean + (1 − keep) · network, as :mod:`speech2vid.training.ema`, but without waiting for the GPU."""
    with torch.no_grad():
        ours, theirs = list(mean.state_dict().values()), list(network.state_dict().values())
        moving = [number for number, each in enumerate(ours) if each.is_floating_point()]
        torch._foreach_lerp_([ours[i] for i in moving], [theirs[i] for i in moving], 1.0 - keep)
        counters = sorted(set(range(len(ours))) - set(moving))
        torch._foreach_copy_([ours[i] for i in counters], [theirs[i] for i in counters])


def _all(tracks: Tracks) -> Tensor:
    return torch.arange(len(tracks), device=tracks.device)
