"""The sync network: what a frame sees and hears, one frame or many, unit vectors, what it takes over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speech2vid.audio.logmel import COLUMNS
from speech2vid.faces import mouth_crops
from speech2vid.faces import sync as sync_measure
from speech2vid.models import sync
from speech2vid.models.audio_to_mouth import AudioToMouth, AudioToMouthConfig
from speech2vid.models.sync import AUDIO_REACH_ROWS, AUDIO_WINDOW_ROWS, SyncConfig, SyncNetwork, audio_rows_needed


@pytest.fixture(scope="module")
def network() -> SyncNetwork:
    torch.manual_seed(0)
    generated = SyncNetwork(SyncConfig(width=8, audio_width=16, embedding=12)).eval()
    for buffer in generated.likelihoods.buffers():
        buffer.normal_(std=0.1)
    generated.likelihoods.weights.abs_()
    return generated


def views(frames: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, frames, 32, 48), torch.randn(2, frames, 58)


def test_the_front_end_and_the_network_agree_on_sizes() -> None:
    assert (mouth_crops.CROP_ROWS, mouth_crops.CROP_COLUMNS) == (sync.CROP_ROWS, sync.CROP_COLUMNS)
    assert sync_measure.VIDEO_REACH == sync.VIDEO_REACH


def test_vectors_have_length_one_and_one_a_frame(network: SyncNetwork) -> None:
    seen, heard = network.video(*views(11)), network.audio(torch.randn(2, COLUMNS, audio_rows_needed(7)))
    assert seen.shape == heard.shape == (2, 7, 12)
    for vectors in (seen, heard):
        torch.testing.assert_close(vectors.norm(dim=2), torch.ones(2, 7))


def test_a_image_vector_sees_five_frames(network: SyncNetwork) -> None:
    images, points = views(11)
    whole = network.video(images, points)
    for first in (0, 3, 6):
        part = slice(first, first + 5)
        torch.testing.assert_close(network.video(images[:, part], points[:, part])[:, 0], whole[:, first])


def test_a_audio_vector_hears_its_window_and_the_frame_is_its_middle(network: SyncNetwork) -> None:
    rows = torch.randn(1, COLUMNS, audio_rows_needed(6), requires_grad=True)
    whole = network.audio(rows)
    one = network.audio(rows[:, :, 8 : 8 + AUDIO_WINDOW_ROWS])
    torch.testing.assert_close(one[:, 0], whole[:, 2])
    whole[0, 2].sum().backward()
    assert rows.grad is not None
    heard = rows.grad[0].abs().sum(dim=0).nonzero()[:, 0]
    assert (heard[0].item(), heard[-1].item()) == (8, 8 + 2 * AUDIO_REACH_ROWS)


def test_hearing_is_that_of_the_shape_predictor() -> None:
    torch.manual_seed(2)
    predictor = AudioToMouth(AudioToMouthConfig(width=16)).eval()
    predictor.likelihoods.weights.uniform_()
    network = SyncNetwork(SyncConfig(width=8, audio_width=16, embedding=12)).eval()
    network.listen_like(predictor)
    plain, phones = predictor.views(torch.randn(1, COLUMNS, AUDIO_WINDOW_ROWS))
    member = predictor.members[0]
    ours, theirs = (
        each.mix(torch.cat([each.plain(plain[:, None]).flatten(1, 2), each.phones(phones)], dim=1))  # type: ignore[operator]
        for each in (network.heard, member)
    )
    torch.testing.assert_close(ours, theirs)


def test_size_of_the_default() -> None:
    assert sum(p.numel() for p in SyncNetwork().parameters()) == 607_213
