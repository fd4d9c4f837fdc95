"""``speech2vid evaluate``: how good are the weights, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speech2vid.cli.output import JsonFlag, note, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from speech2vid.evaluation import Evaluation


def evaluate(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A sample store, made by prepare.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for metrics.json, table.md, report.html and clips.tsv.")
    ],
    split: Annotated[str, typer.Option("--split", help="Which part of the store.")] = "val",
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--weights",
            metavar="DIR|FILE|package",
            help="Weights to evaluate: a folder of weight files, a talker's weight file, or the package's own, which "
            "is the default. Give it again to compare several.",
        ),
    ] = None,
    sharpener: Annotated[
        Path | None,
        typer.Option("--sharpener", metavar="DIR|FILE", help="A sharpening network, tried behind each of the weights."),
    ] = None,
    stills: Annotated[
        Literal["5", "1", "both"],
        typer.Option("--stills", help="From five stills of the speaker, from one in any mouth state, or each in turn."),
    ] = "both",
    silence: Annotated[
        Literal["hold", "follow"],
        typer.Option("--silence", help="What the mouth does where nobody speaks, as in talk."),
    ] = "hold",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the stills and the other voices.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="What the networks run on.")
    ] = "auto",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that work side by side.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Measure weights on a sample store: generate every clip again and compare with the truth.

    Each clip of a second or more is made from stills of its speaker and its audio. Next to it stand the truth, the same
    with the true mouth shapes, with another clip's audio, stills that do not move, and another person's video. A run
    that was stopped carries on when it is started again.
    """
    from speech2vid.evaluation import evaluate as measure

    with progress_bar(f"evaluate → {out}", "steps") as progress:
        evaluation = measure(
            data,
            out,
            split=split,
            weights=weights,
            sharpener=sharpener,
            stills=stills,
            silence=silence,
            seed=seed,
            device=device,
            jobs=jobs,
            progress=progress,
        )
    for line in evaluation.notes:
        note(line)
    if as_json:
        print_json({**evaluation.to_dict(), "report": str(out / "report.html")})
    else:
        _show(evaluation, out)


def _show(evaluation: Evaluation, out: Path) -> None:
    from speech2vid.evaluation.report import COLUMN_TITLES, summary_table, transposed

    for column, summary in evaluation.summaries.items():
        head, *lines = transposed(summary_table(summary, evaluation.settings["clips"]))
        print_table(COLUMN_TITLES[column], tuple(head), [tuple(line) for line in lines])
    typer.echo(f"{evaluation.settings['clips']} clips; the report: {out / 'report.html'}")
