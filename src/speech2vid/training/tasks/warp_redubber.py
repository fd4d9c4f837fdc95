"""Task ``warp_redubber``: mouths painted by the ``warp`` talker are made to fit the faces around them (Sect. 6.2).

The context is the target frame with its lower face masked; the painted mouth has its shape, but comes from other frames
(:mod:`speech2vid.training.redub_dataset`). The faults of such a mouth in a real re-dubbing are exaggerated here:
other colours and light, a small shift and rotation, a mask that ends elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speech2vid.constants import BLEND_HEIGHT, BLEND_LEFT, BLEND_TOP, BLEND_WIDTH, CONTEXT_FACE_PX
from speech2vid.errors import ConfigError
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert, transform_points
from speech2vid.inference.compositing import blend_mask
from speech2vid.inference.occlusion import hide, known_area
from speech2vid.inference.redubbers.warp import network_inputs
from speech2vid.losses import gradient_l1
from speech2vid.models.mouth_discriminator import MouthDiscriminator, patch_weight
from speech2vid.models.warp_redubber import INPUTS, WarpRedubber, blend
from speech2vid.training.adversarial import adversarial_losses, adversarial_weights, ramped
from speech2vid.training.mouth_masks import MIRROR, MIRROR_MOUTH
from speech2vid.training.task import Batch, Item
from speech2vid.training.tasks.redubber import RedubberTask, RedubberTaskConfig, RedubSplits
from speech2vid.types import Floats, Image, Points

DISTURBED = 0.5  # share of painted mouths in other colours; the following are standard deviations
GAIN, TINT, LIFT, SLOPE = 0.06, 0.02, 4.0, 0.05  # of the colours of a painted mouth
SCENE_GAIN, SCENE_TINT, SCENE_LIFT = 0.12, 0.04, 8.0  # of the whole face's
SHIFT_PX, TURN, GROW = 0.8, 0.01, 0.01  # of its place, px of the 224 px face, radians, and a share
LANDMARK_PX, LOWER_PX = 0.7, 3.0  # of the hidden area: its place, and how much further down it may end
MIDDLE = (BLEND_WIDTH / 2, 0.4 * BLEND_HEIGHT)  # about where the mouth is, in the part
WINDOW = np.s_[..., 16:80, 32:128]  # of the part: input of the discriminator, the mouth at full size
MOUTH, INNER, BORDER = 2.0, 6.0, 1.5  # weights of the lips, of the area between them, and of the soft border ...
OUTSIDE = 0.1  # ... next to 1 for the region and this for the rest


@dataclass(frozen=True)
class WarpRedubberTaskConfig(RedubberTaskConfig):
    """Settings of the task ``warp_redubber``.

    Attributes:
        share, smooth: weights of how much is painted anew, and of creases in flow and tint.
        adversarial, feature_matching, ramp: as in ``warp_talker``.
    """

    share: float = 0.02
    smooth: float = 0.003
    adversarial: float = 0.015
    feature_matching: float = 0.05
    ramp: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.generation != "warp":
            raise ConfigError("warp_redubber.network.generation must be warp", "or use the table [paper_redubber]")


class WarpRedubberTask(RedubberTask):
    """Painted mouths in masked faces → those faces."""

    name = "warp_redubber"
    architecture = WarpRedubber.architecture
    Config = WarpRedubberTaskConfig
    generation = "warp"
    config: WarpRedubberTaskConfig
    network: WarpRedubber
    discriminator: MouthDiscriminator | None

    def __init__(self, config: WarpRedubberTaskConfig, faces: RedubSplits, device: torch.device) -> None:
        super().__init__(config, faces, device, WarpRedubber(config.network))
        self.discriminator = MouthDiscriminator().to(device) if config.adversarial or config.feature_matching else None
        self.weights = {
            "l1": config.l1,
            "gradient": config.gradient,
            "share": config.share,
            "smooth": config.smooth,
            **adversarial_weights(config.adversarial, config.feature_matching),
        }
        self._known = known_area()
        self._laid_in = _laid_in()

    @classmethod
    def from_faces(cls, config: WarpRedubberTaskConfig, faces: RedubSplits, device: torch.device) -> WarpRedubberTask:
        return cls(config, faces, device)

    def weights_at(self, step: int) -> dict[str, float]:
        return ramped(self.weights, step, self.config.ramp)

    def draw(self, rng: np.random.Generator) -> Item:
        row = int(rng.integers(len(self.dataset)))
        face = self.dataset.faces[row].astype(np.float32)
        painted = self.dataset.painted[row].astype(np.float32)
        landmarks = self.train[self.dataset.track[row]].landmarks[self.dataset.frame[row]]
        requested, colour = self.dataset.requested[row], self.dataset.colours[row]
        if rng.random() < 0.5:
            face, painted = face[:, ::-1], painted[:, ::-1]
            landmarks, requested = _mirrored(landmarks[MIRROR]), _mirrored(requested[MIRROR_MOUTH])
        gain = 1 + SCENE_GAIN * rng.standard_normal() + SCENE_TINT * rng.standard_normal(3)
        lift = SCENE_LIFT * rng.standard_normal()
        face, painted, colour = (
            (each * gain + lift).clip(0, 255).astype(np.float32) for each in (face, painted, colour)
        )
        painted = painted + self._laid_in * (_disturbed(painted, rng) - painted)
        outline, lower = (
            landmarks + np.float32(LANDMARK_PX) * rng.standard_normal(2).astype(np.float32),
            requested.copy(),
        )
        if rng.random() < 0.5:
            lower[:, 1] += LOWER_PX * abs(rng.standard_normal())
        return self._item(face, painted, colour, requested, outline, lower)

    def _item(
        self, face: Floats, painted: Floats, colour: Floats, requested: Points, outline: Points, lower: Points
    ) -> Item:
        hidden = hide(outline[None], lower[None])
        inputs, base = network_inputs(face[None], painted[None], colour[None], requested[None], hidden, self._known)
        arrays = {name: np.asarray(value[0], np.float32) for name, value in inputs.items()}
        return {
            **arrays,
            "area": hidden.area,
            "base": base[0].transpose(2, 0, 1) / 255,
            "face": face.transpose(2, 0, 1) / 255,
        }

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        fields = network(**{name: batch[name] for name in INPUTS})
        generated, target, region, mouth = blend(fields, batch["base"]), batch["face"], batch["region"], batch["mouth"]
        lips = MOUTH * mouth[:, :1] + INNER * mouth[:, 1:]
        weight = OUTSIDE + region + lips + BORDER * batch["area"] * (1 - region)
        moved = torch.cat([fields.flow / 4.0, 10.0 * fields.tint], dim=1)
        terms = {
            "l1": ((generated - target) * weight).abs().mean(),
            "gradient": gradient_l1(generated, target, weight),
            "share": (fields.share * region * batch["known"] * (1 - mouth[:, 1:])).mean(),
            "smooth": moved.diff(dim=-1).abs().mean() + moved.diff(dim=-2).abs().mean(),
        }
        return (
            terms
            if self.discriminator is None
            else terms | self._adversarial_losses(self.discriminator, generated, target, mouth[:, 1:])
        )

    def _adversarial_losses(
        self, discriminator: MouthDiscriminator, generated: Tensor, target: Tensor, inner_mouth_mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the terms of ``warp_talker``, at the size of the 224 px face."""
        generated, target, inner_mouth_mask = generated[WINDOW], target[WINDOW], inner_mouth_mask[WINDOW]
        counts = 0.5 + patch_weight(inner_mouth_mask)
        return adversarial_losses(discriminator, generated, target, inner_mouth_mask, counts)

    def _measure(self, network: nn.Module, row: int) -> tuple[dict[str, float], dict[str, Image]]:
        """Errors are those in the region, 0–1; also of the painted mouth as it is (``paste_error``)."""
        dataset = self.val_dataset
        track, requested = self.val[dataset.track[row]], dataset.requested[row]
        face, painted = dataset.faces[row].astype(np.float32), dataset.painted[row].astype(np.float32)
        landmarks = track.landmarks[dataset.frame[row]]
        item = self._item(face, painted, dataset.colours[row], requested, landmarks, requested)
        batch = self._alone(item)
        fields = network(**{name: batch[name] for name in INPUTS})
        generated = blend(fields, batch["base"])[0].permute(1, 2, 0).cpu().numpy() * 255
        region = item["region"][0][..., None]
        laid = {
            name: face + region * (np.clip(each, 0, 255) - face)
            for name, each in (("", generated), ("paste_", painted))
        }
        errors = {
            f"{name}error": float((np.abs(each - face) * region).sum() / (3 * 255 * region.sum()))
            for name, each in laid.items()
        }
        context = item["context"].transpose(1, 2, 0) * 255
        images = {"context": context, "painted": laid["paste_"], "generated": laid[""], "target": face}
        shown = {name: np.rint(image).astype(np.uint8) for name, image in images.items()}
        return {**errors, "share": float(fields.share.mean()), "flow_px": float(fields.flow.abs().mean())}, shown


