"""What a critic of mouths and the network that makes them do to each other: the terms of both sides from one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from speech2vid.losses import hinge
from speech2vid.models.mouth_discriminator import MouthCritic


def contest(critic: MouthCritic, made: Tensor, true: Tensor, between: Tensor, counts: Tensor) -> dict[str, Tensor]:
    """``critic``: what the critic pays, with gradient for it; the others: what the picture does, with its own.

    Args:
        made, true: (N, 3, H, W) pictures, 0–1.
        between: (N, 1, H, W) what lies between the lips.
        counts: how much each score of the critic counts.
    """
    scores, seen = critic(true, between)
    paid = (counts * hinge(scores, critic(made.detach(), between)[0])).mean()
    critic.requires_grad_(False)
    scores, seen_made = critic(made, between)
    critic.requires_grad_(True)
    apart = [(a - b.detach()).abs().mean() for a, b in zip(seen_made, seen, strict=True)]
    return {"critic": paid, "adversarial": -(counts * scores).mean(), "match": torch.stack(apart).sum()}
