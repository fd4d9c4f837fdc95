"""Report failures: one line that says what went wrong and where, one that says what to do; never a traceback.

Exit codes: 1 for a failure, 130 after Ctrl-C, 143 after SIGTERM. Wrong usage (2) is reported by Typer.
"""

from __future__ import annotations

import sys
import traceback
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from speech2vid.errors import Speech2VidError, TrainingStopped

FAILED = 1
WRONG_USAGE = 2
SKIPPED_SOME = 3
INTERRUPTED = 130


_interrupted = False


def interrupt(number: int, frame: FrameType | None) -> None:
    """Record Ctrl-C: an interrupted library may raise an error of its own instead of passing KeyboardInterrupt on."""
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


class ReportingGroup(TyperGroup):
    """A command group that turns exceptions into a reason, a hint and an exit code. ``--debug`` adds the traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.TyperException, typer.Exit, typer.Abort, BrokenPipeError):
            raise  # Typer's own: usage errors, exits, a closed pipe
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            if isinstance(error, TrainingStopped):
                report(*explain(error))
                raise typer.Exit(128 + error.signal) from error
            stopped = _interrupted or isinstance(error, KeyboardInterrupt)
            report(*explain(KeyboardInterrupt() if stopped else error))
            raise typer.Exit(INTERRUPTED if stopped else FAILED) from error


def explain(error: BaseException) -> tuple[str, str]:
    """Return the reason and the hint for any exception, each on one line."""
    if isinstance(error, Speech2VidError):
        reason, hint = error.message, error.hint
    elif isinstance(error, KeyboardInterrupt):
        reason, hint = "interrupted", "no partial output was left behind"
    elif isinstance(error, MemoryError):
        reason, hint = "not enough memory", "close other programs, or use a smaller image or video"
    elif isinstance(error, OSError) and error.filename:
        reason, hint = f"{error.filename}: {error.strerror}", "check the path, its permissions and the free disk space"
    elif isinstance(error, OSError) and error.strerror:
        reason, hint = error.strerror, "check the permissions and the free disk space"
    else:
        reason = f"unexpected {type(error).__name__}: {error}"
        hint = "this is a bug in speech2vid: run the command again as `speech2vid --debug …` and report the output"
    return _one_line(reason), _one_line(hint)


def report(message: str, hint: str = "") -> None:
    """Print a reason, and a hint below it, to standard error."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _one_line(text: str) -> str:
    return " ".join(text.split())
