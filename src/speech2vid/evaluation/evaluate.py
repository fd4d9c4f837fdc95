"""How good are the weights: every clip of a split generated again and measured (Sect. 5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar, get_args

from speech2vid import __version__
from speech2vid.data.records import Track
from speech2vid.data.report import MANIFEST
from speech2vid.data.store import SampleStore
from speech2vid.errors import ConfigError
from speech2vid.evaluation.metric_records import Metric, metric_hashes
from speech2vid.evaluation.metrics import Truth
from speech2vid.evaluation.motion_metrics import motion_table
from speech2vid.evaluation.protocol import Trial, plan_trials
from speech2vid.evaluation.qualitative import (
    Grid,
    GridRow,
    GridTask,
    QualitativeExample,
    RedubTask,
    ShowTask,
    grid_tasks,
    header_of,
    redub_tasks,
    show_clip,
    show_person,
    show_redub,
)
from speech2vid.evaluation.result import Evaluation
from speech2vid.evaluation.resume_log import ResumeLog
from speech2vid.evaluation.runner import (
    FIVE,
    ONE,
    ClipTask,
    Runner,
    WeightsChoice,
    keep_to_one_core,
    open_runner,
    score_clip,
)
from speech2vid.evaluation.scoring import TRUTH
from speech2vid.evaluation.summary import ClipScores, tabulate
from speech2vid.evaluation.weights import fingerprint_of
from speech2vid.inference.head.samplers import MotionNetwork
from speech2vid.inference.options import Silence
from speech2vid.pool import Died, work_through
from speech2vid.progress import Progress
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import DEFAULT, weight_set

T = TypeVar("T")
R = TypeVar("R")
Task = ClipTask | ShowTask | RedubTask | GridTask
AnyPath = str | PathLike[str]
StillsChoice = Literal["5", "1", "both"]
STILLS: dict[str, tuple[str, ...]] = {"5": (FIVE,), "1": (ONE,), "both": (FIVE, ONE)}

EXAMPLES, GRID_SIDE = 8, 6  # clips shown; identities and recordings of the grid


def evaluate(
    data: AnyPath,
    out: AnyPath,
    *,
    split: str = "val",
    weights: AnyPath | Sequence[AnyPath] | None = None,
    generator: str = "",
    sharpener: AnyPath | None = None,
    stills: StillsChoice = "both",
    silence: Silence = "hold",
    metrics: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Generate every clip of a second or more from stills of its speaker and its audio, measure, and write a report.

    A run that was stopped carries on when it is started again with the same data, weights and settings.

    Args:
        data: a sample store made by ``prepare``.
        out: folder for ``metrics.json``, ``table.md``, ``report.html`` and ``clips.tsv``.
        split: which part of the store.
        weights: a shipped set (``default``, ``paper``), a folder of weight files, a weight file, or several of them.
        generator: of each of the weights, as in :func:`speech2vid.load_talker`; one of your own as ``module:Class``.
        sharpener: folder or file of a sharpening network, tried behind each of the weights.
        stills: from five stills of a speaker, from one (any mouth state), or both, side by side.
        silence: as in ``talk``.
        metrics: of your own, in addition to the package's: each an entry point of the group ``speech2vid.metrics``, or
            ``module:NAME`` of a :class:`Metric`.
        seed: chooses stills and voices; the same seed gives the same figures.
        device: ``auto``, ``cpu`` or ``cuda``.
        jobs: processes that work side by side. The figures are the same for any number.
        progress: called after each piece of work with the number done and the number in all.

    Raises:
        DataError, WeightsError, ConfigError, OutputError, MissingExtraError.
    """
    if stills not in STILLS:
        raise ConfigError(f"unknown value {stills!r} for stills", f"choose from: {', '.join(get_args(StillsChoice))}")
    sources = _sources(weights)
    sharp = None if sharpener is None else Path(sharpener)
    choice = WeightsChoice(sources, sharp, generator, silence, device, 1 if jobs > 1 else 0, tuple(metrics))
    runner = open_runner(choice)  # fails early, whatever the processes do
    store = SampleStore(Path(data))
    tracks = store.load(split)
    trials = plan_trials([track.record for track in tracks], seed)  # fails before anything is written
    evaluated = {trial.clip.key for trial in trials}
    redubs, redub_note = redub_tasks([each for each in tracks if each.record.key in evaluated], runner, store, split)
    hashes = {each: fingerprint_of(each) for each in (*sources, *([str(sharp)] if sharp else []))}
    setup = {
        "version": __version__,
        "store": hashlib.sha256((store.path / MANIFEST).read_bytes()).hexdigest(),
        "split": split,
        "weights": hashes,
        "generator": generator,
        "sync": runner.scorers.sync.sha256 if runner.scorers.sync else "",
        "stills": stills,
        "silence": silence,
        "metrics": metric_hashes(metrics),
        "seed": seed,
    }
    unfinished = ResumeLog(Path(out), json.dumps(setup, sort_keys=True))
    evaluation = _evaluate(
        tracks,
        choice if jobs > 1 else runner,
        names=[generator.name for generator in runner.generators],
        columns=STILLS[stills],
        metrics=runner.scorers.metrics,
        seed=seed,
        jobs=jobs,
        redubs=redubs,
        unfinished=unfinished,
        progress=progress,
    )
    evaluation.settings.update(
        data=str(data),
        split=split,
        silence=silence,
        weights=", ".join(sources),
        sharpener="none" if sharp is None else str(sharp),
        weights_sha256=hashes,
        own_metrics=list(metrics),
    )
    motion = motion_table(tracks, MotionNetwork(weight_set(sources[0]), graph_loader("cpu", 1)), seed)
    evaluation = replace(evaluation, redub_note=redub_note, motion=motion)
    evaluation.write(Path(out))
    unfinished.finish()
    return evaluation


