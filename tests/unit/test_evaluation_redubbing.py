"""Re-dubbed clips of the report: another's audio moves the mouth, nothing else, and what cannot be shown is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import DataError
from speech2vid.evaluation.generation import Generator, track_drive
from speech2vid.evaluation.metrics import Scorers
from speech2vid.evaluation.qualitative import RedubTask, redub_tasks, show_redub
from speech2vid.evaluation.redubbing import (
    NETWORK,
    PASTE,
    POISSON,
    Filmed,
    RedubEvaluator,
    open_redubber,
)
from speech2vid.evaluation.report_page import page
from speech2vid.evaluation.runner import Runner
from speech2vid.evaluation.weights import load_generator
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import transform_points
from speech2vid.inference.redubbers.poisson import PoissonBlender
from speech2vid.inference.redubbers.warp import NetworkBlender, PaintedRedubber, Paste
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.media import load_audio
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import weight_set
from speech2vid.types import Frames

FRAMES = 30


@pytest.fixture(scope="module")
def redubber(drawn_weights: Path) -> RedubEvaluator:
    """The drawn talker, the default set's blending network."""
    talker = load_talker(drawn_weights, threads=1)
    assert isinstance(talker, WarpNetworks)
    network = NetworkBlender(weight_set().path("warp_redubber"), graph_loader("cpu", 1))
    blenders = {PASTE: Paste(), POISSON: PoissonBlender(), NETWORK: network}
    redubbers = {title: PaintedRedubber(talker, blender) for title, blender in blenders.items()}
    return RedubEvaluator("drawn", "hold", redubbers)


@pytest.fixture(scope="module")
def runner(redubber: RedubEvaluator, drawn_weights: Path) -> Runner:
    talker = load_talker(drawn_weights, threads=1)
    return Runner((Generator(talker),), Scorers(embed=lambda face, landmarks: np.zeros(128)), redubber)


