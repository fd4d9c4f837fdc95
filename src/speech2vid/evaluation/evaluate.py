"""How good are the weights: every clip of a split generated again and measured (Sect. 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from speech2vid import __version__
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import ConfigError, OutputError
from speech2vid.evaluation.generation import Speaker
from speech2vid.evaluation.report import clip_table, markdown
from speech2vid.evaluation.report_page import Example, page
from speech2vid.evaluation.scoring import GENERATED, TRUE_SHAPES, TRUTH, Truth, score_clip, score_silence
from speech2vid.evaluation.summary import ClipScores, Summary, summarise
from speech2vid.evaluation.trials import Trial, five_stills, one_still, plan_trials, stills_at
from speech2vid.inference.fields import TalkerNetworks
from speech2vid.inference.shapes import Silence
from speech2vid.records import Frames
from speech2vid.weightfile import write_whole

AnyPath = str | PathLike[str]
Progress = Callable[[int, int | None], None]  # clips done, clips in all
StillsChoice = Literal["5", "1", "both"]
STILLS: dict[str, tuple[str, ...]] = {"5": ("five_stills",), "1": ("one_still",), "both": ("five_stills", "one_still")}

EXAMPLES, MOMENTS = 8, 8  # pictures of the report
METRICS_FILE, TABLE_FILE, CLIPS_FILE, PAGE_FILE = "metrics.json", "table.md", "clips.tsv", "report.html"


@dataclass(frozen=True)
class Evaluation:
    """The result.

    Attributes:
        settings: what was evaluated, and how.
        clips: column (``five_stills``, ``one_still``) → scores of every clip.
        summaries: column → figures.
        examples: column → pictures.
    """

    settings: dict[str, Any]
    clips: dict[str, list[ClipScores]]
    summaries: dict[str, Summary]
    examples: dict[str, list[Example]]

    def to_dict(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        metrics = {column: summary.to_dict() for column, summary in self.summaries.items()}
        return {"settings": self.settings, "metrics": metrics}

    def write(self, out: Path) -> None:
        """Write metrics.json, table.md, clips.tsv and report.html, each whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        contents = {
            CLIPS_FILE: clip_table(self.clips),
            TABLE_FILE: markdown(self.settings, self.summaries),
            PAGE_FILE: page(self.settings, self.summaries, self.examples),
            METRICS_FILE: json.dumps(self.to_dict(), indent=1) + "\n",
        }
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, text in contents.items():
                write_whole(out / name, text.encode())
        except OSError as error:
            raise OutputError(
                f"{out} cannot be written: {error.strerror}", "choose another folder with --out"
            ) from error


def evaluate(
    data: AnyPath,
    out: AnyPath,
    *,
    split: str = "val",
    weights: AnyPath | None = None,
    stills: StillsChoice = "both",
    silence: Silence = "hold",
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Generate every clip of a second or more from stills of its speaker and its sound, measure, and write a report.

    Args:
        data: a sample store made by ``prepare``.
        out: folder for ``metrics.json``, ``table.md``, ``report.html`` and ``clips.tsv``.
        split: which part of the store.
        weights: folder of weight files; those of the package by default.
        stills: from five stills of a speaker, from one (any mouth state), or both, side by side.
        silence: as in ``talk``.
        seed: chooses stills and voices; the same seed gives the same figures.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: called after each clip with the number done and the number in all.

    Raises:
        DataError, WeightsError, ConfigError, OutputError.
    """
    if stills not in STILLS:
        raise ConfigError(f"stills cannot be {stills!r}", f"choose from: {', '.join(get_args(StillsChoice))}")
    folder = None if weights is None else Path(weights)
    networks = TalkerNetworks(folder, device)
    tracks = SampleStore(Path(data)).load(split)
    evaluation = evaluate_tracks(
        tracks, networks, columns=STILLS[stills], silence=silence, seed=seed, progress=progress
    )
    evaluation.settings.update(data=str(data), split=split, weights="the package's" if folder is None else str(folder))
    evaluation.write(Path(out))
    return evaluation


def evaluate_tracks(
    tracks: Sequence[Track],
    networks: TalkerNetworks,
    *,
    columns: Sequence[str] = STILLS["both"],
    silence: Silence = "hold",
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """As :func:`evaluate`, of tracks in memory; nothing is written."""
    known = {track.record.key: track for track in tracks}
    trials = plan_trials([track.record for track in tracks], seed)
    shown = _spread_over_speakers(trials)
    firsts = {trial.clip.speaker: trial for trial in reversed(trials)}.values()  # tried in silence
    clips: dict[str, list[ClipScores]] = {column: [] for column in columns}
    examples: dict[str, list[Example]] = {column: [] for column in columns}
    for done, trial in enumerate(trials, 1):
        for column, scores, example in _try_one(trial, known, networks, columns, silence, seed, trial in firsts):
            clips[column].append(scores)
            if trial in shown:
                examples[column].append(example)
        if progress is not None:
            progress(done, len(trials))
    settings = {
        "version": __version__,
        "seed": seed,
        "silence": silence,
        "clips": len(trials),
        "frames": sum(trial.clip.frames for trial in trials),
        "speakers": len({trial.clip.speaker for trial in trials}),
        "stills_from_the_clip_itself": sum(trial.stills_of == trial.clip for trial in trials),
        "left_out_shorter_than_1_s": len(tracks) - len(trials),
    }
    return Evaluation(settings, clips, {column: summarise(clips[column]) for column in columns}, examples)


def _try_one(
    trial: Trial,
    known: dict[str, Track],
    networks: TalkerNetworks,
    columns: Sequence[str],
    silence: Silence,
    seed: int,
    in_silence: bool,
) -> Iterator[tuple[str, ClipScores, Example]]:
    track, source, other = known[trial.clip.key], known[trial.stills_of.key], known[trial.other.key]
    truth = Truth.of(track)
    for column in columns:
        chosen = five_stills(source) if column == "five_stills" else one_still(source, seed)
        stills = stills_at(source, chosen)
        speaker = Speaker(stills, networks, silence)
        rows, made = score_clip(track, other, speaker, truth)
        quiet = score_silence(speaker, truth, rows[GENERATED].values) if in_silence else {}
        scores = ClipScores(trial.clip.key, trial.clip.speaker, len(track), trial.stills_of.key, rows, quiet)
        yield column, scores, _example(trial, stills[0].aligned.image, track.frames, made)


def _example(trial: Trial, photo: Frames, true: Frames, made: dict[str, Frames]) -> Example:
    moments = np.linspace(0, len(true) - 1, MOMENTS).round().astype(int)
    strips = {name: made[name][moments] for name in (GENERATED, TRUE_SHAPES)}
    return Example(trial.clip.key, photo, moments.tolist(), {TRUTH: true[moments], **strips})


def _spread_over_speakers(trials: Sequence[Trial]) -> list[Trial]:
    """The first trial of each speaker, up to ``EXAMPLES``; then second ones, if there are few speakers."""
    nth: dict[str, int] = {}
    ranked = []
    for order, trial in enumerate(trials):
        nth[trial.clip.speaker] = nth.get(trial.clip.speaker, 0) + 1
        ranked.append((nth[trial.clip.speaker], order, trial))
    return [trial for _, _, trial in sorted(ranked, key=lambda each: each[:2])[:EXAMPLES]]
