"""Hinge adversarial and feature-matching losses of the networks that paint mouths, and their weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from speech2vid.losses import hinge
from speech2vid.models.mouth_discriminator import MouthDiscriminator

RAMPED = ("adversarial", "feature_matching")


def adversarial_losses(
    discriminator: MouthDiscriminator, generated: Tensor, target: Tensor, inner_mouth_mask: Tensor, counts: Tensor
) -> dict[str, Tensor]:
    """Return ``discriminator``, the discriminator's own loss, and the two losses of the network that generates.

    Args:
        generated, target: (N, 3, H, W) images, 0–1.
        inner_mouth_mask: (N, 1, H, W), 1 between the lips.
        counts: weight of each score of the discriminator.
    """
    scores, features = discriminator(target, inner_mouth_mask)
    own = (counts * hinge(scores, discriminator(generated.detach(), inner_mouth_mask)[0])).mean()
    discriminator.requires_grad_(False)
    scores, generated_features = discriminator(generated, inner_mouth_mask)
    discriminator.requires_grad_(True)
    matching = [(a - b.detach()).abs().mean() for a, b in zip(generated_features, features, strict=True)]
    return {
        "discriminator": own,
        "adversarial": -(counts * scores).mean(),
        "feature_matching": torch.stack(matching).sum(),
    }


def adversarial_weights(adversarial: float, feature_matching: float) -> dict[str, float]:
    """Return the weights of the terms of :func:`adversarial_losses`; none where there is no discriminator."""
    if not (adversarial or feature_matching):
        return {}
    return {"discriminator": 1.0, "adversarial": adversarial, "feature_matching": feature_matching}


def ramped(weights: Mapping[str, float], step: int, ramp: int) -> dict[str, float]:
    """Return ``weights`` after ``step`` updates: the generator's adversarial terms grow over ``ramp`` steps."""
    share = min(1.0, step / max(1, ramp))
    return {name: share * weight if name in RAMPED else weight for name, weight in weights.items()}
