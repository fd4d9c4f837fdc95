"""The visible label: in the corner, on every frame, legible, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.media import VideoReader, VideoWriter
from speech2vid.media.visible_label import VisibleLabel

SIZES = [(256, 256), (1920, 1080), (1080, 1920), (320, 180)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_letters_stand_out_in_the_corner(width, height, grey) -> None:
    image = np.full((height, width, 3), grey, np.uint8)
    labelled = VisibleLabel(width, height)(image)
    assert (image == grey).all(), "the picture given is not touched"
    rows, columns = np.nonzero((labelled != grey).any(axis=2))
    if grey:  # on black the plate does not show
        assert rows.min() > 0.9 * height - 20
        assert columns.min() > 0.35 * width
    corner = labelled[rows.min() :, columns.min() :, 0].astype(int)
    if grey < 255:
        assert np.ptp(np.nonzero((corner > 200).any(axis=1))[0]) >= 8, "letters of at least 9 px"
    assert np.median(corner[corner <= 250]) <= 0.5 * 255, "the plate is dark where the picture is bright"


def test_it_survives_the_encoder_on_every_frame(tmp_path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 256, 256, label=True) as writer:
        for _ in range(5):
            writer.write(np.full((256, 256, 3), 200, np.uint8))
    wanted = VisibleLabel(256, 256)(np.full((256, 256, 3), 200, np.uint8)).astype(float)
    frames = list(VideoReader(tmp_path / "a.mp4"))
    assert len(frames) == 5
    for frame in frames:
        seen = frame.image.astype(float)
        assert np.corrcoef(seen[225:, 100:].ravel(), wanted[225:, 100:].ravel())[0, 1] > 0.95
        assert np.abs(seen[:200] - 200).max() <= 6


@pytest.mark.parametrize(("width", "height"), [(2, 2), (16, 9), (64, 48), (111, 57)])
def test_images_smaller_than_the_label(width, height) -> None:
    assert VisibleLabel(width, height)(np.zeros((height, width, 3), np.uint8)).shape == (height, width, 3)
