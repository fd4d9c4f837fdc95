"""The program: its commands in the order of --help, and its global options."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from speech2vid import __version__
from speech2vid.cli.app import app
from speech2vid.cli.batch import batch
from speech2vid.cli.demo import demo
from speech2vid.cli.evaluate import evaluate
from speech2vid.cli.export import export
from speech2vid.cli.failures import ReportingGroup
from speech2vid.cli.info import info
from speech2vid.cli.prepare import prepare
from speech2vid.cli.redub import redub
from speech2vid.cli.serve import serve
from speech2vid.cli.sync import sync
from speech2vid.cli.talk import talk
from speech2vid.cli.train import train
from speech2vid.cli.validate import validate
from speech2vid.cli.verify import verify

COMMANDS = (demo, talk, redub, batch, app, serve, prepare, validate, sync, train, evaluate, export, verify, info)

program = typer.Typer(
    name="speech2vid",
    cls=ReportingGroup,
    help="Turn a photo and a voice into a talking-face video, or give a video a new voice.",
    epilog="Exit codes: 0 success; 1 failure, with a reason; 2 wrong usage; 3 success, but some inputs were skipped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"speech2vid {__version__}")
        raise typer.Exit


@program.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", hidden=True, help="Show tracebacks and all log lines.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s: %(message)s")


for command in COMMANDS:
    program.command()(command)
