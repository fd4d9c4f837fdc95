"""``speech2vid prepare``: raw video → sample store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speech2vid.cli.failures import FAILED, SKIPPED_SOME
from speech2vid.cli.failures import report as report_failure
from speech2vid.cli.output import JsonFlag, note, print_json, print_table, progress_bar
from speech2vid.cli.talk import Landmarks

MOST_ROWS = 20  # of a table in the terminal

if TYPE_CHECKING:
    from speech2vid.data.report import PrepareReport


def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Video files, folders, quoted glob patterns, or a .tsv/.csv with columns path, speaker and split.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder of the sample store. Run the command again to continue."),
    ],
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Number of worker processes.")] = 1,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            "--engine", help="Run in local processes or as Ray tasks (extra `ray`; set RAY_ADDRESS to use a cluster)."
        ),
    ] = "local",
    sync: Annotated[
        Literal["on", "off"],
        typer.Option(
            "--sync", help="Correct the audio offset and detect the active speaker (on), or trust the sources (off)."
        ),
    ] = "on",
    landmarks: Landmarks = "paper",
    as_json: JsonFlag = False,
) -> None:
    """Prepare raw video for training: detect shots, faces and active speakers, and write a sample store.

    An unusable file does not stop the run: it is reported with the reason, and the exit code is 3.
    """
    from speech2vid.data.prepare import prepare as work

    with progress_bar(f"prepare → {out}", "files", log_lines=True) as progress:
        report = work(sources, out, jobs=jobs, engine=engine, sync=sync, landmarks=landmarks, on_progress=progress)
    for entry in report.skipped:
        reasons = ", ".join(entry.outcome.dropped)
        note(f"{entry.source} skipped: {reasons}" + (f" ({entry.outcome.detail})" if entry.outcome.detail else ""))
    if as_json:
        print_json({**report.as_dict(), "stage_seconds": report.stage_s})
    else:
        _show(report, out)
    if not report.tracks:
        report_failure("no usable tracks were found", "see the notes above; faces must be roughly frontal and speaking")
        raise typer.Exit(FAILED)
    if report.skipped:
        raise typer.Exit(SKIPPED_SOME)


def _show(report: PrepareReport, out: Path) -> None:
    record = report.as_dict()
    typer.echo(f"{out}: {record['tracks_kept']} tracks from {record['files_kept']} of {record['files_in']} files")
    typer.echo(f"{record['hours_kept']} of {record['hours_in']}")
    rows = [(split, *(str(value) for value in column.values())) for split, column in record["splits"].items()]
    print_table("Splits", ("split", "speakers", "tracks", "samples", "hours"), rows)
    dropped = [(reason, str(count)) for reason, count in record["tracks_dropped"].items()]
    if dropped:
        print_table("Rejected tracks", ("reason", "tracks"), dropped)
    moved = [tuple(str(value) for value in each.values()) for each in record["offsets"][:MOST_ROWS]]
    if moved:
        more = f", the first {MOST_ROWS} of {len(record['offsets'])}" if len(record["offsets"]) > MOST_ROWS else ""
        print_table(f"Corrected audio offsets{more}", ("file", "frames late", "seconds late", "confidence"), moved)
    if report.frames:
        speeds = [(stage, f"{s:.1f}", f"{report.frames / s:.0f}") for stage, s in report.stage_s.items()]
        print_table("Time spent", ("stage", "seconds", "frames per second"), speeds)
