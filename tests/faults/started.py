"""A server as a person starts it: ``speech2vid serve`` or ``speech2vid app`` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import start

PROGRAM = """
import resource, sys
from speech2vid.cli import main
limit = int(sys.argv.pop(1)) or resource.RLIM_INFINITY
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
main()
"""


@contextmanager
def started(
    command: str, *words: object, temp: Path, limit_bytes: int = 0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address. Temporary files go into ``temp``; no file may grow beyond a limit."""
    process = start(
        [sys.executable, "-c", PROGRAM, limit_bytes, command, "--port", "0", *words],
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
