"""Processes that tests start, and waiting for what they do."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def default_sigint() -> Iterator[None]:
    """Handle SIGINT as Python does by default, also where the test run ignores it, as a shell's background job does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def start(command: list[Any], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that SIGINT stops: a caught signal has its default action in a new program, an ignored one not.

    Args:
        command: program and arguments; each becomes a string.
        options: of :class:`subprocess.Popen`.
    """
    with default_sigint():
        return subprocess.Popen([str(word) for word in command], **options)


def eventually(condition: Callable[[], Any], seconds: float = 120) -> bool:
    """Return whether a condition becomes true; the limit only keeps a failed test from waiting for ever."""
    end_s = time.monotonic() + seconds
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return bool(condition())
