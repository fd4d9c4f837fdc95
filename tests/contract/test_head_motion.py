"""``--motion`` and ``--seed``: what repeats, what differs, and what stays exactly as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from speech2vid import RedubOptions, TalkOptions, TalkStream
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError
from speech2vid.inference.audio_stream import drive_of
from speech2vid.inference.compositing import Composer
from speech2vid.inference.head.drive import DriveStream
from speech2vid.inference.head.samplers import motion_for
from speech2vid.inference.identity import make_identity
from speech2vid.inference.talk import generate, generate_frames
from speech2vid.inference.talkers.base import talker_for
from speech2vid.media import load_audio
from speech2vid.timing import Stopwatch
from speech2vid.types import Floats, Frames

SIZE_PX = 256


@pytest.fixture(scope="module")
def small_photo(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    with Image.open(photo) as image:
        image.resize((SIZE_PX, SIZE_PX), box=(60, 0, 380, 320)).save(path)
    return path


@pytest.fixture(scope="module")
def two_seconds(speech: Path) -> Floats:
    return load_audio(speech)[: 2 * SAMPLE_RATE_HZ]


def streamed(photo: Path, audio: Floats, chunk: int, **options: Any) -> Frames:
    stream = TalkStream.of(photo, **options)
    frames = [frame for at in range(0, len(audio), chunk) for frame in stream.push(audio[at : at + chunk])]
    return np.stack([*frames, *stream.flush()])


def offline(photo: Path, audio: Floats, options: TalkOptions) -> Frames:
    talker, motion = talker_for(options), motion_for(options)
    identity = make_identity([photo], talker, options)
    head = None if motion is None else motion.stream(options.motion, options.seed)
    stream = DriveStream(talker.audio_stream(options.silence), head)
    blocks = generate(identity, talker, [stream.push(audio), stream.flush()], Stopwatch())
    composer = Composer(identity)
    return np.stack([frame for block in blocks for frame in composer.frames(block)])


@pytest.mark.parametrize("crop", [False, True])
def test_a_stream_gives_the_frames_of_a_whole_recording(small_photo: Path, two_seconds: Floats, crop: bool) -> None:
    whole = offline(small_photo, two_seconds, TalkOptions(motion="natural", seed=4, crop=crop))
    assert len(whole) == 50
    live = streamed(small_photo, two_seconds, 700, motion="natural", seed=4, crop=crop)
    np.testing.assert_allclose(live.astype(int), whole, atol=1)  # the mouth's network runs in batches of another size


def test_a_seed_repeats_its_frames_and_another_gives_others(small_photo: Path, two_seconds: Floats) -> None:
    first, again, other = (streamed(small_photo, two_seconds, 16000, motion="natural", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 0.2


def test_still_is_what_the_talker_generates_and_natural_moves_more_than_subtle(
    small_photo: Path, two_seconds: Floats
) -> None:
    options = TalkOptions(motion="still")
    talker = talker_for(options)
    identity = make_identity([small_photo], talker)
    plain = np.stack(
        list(generate_frames(identity, talker, drive_of([two_seconds], talker.audio_stream(options.silence))))
    )
    still, subtle, natural = (
        streamed(small_photo, two_seconds, 16000, motion=motion) for motion in ("still", "subtle", "natural")
    )
    np.testing.assert_allclose(still.astype(int), plain, atol=1)
    forehead = np.s_[:, 60:100, 90:170]
    change = [np.abs(np.diff(frames[forehead].astype(int), axis=0)).mean() for frames in (still, subtle, natural)]
    assert change[0] == 0
    assert change[0] < change[1] < change[2]


def test_redub_has_no_motion() -> None:
    with pytest.raises(ConfigError, match="there is no option 'motion'"):
        RedubOptions.of(None, {"motion": "natural"})


def test_unknown_motion_is_refused() -> None:
    with pytest.raises(ConfigError, match="motion cannot be 'lively'"):
        TalkOptions(motion="lively")  # type: ignore[arg-type]
