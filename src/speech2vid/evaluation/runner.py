"""The work of an evaluation, clip by clip, in this process or in several: each piece importable, its arguments sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2

from speech2vid.data.records import Track
from speech2vid.evaluation.generation import Generator, Speaker
from speech2vid.evaluation.metric_records import load_metrics
from speech2vid.evaluation.metrics import Scorers, Scores, Truth, embed_still
from speech2vid.evaluation.protocol import Trial, five_stills, one_still, stills_at
from speech2vid.evaluation.redubbing import RedubEvaluator, open_redubber
from speech2vid.evaluation.scoring import (
    CHANCE,
    GENERATED,
    GENERATED_ROWS,
    TRUTH,
    score_chance,
    score_silence,
    score_speaker,
    score_stills,
    score_truth,
)
from speech2vid.evaluation.sharpening import AnyGenerator, SharpenedGenerator
from speech2vid.evaluation.summary import SILENCE, ClipScores, row_of
from speech2vid.evaluation.weights import load_generator, load_sharpener
from speech2vid.faces import Still
from speech2vid.inference.options import Silence
from speech2vid.runtime.weights import DEFAULT

FIVE, ONE = "five_stills", "one_still"


@dataclass(frozen=True)
class WeightsChoice:
    """What is evaluated; hashable, so that every process loads it once.

    Attributes:
        weights: shipped sets, folders or files.
        sharpener: of a sharpening network, tried behind each; or None.
        metrics: further ones, as in :func:`speech2vid.evaluation.metric_records.load_metrics`.
        generator, silence, device, threads: as in :func:`speech2vid.evaluation.weights.load_generator`.
    """

    weights: tuple[str, ...] = (DEFAULT,)
    sharpener: Path | None = None
    generator: str = ""
    silence: Silence = "hold"
    device: str = "auto"
    threads: int = 0
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Runner:
    """Generators and meters, loaded, and what re-dubs with the first of the weights."""

    generators: tuple[AnyGenerator, ...]
    scorers: Scorers
    redubber: RedubEvaluator | None = None

    @property
    def alone(self) -> bool:
        """Whether there is one generator only: its rows need no name."""
        return len(self.generators) == 1


@cache
def open_runner(choice: WeightsChoice) -> Runner:
    """Load everything. Errors of :func:`speech2vid.evaluation.weights.load_generator` and ``load_metrics``."""
    metrics = load_metrics(choice.metrics)
    generators: list[AnyGenerator] = []
    plain: list[Generator] = []  # of each of the weights the one without a sharpener
    sharpen = None if choice.sharpener is None else load_sharpener(choice.sharpener, choice.threads, choice.device)
    taken: dict[str, int] = {}
    for weights in choice.weights:
        generator = load_generator(
            weights,
            generator=choice.generator,
            silence=choice.silence,
            device=choice.device,
            threads=choice.threads,
        )
        taken[generator.name] = taken.get(generator.name, 0) + 1
        if taken[generator.name] > 1:
            generator.name += f" ({taken[generator.name]})"
        plain.append(generator)
        generators.append(generator)
        if sharpen is not None:
            generators.append(SharpenedGenerator(generator, sharpen))
    redubber = open_redubber(plain[0], choice.weights[0], choice.device)
    return Runner(tuple(generators), Scorers.load(choice.threads, choice.device, metrics), redubber)


def keep_to_one_core() -> None:
    """Make the libraries of this process use one thread each: the other cores have processes of their own."""
    cv2.setNumThreads(1)
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


@dataclass(frozen=True)
class ClipTask:
    """A clip to score.

    Attributes:
        trial: what is generated.
        truth: of the clip.
        source: the clip that the stills come from.
        other: of the clip whose audio and image say what chance is.
        columns: sets of stills.
        seed: chooses the one still.
        in_silence: whether the mouth is tried in silence too.
    """

    trial: Trial
    truth: Truth
    source: Track
    other: Truth
    columns: tuple[str, ...]
    seed: int
    in_silence: bool


def score_clip(task: ClipTask, runner: Runner) -> dict[str, ClipScores]:
    """Column → every row of a clip."""
    return {column: _score_column(task, column, runner) for column in task.columns}


def _score_column(task: ClipTask, column: str, runner: Runner) -> ClipScores:
    truth, scorers = task.truth, runner.scorers
    stills = stills_for(task.source, column, task.seed)
    photo = embed_still(stills[0], scorers.embed)
    generated: dict[str, Scores] = {}
    silence: dict[str, dict[str, float]] = {}
    for generator in runner.generators:
        speaker = generator.speaker(stills)
        rows = score_speaker(speaker, truth, task.other, scorers, photo)
        generated |= {row_of(row, generator.name, runner.alone): scores for row, scores in rows.items()}
        if task.in_silence:
            quiet = score_silence(speaker, truth, rows[GENERATED].values)
            silence[row_of(SILENCE, generator.name, runner.alone)] = quiet
    in_order = [row for kind in GENERATED_ROWS for row in generated if row.partition(":")[0] == kind]
    rows = {TRUTH: score_truth(truth, scorers, photo)} | {row: generated[row] for row in in_order}
    rows |= score_stills(stills, truth, scorers, photo)
    rows[CHANCE] = score_chance(truth, task.other, scorers, photo)
    record = task.trial.clip
    return ClipScores(record.key, record.speaker, record.frames, task.trial.stills_of.key, rows, silence)


def stills_for(source: Track, column: str, seed: int) -> list[Still]:
    """The stills of a column."""
    return stills_at(source, five_stills(source) if column == FIVE else one_still(source, seed))


def speakers_for(source: Track, columns: Sequence[str], seed: int, runner: Runner) -> dict[tuple[str, str], Speaker]:
    """(generator, column) → the person of ``source``."""
    return {
        (generator.name, column): generator.speaker(stills_for(source, column, seed))
        for generator in runner.generators
        for column in columns
    }
