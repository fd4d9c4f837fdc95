"""Training losses (Sect. 3.2) as pure functions of tensors. Each returns a scalar, or scalars by name;
:func:`hinge` a value for each score.

Every scalar is a mean over its elements (the paper's weight 1/(number of elements)) and over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_NEVER = -30.0  # logit of a pair that does not count


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


def gradient_l1(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the L1 between the differences of neighbouring pixels: edges as steep as the target's, and in their place.

    Mean over the horizontal differences plus mean over the vertical ones. Both (N, C, H, W).

    Args:
        weight: (N, 1, H, W), of the pixel on the left or above; 1 by default.
    """
    _same_shape(predicted, target)
    error = predicted - target
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    if weight is not None:
        across, down = across * weight[..., :-1], down * weight[..., :-1, :]
    return across.abs().mean() + down.abs().mean()


def hinge(target_scores: Tensor, generated_scores: Tensor) -> Tensor:
    """Return the hinge loss of each score: at least 1 is wanted for target, at most −1 for generated images."""
    _same_shape(target_scores, generated_scores)
    return (1.0 - target_scores).relu() + (1.0 + generated_scores).relu()


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


def matching_loss(similarity: Tensor, scale: Tensor, known: Tensor, neighbour: float = 0.2) -> Tensor:
    """Multi-way matching (Sect. 8; Chung, Chung & Kang 2019): every time step of the clip is a candidate.

    Softmax cross-entropy over scaled similarities, from image to audio and from audio to image, averaged.

    Args:
        similarity: (N, T, T) cosines of image t with audio u.
        scale: factor on the cosines, a scalar.
        known: (N, T, T) bool, which pairs count.
        neighbour: share of the target on each step next to the true one; the paper has 0.
    """
    steps = similarity.shape[1]
    distance = (torch.arange(steps)[:, None] - torch.arange(steps)).abs().to(similarity.device)
    target = (distance == 0) * (1 - 2 * neighbour) + (distance == 1) * neighbour
    target = (target / target.sum(dim=1, keepdim=True)).to(similarity.dtype)
    logits = (similarity * scale).masked_fill(~known, _NEVER)
    counted = torch.diagonal(known, dim1=1, dim2=2).to(similarity.dtype)
    to_audio = -(target * logits.log_softmax(dim=2)).sum(dim=2)
    to_video = -(target * logits.transpose(1, 2).log_softmax(dim=2)).sum(dim=2)
    return ((to_audio + to_video) * counted).sum() / (2 * counted.sum().clamp(min=1))


def offset_scores(similarity: Tensor, known: Tensor, reach: int) -> Tensor:
    """How well each offset −reach … reach of a clip's audio fits: (N, T, T) → (N, 2 reach + 1).

    Mean along the diagonal by the square root of its length, after the clip's own mean similarity is taken out: without
    that, the longest diagonal (offset 0) would win whatever the network says.
    """
    counted = known.to(similarity.dtype)
    mean = (similarity * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)
    centred = (similarity - mean[:, None, None]) * counted
    scores = []
    for offset in range(-reach, reach + 1):
        pairs = torch.diagonal(counted, offset, 1, 2).sum(dim=1).clamp(min=1)
        scores.append(torch.diagonal(centred, offset, 1, 2).sum(dim=1) / pairs.sqrt())
    return torch.stack(scores, dim=1)


def offset_loss(scores: Tensor, scale: Tensor, neighbour: float = 0.15) -> Tensor:
    """Cross-entropy of the offset of a whole clip against 0: (N, 2 R + 1) of :func:`offset_scores` → scalar.

    Args:
        neighbour: share of the target on each offset next to 0.
    """
    reach = scores.shape[1] // 2
    distance = torch.arange(-reach, reach + 1, device=scores.device).abs()
    target = (distance == 0) * (1 - 2 * neighbour) + (distance == 1) * neighbour
    return -(target.to(scores.dtype) * (scores * scale).log_softmax(dim=1)).sum(dim=1).mean()


def contrastive_loss(similarity: Tensor, known: Tensor, margin: float = 1.0, apart: int = 2) -> Tensor:
    """SyncNet's loss on unit vectors: matching pairs close, pairs more than ``apart`` steps apart beyond ``margin``.

    Args:
        similarity, known: as :func:`matching_loss`.
    """
    steps = similarity.shape[1]
    difference = torch.arange(steps)[:, None] - torch.arange(steps)
    matching = known & (difference == 0).to(known.device)
    other = known & (difference.abs() > apart).to(known.device)
    squared = (2 - 2 * similarity).clamp(min=1e-6)
    missing = (margin - squared.sqrt()).clamp(min=0).square()
    return (squared * matching).sum() / matching.sum().clamp(min=1) + (missing * other).sum() / other.sum().clamp(min=1)


def _same_shape(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"shapes differ: {tuple(predicted.shape)} and {tuple(target.shape)}")
