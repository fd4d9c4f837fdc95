"""``speech2vid evaluate``: metrics of a set of weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speech2vid.cli.output import JsonFlag, note, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from speech2vid.evaluation import Evaluation


def evaluate(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Sample store created by `prepare`.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Output folder for metrics.json, table.md, report.html and clips.tsv."
        ),
    ],
    split: Annotated[str, typer.Option("--split", help="Split of the store to evaluate on.")] = "val",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="SET|DIR|FILE",
            help="Weights to evaluate: a shipped set (default, paper), a folder such as the weights/ of a training, or "
            "a weight file. Repeat to compare several.",
        ),
    ] = None,
    generator: Annotated[
        str,
        typer.Option(
            "--generator",
            metavar="NAME",
            help="Generation method: warp, paper, an installed entry point, or module:Class (default: that of the "
            "weights).",
        ),
    ] = "",
    sharpener: Annotated[
        Path | None,
        typer.Option(
            "--sharpener", metavar="DIR|FILE", help="Sharpener to apply to the output of each set of weights."
        ),
    ] = None,
    stills: Annotated[
        Literal["5", "1", "both"],
        typer.Option("--stills", help="Generate from five stills of the speaker, from one, or from each in turn."),
    ] = "both",
    silence: Annotated[
        Literal["hold", "follow"],
        typer.Option("--silence", help="In silence, keep the mouth closed (hold) or follow all audio (follow)."),
    ] = "hold",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Metric to report in addition: an installed entry point, or module:NAME. Repeat for several.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed for the choice of stills and of mismatched audio.")
    ] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Device that runs the networks.")
    ] = "auto",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Number of worker processes.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Evaluate weights on a sample store: regenerate every clip and compare it with the real one.

    Each clip of at least one second is generated from stills of its speaker and its audio. The report shows it next to
    baselines: the real clip, the real mouth shapes, another clip's audio, static stills, and another person's video. An
    interrupted run continues when you start it again.
    """
    from speech2vid.evaluation import evaluate as measure

    with progress_bar(f"evaluate → {out}", "steps", log_lines=True) as progress:
        evaluation = measure(
            data,
            out,
            split=split,
            weights=weights,
            generator=generator,
            sharpener=sharpener,
            stills=stills,
            silence=silence,
            metrics=metric or (),
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
    typer.echo(f"{evaluation.settings['clips']} clips; report: {out / 'report.html'}")
