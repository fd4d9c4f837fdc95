"""``speech2vid batch``: many talk and redub jobs from one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speech2vid.cli.failures import SKIPPED_SOME
from speech2vid.cli.output import JsonFlag, note, print_json, progress_bar
from speech2vid.executors import Engine

if TYPE_CHECKING:
    from speech2vid.inference.batch import BatchOutcome


def batch(
    jobs_file: Annotated[
        Path, typer.Argument(metavar="JOBS.toml|JOBS.csv", help="Jobs, as docs/batch.md describes them.")
    ],
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, max=4096, help="Worker processes; each loads the networks once.")
    ] = 1,
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine", help="Run in local processes or as Ray tasks (extra `ray`; set RAY_ADDRESS to use a cluster)."
        ),
    ] = "local",
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="FILE", help="Log of completed jobs (default: JOBS.batch.jsonl next to the file)."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run many talk and redub jobs from one file.

    Completed jobs are skipped when the command runs again. A job that fails does not stop the others; the exit code is
    then 3. See docs/batch.md.
    """
    from speech2vid.inference.batch import default_log, outcomes_of
    from speech2vid.inference.job_file import read_jobs

    todo = read_jobs(jobs_file)
    ended: dict[int, BatchOutcome] = {}
    with progress_bar(f"batch {jobs_file.name}", "jobs", log_lines=True) as progress:
        progress(0, len(todo))
        for index, outcome in outcomes_of(todo, processes=jobs, engine=engine, log=log or default_log(jobs_file)):
            ended[index] = outcome
            progress(len(ended), len(todo))
            if not as_json:
                _show(outcome)
    states = [outcome.state for outcome in ended.values()]
    counts = {state: states.count(state) for state in ("done", "skipped", "failed")}
    if as_json:
        print_json({**counts, "jobs": [ended[index].to_dict() for index in sorted(ended)]})
    else:
        skipped = f", {counts['skipped']} done before" if counts["skipped"] else ""
        typer.echo(f"{len(ended)} jobs: {counts['done']} done{skipped}, {counts['failed']} failed")
    if counts["failed"]:
        raise typer.Exit(SKIPPED_SOME)


def _show(outcome: BatchOutcome) -> None:
    """Print the end of a job."""
    outfile = os.path.relpath(outcome.job.outfile)
    for line in outcome.notes:
        note(f"{outfile}: {line}")
    if outcome.state == "failed":
        typer.echo(f"failed: {outfile} ({outcome.job.place})", err=True)
        typer.echo(f"  error: {outcome.error}", err=True)
        if outcome.hint:
            typer.echo(f"  hint: {outcome.hint}", err=True)
    elif outcome.state == "done":
        typer.echo(f"{outfile}: {outcome.frames} frames, {outcome.seconds:.2f} s, took {outcome.elapsed_s:.1f} s")
    else:
        typer.echo(f"{outfile}: done before")
