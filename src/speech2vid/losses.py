"""Training losses (Sect. 3.2) as pure functions of tensors. Each returns a scalar, or scalars by name;
:func:`hinge` a value for each score.

Every scalar is a mean over its elements (the paper's weight 1/(number of elements)) and over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def l1(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of equal shape."""
    _same_shape(predicted, target)
    return (predicted - target).abs().mean()


def weighted_l1(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Absolute difference averaged with weights: Σ w·|p − t| / Σ w.

    Args:
        predicted: (N, C, H, W), as ``target``.
        weight: ≥ 0, broadcast to that shape, e.g. (N, 1, H, W), 1 in the mouth region and 0 outside; not all zero.
    """
    _same_shape(predicted, target)
    weight = weight.expand_as(predicted)
    return ((predicted - target).abs() * weight).sum() / weight.sum()


def gradient_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels: edges must be as steep and lie where the target's are.

    Mean over the horizontal differences plus mean over the vertical ones. Both (N, C, H, W).
    """
    _same_shape(predicted, target)
    error = predicted - target
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def hinge(true_scores: Tensor, made_scores: Tensor) -> Tensor:
    """What a critic pays, of each score: it should give at least 1 to what is true and at most −1 to what is made."""
    _same_shape(true_scores, made_scores)
    return (1.0 - true_scores).relu() + (1.0 + made_scores).relu()


def content_loss(
    predicted: Tensor, target: Tensor, predicted_taps: Sequence[Tensor], target_taps: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Content loss (Sect. 3.2): L1 on the image and on the activations of a fixed face-recognition network.

    Args:
        predicted: faces (N, 3, 109, 109) in [0, 1], as ``target``.
        predicted_taps: activations for them, conv1…conv5; as ``target_taps``, which get no gradient.

    Returns:
        ``image``, ``conv1``, ``conv2`` …: each the mean over its own elements. Their sum is the paper's loss.
    """
    if len(predicted_taps) != len(target_taps):
        raise ValueError(f"{len(predicted_taps)} activations of the prediction, {len(target_taps)} of the target")
    terms = {"image": l1(predicted, target)}
    for number, (ours, theirs) in enumerate(zip(predicted_taps, target_taps, strict=True), start=1):
        terms[f"conv{number}"] = l1(ours, theirs.detach())
    return terms


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float] | None = None) -> Tensor:
    """Weighted sum of named terms; a term without a weight counts once. A weight without a term is an error."""
    weights = weights or {}
    if unknown := weights.keys() - terms.keys():
        raise ValueError(f"weights for unknown terms {sorted(unknown)}; there are {sorted(terms)}")
    return torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()


def _same_shape(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"shapes differ: {tuple(predicted.shape)} and {tuple(target.shape)}")