@pytest.fixture(scope="module")
def store(drawn_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    return SampleStore(drawn_store(tmp_path_factory.mktemp("redubbed") / "store"))


@pytest.fixture(scope="module")
def task(store: SampleStore, runner: Runner) -> RedubTask:
    tasks, note = redub_tasks(store.load("val"), runner, store, "val")
    assert len(tasks) == 2
    assert note == ""
    return tasks[0]


@pytest.fixture(scope="module")
def voice(task: RedubTask, speech: Path) -> Track:
    """The other clip, its audio replaced by speech: the drawn voice network does not hear a hum."""
    spoken = load_audio(speech)[20 * SAMPLES_PER_FRAME :][: FRAMES * SAMPLES_PER_FRAME]
    return replace(task.voice.track, audio=np.rint(spoken * 32767).astype(np.int16))


@pytest.fixture(scope="module")
def spoken(redubber: RedubEvaluator, task: RedubTask, voice: Track) -> dict[str, Frames]:
    return redubber.redub(task.filmed, voice, FRAMES)


@pytest.fixture(scope="module")
def hushed(redubber: RedubEvaluator, task: RedubTask, voice: Track) -> dict[str, Frames]:
    return redubber.redub(task.filmed, replace(voice, audio=np.zeros_like(voice.audio)), FRAMES)


def _lower_lips(filmed: Filmed, faces: Frames) -> np.ndarray:
    """(T,) how far down the mouth reaches in the middle of the drawn faces, px: it is less green than the skin."""
    left, top = transform_points(context_from_face(), filmed.track.landmarks[0, 48:68].min(axis=0)).round().astype(int)
    return (faces[:, top : top + 50, left + 15 : left + 35, 1] < 105).any(axis=2).sum(axis=1)


def test_the_longest_clip_of_each_says_the_next_ones_audio(
    store: SampleStore, runner: Runner, drawn_tracks: Callable[..., list[Track]]
) -> None:
    tracks = store.load("val")
    short = [replace(track, record=replace(track.record, frames=20)) for track in tracks[:1]]
    tasks, _ = redub_tasks([*short, *tracks[1:]], runner, store, "val")
    said = [(each.filmed.track.record.key, each.voice.track.record.key) for each in tasks]
    assert [one for one, _ in said] == [other for _, other in said[1:] + said[:1]]
    assert short[0].record.key not in dict(said)
    assert len({key.partition("-")[0] for key, _ in said}) == len(said) == 2


@pytest.mark.parametrize("title", [PASTE, POISSON, NETWORK])
def test_the_mouth_follows_the_new_audio_and_not_its_own(
    redubber: RedubEvaluator,
    task: RedubTask,
    voice: Track,
    spoken: dict[str, Frames],
    hushed: dict[str, Frames],
    title: str,
) -> None:
    wanted = track_drive(voice, redubber.redubbers[title].audio_stream("hold"))[:, 18, 1]
    filmed = _lower_lips(task.filmed, task.filmed.faces(FRAMES))
    generated, rest = (_lower_lips(task.filmed, each[title]) for each in (spoken, hushed))
    assert np.corrcoef(generated, wanted)[0, 1] > 0.9
    assert np.corrcoef(generated, filmed)[0, 1] < 0.6
    assert rest.std() < 0.4 * filmed.std()


@pytest.mark.parametrize("title", [POISSON, NETWORK])
def test_above_the_mouth_it_is_as_it_was_filmed(task: RedubTask, spoken: dict[str, Frames], title: str) -> None:
    source, generated = task.filmed.faces(FRAMES), spoken[title]
    assert generated.shape == source.shape
    np.testing.assert_array_equal(generated[:, :90], source[:, :90])
    assert np.abs(generated.astype(int) - source).max() > 30


def test_every_way_is_a_strip_and_plays(runner: Runner, task: RedubTask) -> None:
    example = show_redub(task, runner)
    titles = [strip.title for strip in example.strips]
    assert titles == ["whose audio it is", "source", PASTE, POISSON, NETWORK]
    assert example.moments[0] == 0
    assert example.moments[-1] == FRAMES - 1
    np.testing.assert_array_equal(example.strips[1].frames, task.filmed.faces(FRAMES)[example.moments])
    _, source, *generated = (strip.frames.astype(int) for strip in example.strips)
    assert all(np.abs(frames - source).max() > 30 for frames in generated)
    assert example.video[4:8] == b"ftyp"
    text = page({"clips": 0}, {}, redubs=[example], redub_note="")
    assert text.count("data:video/mp4;base64,") == text.count("data:image/jpeg;base64,") == 1


def test_a_store_without_wide_faces_is_named(drawn_store: Callable[..., Path], runner: Runner, tmp_path: Path) -> None:
    narrow = SampleStore(drawn_store(tmp_path / "store", clips=1, wide=False))
    tasks, note = redub_tasks(narrow.load("val"), runner, narrow, "val")
    assert tasks == []
    assert "no faces at 224 px" in note
    assert f"<h2>Re-dubbing</h2>\n<p>{note}</p>" in page({"clips": 0}, {}, redub_note=note)


def test_methods_follow_from_the_weights(drawn_weights: Path, store: SampleStore, runner: Runner) -> None:
    found = open_redubber(load_generator(), None, "cpu")
    assert (found.name, list(found.redubbers), found.lacking) == ("default", [PASTE, POISSON, NETWORK], "")
    drawn = open_redubber(load_generator(drawn_weights), drawn_weights, "cpu")
    assert list(drawn.redubbers) == [PASTE, POISSON, NETWORK]  # the network comes from the default set
    tasks, note = redub_tasks(store.load("val"), replace(runner, redubber=None), store, "val")
    assert (tasks, note) == ([], "Re-dubbing is not shown.")


def test_a_talker_of_whole_faces_is_poisson_blended_alone(paper_weights: Path, task: RedubTask, voice: Track) -> None:
    found = open_redubber(load_generator(paper_weights / "talker"), paper_weights / "talker", "cpu")
    assert list(found.redubbers) == [POISSON]
    assert "no re-dubbing network for the paper talker" in found.lacking
    source = task.filmed.faces(FRAMES)
    (generated,) = found.redub(task.filmed, voice, FRAMES).values()
    np.testing.assert_array_equal(generated[:, :90], source[:, :90])
    assert np.abs(generated.astype(int) - source).max() > 30


def test_a_clip_with_too_few_wide_faces_is_damaged(task: RedubTask) -> None:
    with pytest.raises(DataError, match="29 faces"):
        Filmed(task.filmed.track, task.filmed.jpegs[1:])
