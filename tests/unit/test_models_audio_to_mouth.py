"""The shape predictor: which rows a frame sees, one frame or many, phone likelihoods against plain arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from speech2vid.audio.logmel import COLUMNS
from speech2vid.models.audio_to_mouth import (
    CEPSTRA,
    GAUSSIANS,
    PHONE_BANDS,
    PHONES,
    PLAIN_BANDS,
    REACH_ROWS,
    STATES,
    STREAMS,
    WINDOW_ROWS,
    AudioToMouth,
    AudioToMouthConfig,
    PhoneLikelihoods,
    rows_needed,
)


def random_likelihoods(layer: PhoneLikelihoods, deviation: float = 3.0) -> tuple[Tensor, Tensor]:
    """Give the layer unit mixture weights and random Gaussians of one deviation; return their means and weights."""
    means = 4.0 * torch.randn(STREAMS, PHONES * GAUSSIANS, CEPSTRA)
    weights = torch.rand(STREAMS, PHONES * STATES, GAUSSIANS)
    layer.cepstral.copy_(torch.randn(CEPSTRA, PHONE_BANDS, 1) / math.sqrt(PHONE_BANDS))
    layer.square.fill_(-0.5 / deviation**2)
    layer.linear.copy_(means[..., None] / deviation**2)
    layer.constant.copy_(-0.5 * means.square().sum(-1) / deviation**2)
    layer.weights.copy_(weights[..., None])
    return means, weights


def predictor(members: int = 1) -> AudioToMouth:
    torch.manual_seed(3)
    network = AudioToMouth(AudioToMouthConfig(width=16, members=members)).eval()
    random_likelihoods(network.likelihoods)
    network.basis.normal_()
    return network


def test_plain_columns_are_those_of_the_front_end() -> None:
    assert PLAIN_BANDS + PHONE_BANDS == COLUMNS


def test_likelihoods_are_those_of_the_mixture() -> None:
    torch.manual_seed(1)
    layer = PhoneLikelihoods()
    means, weights = random_likelihoods(layer)
    bands = torch.randn(1, PHONE_BANDS, 7)
    cepstra = (layer.cepstral[..., 0] @ bands[0]).T
    streams = (
        cepstra[3],
        cepstra[5] - cepstra[1],
        (cepstra[6] - cepstra[2]) - (cepstra[4] - cepstra[0]),
    )
    scores = torch.zeros(PHONES * STATES)
    for stream, mean, weight in zip(streams, means, weights, strict=True):
        density = (-0.5 * ((stream - mean) / 3.0).square().sum(-1)).reshape(PHONES, 1, GAUSSIANS)
        scores += (density.exp().double() * weight.reshape(PHONES, STATES, GAUSSIANS)).sum(-1).log().flatten().float()
    expected = ((scores - scores.max()) / 10.0).clamp(min=-4.0) + 1.0
    torch.testing.assert_close(layer(bands)[0, :, 0], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_shape_of_the_answer(frames: int) -> None:
    assert predictor()(torch.randn(2, COLUMNS, rows_needed(frames))).shape == (2, frames, 20, 2)


def test_one_frame_equals_many() -> None:
    network, rows = predictor(), torch.randn(1, COLUMNS, rows_needed(6))
    many = network(rows)
    for frame in range(6):
        one = network(rows[:, :, 4 * frame : 4 * frame + WINDOW_ROWS])
        torch.testing.assert_close(one[:, 0], many[:, frame], atol=1e-5, rtol=1e-5)


def test_a_frame_sees_its_window_and_is_its_middle() -> None:
    network = predictor()
    rows = torch.randn(1, COLUMNS, rows_needed(1), requires_grad=True)
    network(rows).square().sum().backward()
    seen = rows.grad.abs().sum(dim=(0, 1)) > 0  # type: ignore[union-attr]
    assert WINDOW_ROWS == 2 * REACH_ROWS + 1
    assert seen.flip(0).equal(seen)
    assert seen[0]
    assert seen[REACH_ROWS]


def test_members_are_averaged() -> None:
    both, rows = predictor(members=2), torch.randn(1, COLUMNS, rows_needed(3))
    views = both.views(rows)
    answers = [(member(*views) @ both.basis).reshape(1, 3, 20, 2) for member in both.members]
    assert not torch.allclose(answers[0], answers[1])
    torch.testing.assert_close(both(rows), (answers[0] + answers[1]) / 2)


def test_size_of_the_default() -> None:
    trained = sum(p.numel() for p in AudioToMouth(AudioToMouthConfig()).parameters())
    assert trained == 276_644
