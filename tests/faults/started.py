"""A server as a person starts it: ``speech2vid serve`` or ``speech2vid app`` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """
import resource, signal, sys
from speech2vid.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
limit = int(sys.argv.pop(1)) or resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
main()
"""


@contextmanager
def started(
    command: str, *words: object, temp: Path, limit_bytes: int = 0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address. Temporary files go into ``temp``; no file may grow beyond a limit."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(limit_bytes), command, "--port", "0", *map(str, words)],
        env={**os.environ, "TMPDIR": str(temp)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
