"""Exponential moving average (EMA) of a network's weights and buffers: the weights that are validated and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WARM_UP = 20  # updates over which the average grows to its full length


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return the EMA of ``network``, in evaluation mode and without gradient.

    Args:
        decay: share of the average that each update keeps. It rises as n / (n + 20) over the first n updates, so that
            the random first weights are soon forgotten. 0 keeps the last weights.
    """
    mean = AveragedModel(network, multi_avg_fn=_lerp(decay), use_buffers=True)
    mean.eval().requires_grad_(False)
    return mean


def _lerp(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(mean: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        if mean[0].is_floating_point():
            torch._foreach_lerp_(
                list(mean), list(current), 1.0 - min(decay, float(updates) / (float(updates) + WARM_UP))
            )
        else:  # counters
            torch._foreach_copy_(list(mean), list(current))

    return update
