"""The shape predictor: which rows a frame sees, one frame or many, phone likelihoods against plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from speech2vid.audio.logmel import COLUMNS
from speech2vid.constants import INNER_BOTTOM, INNER_TOP, MOUTH_POINTS
from speech2vid.models.audio_to_mouth import (
    CEPSTRA,
    GAUSSIANS,
    PHONE_BANDS,
    PHONES,
    PLAIN_BANDS,
    REACH_ROWS,
    SPEECH_TOKENS,
    STATES,
    STREAMS,
    WINDOW_ROWS,
    AudioToMouth,
    AudioToMouthConfig,
    PhoneLikelihoods,
    rows_needed,
    tokens_needed,
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


def predictor(members: int = 1, speech_channels: int = 0) -> AudioToMouth:
    torch.manual_seed(3)
    network = AudioToMouth(AudioToMouthConfig(width=16, members=members, speech_channels=speech_channels)).eval()
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


def test_speech_tokens_of_one_frame_or_many() -> None:
    network = predictor(speech_channels=24)
    torch.nn.init.normal_(network.members[0].join[-1].weight)
    rows, tokens = torch.randn(1, COLUMNS, rows_needed(6)), torch.randn(1, 24, tokens_needed(6))
    together = network(rows, tokens)
    for i in range(6):
        one = network(rows[:, :, 4 * i : 4 * i + rows_needed(1)], tokens[:, :, 2 * i : 2 * i + tokens_needed(1)])
        torch.testing.assert_close(one[:, 0], together[:, i], atol=1e-4, rtol=1e-4)


def test_a_frame_sees_all_its_speech_tokens() -> None:
    network = predictor(speech_channels=24)
    torch.nn.init.normal_(network.members[0].join[-1].weight)
    tokens = torch.randn(1, 24, tokens_needed(1), requires_grad=True)
    network(torch.randn(1, COLUMNS, rows_needed(1)), tokens).square().sum().backward()
    assert SPEECH_TOKENS == tokens_needed(1) == 17
    assert (tokens.grad.abs().sum(dim=(0, 1)) > 0).all()  # type: ignore[union-attr]


def test_an_untrained_speech_branch_changes_nothing() -> None:
    network = predictor(speech_channels=24)
    rows, tokens = torch.randn(1, COLUMNS, rows_needed(3)), torch.randn(1, 24, tokens_needed(3))
    torch.testing.assert_close(network(rows, tokens), network(rows))


def opening_of(motion: Tensor) -> Tensor:
    lower = [point - MOUTH_POINTS.start for point in INNER_BOTTOM]
    upper = [point - MOUTH_POINTS.start for point in INNER_TOP]
    return motion[..., lower, 1].mean(-1) - motion[..., upper, 1].mean(-1)


def test_calibration_scales_and_shifts_the_opening_and_never_crosses_the_lips() -> None:
    raw = predictor()
    network = AudioToMouth(replace(raw.config, calibrated=True)).eval()
    network.load_state_dict({**raw.state_dict(), "calibration": torch.tensor([1.0, 0.0, 1.0])})
    rows = torch.randn(1, COLUMNS, rows_needed(40))
    before = raw(rows)
    torch.testing.assert_close(network(rows), before)
    network.calibration.copy_(torch.tensor([1.5, -0.4, 1.0]))
    opening, calibrated = opening_of(before), opening_of(network(rows))
    torch.testing.assert_close(
        calibrated, torch.maximum(1.5 * opening - 0.4, opening.clamp(max=0)), atol=1e-4, rtol=1e-4
    )
    assert (calibrated[opening > 0] >= -1e-4).all()
    network.calibration.copy_(torch.tensor([1.0, 0.0, 1.3]))
    torch.testing.assert_close(network(rows)[..., 0], 1.3 * before[..., 0])
    torch.testing.assert_close(network(rows)[..., 1], before[..., 1])


def test_calibration_leaves_a_mouth_at_rest() -> None:
    network = AudioToMouth(AudioToMouthConfig(width=16, calibrated=True)).eval()
    network.basis.normal_()
    network.calibration.copy_(torch.tensor([2.0, -0.5, 1.5]))
    assert network._calibrated(torch.zeros(1, 3, 40)).abs().max() == 0


def test_size_of_the_default() -> None:
    trained = sum(p.numel() for p in AudioToMouth(AudioToMouthConfig()).parameters())
    assert trained == 276_644
