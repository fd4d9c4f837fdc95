"""The command line: a thin skin over functions of the same names. One file per command.

A command file imports only Typer and this package at its top; the work is imported when the command runs, so that
``speech2vid --help`` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point of the ``speech2vid`` program. Ends with exit code 0, 1, 2 or 3 (130 after Ctrl-C)."""
    _open_standard_streams()
    signal.signal(signal.SIGTERM, _terminate)
    from speech2vid.cli import failures
    from speech2vid.cli.program import program

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, failures.interrupt)

    program(prog_name="speech2vid")


def _open_standard_streams() -> None:
    """Give the numbers 0–2 to the null device where they are closed: else a video would get one of them, and what a
    library prints would go into the video."""
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)


def _terminate(number: int, frame: FrameType | None) -> None:
    """End through the ``finally`` clauses, so that a terminated run leaves no half-written file behind."""
    sys.exit(128 + number)