def _mirrored(points: Points) -> Points:
    """Exchange left and right on the 224 px face; px of the 112 px face, which is not quite in its middle."""
    matrix = context_from_face()
    turned = points.copy()
    turned[:, 0] = (CONTEXT_FACE_PX - 1 - 2 * matrix[0, 2]) / matrix[0, 0] - points[:, 0]
    return turned


def _laid_in() -> Floats:
    """Return (128, 160, 1): how much of the generated image a painted face shows; beyond, it is the source."""
    y, x = np.mgrid[:BLEND_HEIGHT, :BLEND_WIDTH]
    points = np.stack([x + BLEND_LEFT, y + BLEND_TOP], axis=-1)
    return blend_mask(transform_points(invert(context_from_face()), points))[..., None]


def _disturbed(painted: NDArray[np.float32], rng: np.random.Generator) -> Floats:
    """Return a painted mouth in another light, and often a little elsewhere; (128, 160, 3) float32 0–255."""
    x = np.linspace(-1, 1, BLEND_WIDTH, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, BLEND_HEIGHT, dtype=np.float32)[:, None, None]
    across, down, gain = rng.standard_normal(3)
    slope = SLOPE * (across * x + down * y)
    if rng.random() < DISTURBED:
        painted = painted * (1 + GAIN * gain + slope + TINT * rng.standard_normal(3)) + LIFT * rng.standard_normal()
    painted = np.ascontiguousarray(painted, np.float32)
    if rng.random() < 0.4:
        turn, grow = TURN * rng.standard_normal(), GROW * rng.standard_normal()
        matrix: NDArray[Any] = cv2.getRotationMatrix2D(MIDDLE, float(np.degrees(turn)), float(1 + grow))
        matrix[:, 2] = matrix[:, 2] + SHIFT_PX * rng.standard_normal(2)
        size = (BLEND_WIDTH, BLEND_HEIGHT)
        painted = np.asarray(cv2.warpAffine(painted, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)
    return np.clip(painted, 0, 255)
