"""What a network is trained on is what it is given in use: the store's faces and windows are those of the front end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.audio.windows import windows
from speech2vid.data.prepare import prepare
from speech2vid.data.store import SampleStore
from speech2vid.faces import PAPER, aligned_track, stills_of_video
from speech2vid.media import VideoReader, load_audio


def test_the_same_clip_gives_the_same_faces_and_windows(face_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", frames=40)
    prepare([clip], tmp_path / "store", sync="off")
    (track,) = SampleStore(tmp_path / "store").load("train")

    frames = [frame.image for frame in VideoReader(clip, 25)]
    followed = list(aligned_track(iter(frames), PAPER.detector.detect(frames[0])[0]))
    assert len(followed) == len(track) == 40
    assert track.landmarks.tolist() == [each.aligned.landmarks.tolist() for each in followed]
    faces = np.stack([each.aligned.image for each in followed])
    assert np.mean((track.frames.astype(float) - faces) ** 2) < 255**2 / 10**4  # 40 dB
    next_ones = np.mean((track.frames[:-1].astype(float) - faces[1:]) ** 2)
    assert next_ones > 2 * np.mean((track.frames.astype(float) - faces) ** 2)

    given = load_audio(clip)
    assert track.waveform[: len(given)] == pytest.approx(given[: 40 * 640], abs=1 / 32767)
    difference = np.abs(windows(track.waveform) - windows(given)[:40])
    assert difference.mean() < 0.05
    assert difference.mean() < 0.01 * np.abs(np.diff(windows(given), axis=0)).mean()

    canvas, stills = stills_of_video(clip)
    for still in (canvas, *stills):
        nearest = np.abs(track.landmarks - still.aligned.landmarks).mean(axis=(1, 2)).min()
        assert nearest < 1e-3
