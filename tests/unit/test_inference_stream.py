"""Audio in, pictures out, live: those of the whole audio at once, as early as promised, in bounded memory."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import speech2vid
from speech2vid import Identity, Talker, TalkStream, load_talker, make_identity
from speech2vid.constants import SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from speech2vid.errors import ConfigError, MediaError
from speech2vid.inference.audio_stream import drive_of
from speech2vid.inference.talk import generate_frames
from speech2vid.media import load_audio
from speech2vid.types import Waveform


@pytest.fixture(scope="module", params=["warp", "paper"])
def talker(request: pytest.FixtureRequest, drawn_weights: Path, paper_weights: Path) -> Talker:
    return load_talker({"warp": drawn_weights, "paper": paper_weights / "talker"}[request.param], threads=1)


@pytest.fixture(scope="module")
def identity(talker: Talker, photo: Path) -> Identity:
    return make_identity([photo], talker, crop=True)


@pytest.fixture(scope="module")
def audio_to_mouth(speech: Path) -> Waveform:
    return load_audio(speech)[: 2 * SAMPLE_RATE_HZ + 400]


@pytest.fixture(scope="module")
def whole(talker: Talker, identity: Identity, audio_to_mouth: Waveform) -> np.ndarray:
    """The pictures that ``talk`` makes."""
    return np.stack(list(generate_frames(identity, talker, drive_of([audio_to_mouth], talker.audio_stream()))))


@pytest.mark.parametrize(("size", "block_frames"), [(137, 1), (640, 1), (1000, 3), (1600, 5), (12_345, 1), (99_999, 1)])
def test_the_frames_of_talk_however_the_audio_is_cut(
    talker: Talker,
    identity: Identity,
    audio_to_mouth: Waveform,
    whole: np.ndarray,
    size: int,
    block_frames: int,
) -> None:
    assert len(whole) == 51
    assert np.abs(np.diff(whole.astype(int), axis=0)).max() > 30  # the mouth moves
    stream = TalkStream(identity, talker, block_frames=block_frames)
    for _ in range(2):  # and again, after a flush
        frames = [p for at in range(0, len(audio_to_mouth), size) for p in stream.push(audio_to_mouth[at : at + size])]
        assert stream.frames == len(frames)
        frames += stream.flush()
        assert stream.frames == 0
        difference = np.abs(np.stack(frames).astype(int) - whole)
        assert difference.max() <= 1  # float order
        assert (difference > 0).mean() < 1e-3
        if size > 1000:
            break


@pytest.mark.parametrize("block_frames", [1, 12])
def test_a_frame_comes_when_promised_and_not_before(
    talker: Talker, identity: Identity, audio_to_mouth: Waveform, block_frames: int
) -> None:
    stream = TalkStream(identity, talker, block_frames=block_frames)
    heard = given = 0
    delays = []
    for at in range(0, len(audio_to_mouth), 16):  # a millisecond each
        count = len(stream.push(audio_to_mouth[at : at + 16]))
        heard += 16
        delays += [heard / SAMPLE_RATE_HZ - (given + i + 0.5) * 0.04 for i in range(count)]
        given += count
    assert max(delays) <= stream.latency_s + 0.001
    assert max(delays) > stream.latency_s - 0.002  # what is promised is also needed


def test_memory_does_not_grow(talker: Talker, identity: Identity, audio_to_mouth: Waveform) -> None:
    stream = TalkStream(identity, talker)
    chunk = audio_to_mouth[:SAMPLES_PER_FRAME]

    def hear(seconds: int) -> int:
        for _ in range(25 * seconds):
            stream.push(chunk)
        gc.collect()  # numpy's sliding windows leave cycles
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = hear(4)  # longer than anything remembers
        assert hear(4) < early + 50_000
    finally:
        tracemalloc.stop()


def test_what_is_no_audio_is_refused(talker: Talker, identity: Identity) -> None:
    stream = TalkStream(identity, talker)
    with pytest.raises(ConfigError, match="type int32"):
        stream.push(np.zeros(640, np.int32))
    with pytest.raises(MediaError, match="not finite"):
        stream.push(np.full(640, np.nan, np.float32))


def test_public_form(photo: Path, drawn_weights: Path) -> None:
    stream = speech2vid.TalkStream.of(photo, max_size_px=256, weights=drawn_weights)
    assert stream.size_px == (256, 256)
    assert stream.push(np.zeros(800, np.float32)) == []
    assert [frame.shape for frame in stream.flush()] == [(256, 256, 3)]