def evaluate_tracks(
    tracks: Sequence[Track],
    runner: Runner,
    *,
    columns: Sequence[str] = STILLS["both"],
    seed: int = 0,
    figures: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """As :func:`evaluate`, of tracks and generators in memory; nothing is written. ``figures``: with images."""
    names = [generator.name for generator in runner.generators]
    return _evaluate(
        tracks,
        runner,
        names=names,
        columns=columns,
        metrics=runner.scorers.metrics,
        seed=seed,
        figures=figures,
        progress=progress,
    )


def _evaluate(
    tracks: Sequence[Track],
    on: Runner | WeightsChoice,
    *,
    names: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[Metric],
    seed: int,
    jobs: int = 1,
    figures: bool = True,
    redubs: Sequence[RedubTask] = (),
    unfinished: ResumeLog | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    known = {track.record.key: track for track in tracks}
    trials = plan_trials([track.record for track in tracks], seed)
    shown = [
        ShowTask(trial, known[trial.clip.key], known[trial.stills_of.key], tuple(columns), seed)
        for trial in (_spread_over_speakers(trials) if figures else ())
    ]
    grid = grid_tasks(shown[:GRID_SIDE])
    done = unfinished.clips if unfinished is not None else {}
    left = [trial for trial in trials if trial.clip.key not in done]
    needed = list(dict.fromkeys(record.key for trial in left for record in (trial.clip, trial.other)))
    looks: list[Task] = [*shown, *redubs, *grid]
    steps = _Steps(len(trials) + len(needed) + len(looks), progress)
    steps.add(len(trials) - len(left))

    truths: dict[str, Truth] = {}
    for number, truth in _each(partial(_truth, on=on), [known[key] for key in needed], jobs):
        truths[needed[number]] = truth
        steps.add()
    firsts = {trial.clip.speaker: trial.clip.key for trial in reversed(trials)}.values()  # tried in silence
    tasks: list[Task] = [
        ClipTask(
            trial,
            truths[trial.clip.key],
            known[trial.stills_of.key],
            truths[trial.other.key],
            tuple(columns),
            seed,
            trial.clip.key in firsts,
        )
        for trial in left
    ]
    scored = dict(done)
    seen: dict[int, QualitativeExample | GridRow] = {}
    for number, result in _each(partial(_piece, on=on), [*tasks, *looks], jobs):
        if isinstance(result, dict):
            key = left[number].clip.key
            scored[key] = result
            if unfinished is not None:
                unfinished.keep(key, result)
        else:
            seen[number] = result
        steps.add()
    in_order = [seen[number] for number in sorted(seen)]
    examples = [each for each in in_order if isinstance(each, QualitativeExample)]

    clips = {column: [scored[trial.clip.key][column] for trial in trials] for column in columns}
    first = clips[columns[0]]
    settings = {
        "version": __version__,
        "seed": seed,
        "generators": list(names),
        "clips": len(trials),
        "frames": sum(trial.clip.frames for trial in trials),
        "speakers": len({trial.clip.speaker for trial in trials}),
        "stills_from_the_clip_itself": sum(trial.stills_of == trial.clip for trial in trials),
        "left_out_shorter_than_1_s": len(tracks) - len(trials),
        "too_short_for_sync": [clip.key for clip in first if not len(clip.rows[TRUTH].sync_curve)],
    }
    return Evaluation(
        settings,
        clips,
        {column: tabulate(clips[column], metrics) for column in columns},
        examples[: len(shown)],
        Grid(header_of(grid[0]), [each for each in in_order if isinstance(each, GridRow)]) if grid else None,
        examples[len(shown) :],
    )


class _Steps:
    """Counts pieces of work for the progress bar."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int = 1) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _each(function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[tuple[int, R]]:
    """Number of each item and the result, in the order in which they are done."""
    if jobs <= 1:
        for number, item in enumerate(items):
            yield number, function(item)
        return
    for number, result in work_through(function, items, jobs):
        if isinstance(result, Died):
            raise MemoryError  # what kills a process in most cases
        yield number, result


def _bench(on: Runner | WeightsChoice) -> Runner:
    """What a piece of work needs: given, or, in a process of its own, loaded at the first piece."""
    if isinstance(on, Runner):
        return on
    keep_to_one_core()
    return open_runner(on)


def _truth(track: Track, on: Runner | WeightsChoice) -> Truth:
    return Truth.of(track, _bench(on).scorers)


def _piece(task: Task, on: Runner | WeightsChoice) -> dict[str, ClipScores] | QualitativeExample | GridRow:
    runner = _bench(on)
    if isinstance(task, ClipTask):
        return score_clip(task, runner)
    if isinstance(task, RedubTask):
        return show_redub(task, runner)
    return show_clip(task, runner) if isinstance(task, ShowTask) else show_person(task, runner)


def _sources(weights: AnyPath | Sequence[AnyPath] | None) -> tuple[str, ...]:
    given = [DEFAULT] if weights is None else [weights] if isinstance(weights, str | PathLike) else list(weights)
    if not given:
        raise ConfigError("no weights are given", f"give a folder, or {DEFAULT!r}")
    return tuple(str(each) for each in given)


def _spread_over_speakers(trials: Sequence[Trial]) -> list[Trial]:
    """The first trial of each speaker, up to ``EXAMPLES``; then second ones, if there are few speakers."""
    nth: dict[str, int] = {}
    ranked = []
    for order, trial in enumerate(trials):
        nth[trial.clip.speaker] = nth.get(trial.clip.speaker, 0) + 1
        ranked.append((nth[trial.clip.speaker], order, trial))
    return [trial for _, _, trial in sorted(ranked, key=lambda each: each[:2])[:EXAMPLES]]
