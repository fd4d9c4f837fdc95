"""Losses against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from speech2vid import losses
from speech2vid.losses import content_loss, gradient_l1, hinge, l1, total, weighted_l1


def image(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)[None, None]


def test_l1() -> None:
    assert l1(image([0.0, 1.0]), image([0.5, 0.5])).item() == 0.5


def test_l1_refuses_to_broadcast() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        l1(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


def test_weighted_l1_counts_what_the_mask_shows() -> None:
    predicted, target = image([1.0, 0.0], [0.0, 0.0]), image([0.0, 0.5], [9.0, 9.0])
    assert weighted_l1(predicted, target, image([1.0, 1.0], [0.0, 0.0])).item() == 0.75
    assert weighted_l1(predicted, target, image([3.0, 1.0], [0.0, 0.0])).item() == pytest.approx(3.5 / 4)


def test_weighted_l1_shares_a_mask_among_colours() -> None:
    predicted, target = torch.zeros(1, 3, 1, 2), torch.ones(1, 3, 1, 2)
    assert weighted_l1(predicted, target, image([1.0, 0.0])).item() == 1.0


def test_gradient_l1_sees_edges_not_brightness() -> None:
    step = image([0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    assert gradient_l1(step + 0.3, step).item() == pytest.approx(0, abs=1e-6)
    assert gradient_l1(torch.zeros_like(step), step).item() == 0.5  # one of two horizontal differences in each row
    assert gradient_l1(torch.zeros_like(step.mT), step.mT).item() == 0.5


def test_hinge_wants_true_above_one_and_made_below_minus_one() -> None:
    target, generated = image([2.0, 1.0, 0.0, -1.0]), image([-2.0, -1.0, 0.0, 1.0])
    assert hinge(target, generated).flatten().tolist() == [0.0, 0.0, 2.0, 4.0]
    assert hinge(target, torch.full_like(generated, -3.0)).flatten().tolist() == [0.0, 0.0, 1.0, 2.0]


def test_content_loss_weights_each_term_by_its_elements() -> None:
    predicted, target = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)
    ours = [torch.zeros(2, 8, 4, 4), torch.zeros(2, 1, 2, 2)]
    theirs = [torch.ones(2, 8, 4, 4), torch.tensor([4.0, 0, 0, 0]).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)]
    terms = content_loss(predicted, target, ours, theirs)
    assert {name: term.item() for name, term in terms.items()} == {"image": 0.25, "conv1": 1.0, "conv2": 1.0}
    assert total(terms).item() == 2.25
    assert total(terms, {"image": 2.0, "conv2": 0.0}).item() == 1.5


def test_content_loss_trains_the_prediction_only() -> None:
    predicted = torch.zeros(1, 3, 2, 2, requires_grad=True)
    target = torch.ones(1, 3, 2, 2, requires_grad=True)
    terms = content_loss(predicted, target.detach(), [predicted * 2], [target * 2])
    total(terms).backward()
    assert predicted.grad is not None
    assert target.grad is None


def test_mistakes_are_refused() -> None:
    image = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match="1 activations"):
        content_loss(image, image, [image], [])
    with pytest.raises(ValueError, match="unknown terms"):
        total({"image": image.mean()}, {"imgae": 1.0})


def random_similarity(clips: int = 3, steps: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    video, audio = (torch.nn.functional.normalize(torch.randn(clips, steps, 8), dim=2) for _ in range(2))
    return video @ audio.transpose(1, 2), torch.ones(clips, steps, steps, dtype=torch.bool)


def test_matching_loss_is_cross_entropy_both_ways() -> None:
    similarity, known = random_similarity()
    truth = torch.arange(9).repeat(3)
    logits = 7.0 * similarity
    there = torch.nn.functional.cross_entropy(logits.flatten(0, 1), truth)
    back = torch.nn.functional.cross_entropy(logits.transpose(1, 2).flatten(0, 1), truth)
    found = losses.matching_loss(similarity, torch.tensor(7.0), known, neighbour=0.0)
    torch.testing.assert_close(found, (there + back) / 2)


def test_matching_loss_leaves_out_what_is_not_known() -> None:
    similarity, known = random_similarity()
    known[:, :, 6:] = False
    changed = similarity.clone()
    changed[:, :, 6:] = 5.0
    scale = torch.tensor(5.0)
    torch.testing.assert_close(
        losses.matching_loss(similarity, scale, known), losses.matching_loss(changed, scale, known)
    )


def test_scores_of_offsets_favour_none_when_all_pairs_are_alike() -> None:
    _, known = random_similarity()
    alike = torch.full(known.shape, 0.8)
    torch.testing.assert_close(losses.offset_scores(alike, known, 4), torch.zeros(3, 9))


@pytest.mark.parametrize("offset", [-3, 0, 2])
def test_scores_of_offsets_find_the_offset(offset: int) -> None:
    _, known = random_similarity(1, 12)
    similarity = torch.diag_embed(torch.ones(1, 12 - abs(offset)), offset)
    scores = losses.offset_scores(similarity, known, 5)
    assert scores.argmax().item() - 5 == offset
    aligned = losses.offset_scores(torch.eye(12)[None], known, 5)
    if offset:
        assert losses.offset_loss(scores, torch.tensor(9.0)) > losses.offset_loss(aligned, torch.tensor(9.0))


def test_contrastive_loss_is_zero_only_when_matches_are_close_and_others_far() -> None:
    known = torch.ones(1, 6, 6, dtype=torch.bool)
    apart = 2 * torch.eye(6)[None] - 1
    assert losses.contrastive_loss(apart, known).item() == pytest.approx(0.0, abs=1e-5)
    assert losses.contrastive_loss(-apart, known).item() > 1
    assert losses.contrastive_loss(torch.ones(1, 6, 6), known).item() == pytest.approx(1.0, abs=0.01)
