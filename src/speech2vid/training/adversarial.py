"""Hinge adversarial and feature-matching losses of a mouth discriminator, for both sides of one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from speech2vid.losses import hinge
from speech2vid.models.mouth_discriminator import MouthDiscriminator


def adversarial_losses(
    discriminator: MouthDiscriminator, generated: Tensor, target: Tensor, inner_mouth_mask: Tensor, counts: Tensor
) -> dict[str, Tensor]:
    """Return ``discriminator``, the discriminator's loss; ``adversarial`` and ``feature_matching``, the generator's.

    Args:
        generated, target: (N, 3, H, W) images, 0–1.
        inner_mouth_mask: (N, 1, H, W) what lies between the lips.
        counts: how much each score of the discriminator counts.
    """
    scores, seen = discriminator(target, inner_mouth_mask)
    paid = (counts * hinge(scores, discriminator(generated.detach(), inner_mouth_mask)[0])).mean()
    discriminator.requires_grad_(False)
    scores, seen_generated = discriminator(generated, inner_mouth_mask)
    discriminator.requires_grad_(True)
    feature_matching = [(a - b.detach()).abs().mean() for a, b in zip(seen_generated, seen, strict=True)]
    return {
        "discriminator": paid,
        "adversarial": -(counts * scores).mean(),
        "feature_matching": torch.stack(feature_matching).sum(),
    }
