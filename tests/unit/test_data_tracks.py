"""The pieces of a sample: pictures as JPEG, audio cut out of a file, time charged to stages."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.data.jpeg import decode_jpegs, encode_jpeg
from speech2vid.data.records import FaceTrack, Reason
from speech2vid.data.rejected import Rejected
from speech2vid.data.track_audio import CONTEXT_FRAMES, AudioCutter, hear, join_audio
from speech2vid.errors import DataError
from speech2vid.faces import PAPER
from speech2vid.faces.align import align
from speech2vid.media import load_audio, load_photo
from speech2vid.timing import StageTimer
from speech2vid.types import Image


@pytest.fixture(scope="module")
def face(photo: Path) -> Image:
    image = load_photo(photo)
    return align(image, PAPER.find(image)[0].landmarks).image


def test_images_come_back_nearly_as_they_were(face: Image) -> None:
    faces = [face, face[:, ::-1], np.full_like(face, 255)]
    back = decode_jpegs(b"".join(map(encode_jpeg, faces)), 3)
    error = np.mean((back.astype(float) - np.stack(faces)) ** 2, axis=(1, 2, 3))
    assert error.max() < 255**2 / 10**4.2  # 42 dB


def test_red_stays_red() -> None:
    red = np.zeros((112, 112, 3), np.uint8)
    red[..., 0] = 200
    assert decode_jpegs(encode_jpeg(red), 1)[0, 50, 50].tolist() == pytest.approx([200, 0, 0], abs=3)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_images_is_an_error(face: Image, count: int) -> None:
    with pytest.raises(DataError, match="2 images instead of"):
        decode_jpegs(encode_jpeg(face) * 2, count)


def test_a_damaged_image_is_an_error(face: Image) -> None:
    whole = encode_jpeg(face)
    with pytest.raises(DataError, match="image 1"):
        decode_jpegs(whole + whole[:2] + b"\0" * 40 + whole[-2:], 2)


def test_cuts_are_the_audio_of_their_time(speech: Path) -> None:
    whole = load_audio(speech)
    cutter = AudioCutter(speech)
    for start, frames in ((0, 15), (20, 30), (30, 15)):  # contexts overlap
        cut = cutter.cut(start, frames)
        assert cut.lead_frames == min(start, CONTEXT_FRAMES)
        begin = (start - cut.lead_frames) * SAMPLES_PER_FRAME
        expected = whole[begin : (start + frames + CONTEXT_FRAMES) * SAMPLES_PER_FRAME]
        assert cut.samples / 32767 == pytest.approx(expected, abs=1 / 32767)


def track(start: int, frames: int) -> FaceTrack:
    points = np.zeros((frames, 68, 2), np.float32)
    return FaceTrack(start, [b""] * frames, points, points, np.zeros((frames, 2, 3)), 0.0)


def test_a_track_ends_with_its_audio(speech: Path) -> None:
    total = -(-len(load_audio(speech)) // SAMPLES_PER_FRAME)
    long = track(total - 20, 60)
    shorter, audio = join_audio(long, hear(long, AudioCutter(speech)), 0)
    assert len(shorter.jpegs) == len(shorter.landmarks) == len(shorter.transforms) == 20
    assert len(audio.samples) == (20 + CONTEXT_FRAMES) * SAMPLES_PER_FRAME


@pytest.mark.parametrize("offset", [-15, -3, -0.7, 0, 2.4375, 4, 15])
@pytest.mark.parametrize("start", [0, 40])
def test_a_track_gets_the_audio_that_is_so_much_later(speech: Path, start: int, offset: float) -> None:
    """To the sample, not only to the frame."""
    whole = load_audio(speech)
    given = track(start, 40)
    kept, audio = join_audio(given, hear(given, AudioCutter(speech)), offset / 25)
    missing = max(0, -math.floor(start + offset))  # before the audio begins
    assert (kept.start, len(kept)) == (start + missing, 40 - missing)
    begin = round((start + missing + offset - audio.lead_frames) * SAMPLES_PER_FRAME)
    assert audio.samples / 32767 == pytest.approx(whole[begin : begin + len(audio.samples)], abs=1 / 32767)


@pytest.mark.parametrize(("from_end", "reason"), [(10, Reason.TOO_SHORT), (0, Reason.NO_AUDIO), (-50, Reason.NO_AUDIO)])
def test_a_track_without_enough_audio_is_dropped(speech: Path, from_end: int, reason: Reason) -> None:
    total = -(-len(load_audio(speech)) // SAMPLES_PER_FRAME)
    with pytest.raises(Rejected) as dropped:
        join_audio(track(total - from_end, 60), hear(track(total - from_end, 60), AudioCutter(speech)), 0)
    assert dropped.value.reason is reason


def test_stages_are_charged_for_their_own_work_only(work: Callable[[float], None]) -> None:
    clock = StageTimer()

    def inner():
        for index in range(3):
            work(1)
            yield index

    def outer(items):
        for item in items:
            work(10)
            yield 2 * item

    for _ in clock.each("outer", outer(clock.each("inner", inner()))):
        work(100)  # of no stage
    assert clock.seconds == {"inner": 3, "outer": 30}
