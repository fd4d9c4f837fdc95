"""Run a function in a process of its own that may use only so much memory and time, and tell how it ended.

Python imports the libraries once; each case is a fork of it, so that hundreds of cases take seconds. A case that is
killed, hangs, runs out of memory or crashes in C ends alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class End:
    """How a case ended.

    Attributes:
        kind: ``done``, ``error`` (a Speech2VidError: reason and hint), ``defect`` (any other exception), ``killed`` by
            a signal (a crash in C, or the time ran out).
        said: the error's text, the traceback, or the signal's name.
        peak_mb: of resident memory beyond that of the parent.
    """

    kind: str
    said: str
    peak_mb: float

    @property
    def clean(self) -> bool:
        return self.kind in ("done", "error")


def run(work: Callable[[], object], *, timeout_s: float = 120, extra_mb: int = 1500) -> End:
    """Fork, limit, run ``work``, and report. The limit on memory counts from the memory that this process uses now.

    The collector of the child must not touch the parent's garbage: a decoder with threads waits in its destructor for
    threads that a fork does not copy.
    """
    from speech2vid.errors import Speech2VidError

    reading, writing = os.pipe()
    gc.freeze()
    child = os.fork()
    if not child:
        os.close(reading)
        kind, said = "defect", ""
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + extra_mb * MEGABYTE,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            work()
            kind = "done"
        except Speech2VidError as error:
            if error.message and error.hint:
                kind, said = "error", str(error)
            else:
                said = f"no message or no hint: {error!r}"
        except BaseException:
            said = traceback.format_exc()[-4000:]
        with contextlib.suppress(BaseException):
            os.write(writing, f"{kind}\n{said}".encode("utf-8", "replace")[:60_000])
        os._exit(0)
    gc.unfreeze()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        words = pipe.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(child, 0)
    peak_mb = usage.ru_maxrss / 1024
    if os.WIFSIGNALED(status):
        return End("killed", signal.Signals(os.WTERMSIG(status)).name, peak_mb)
    kind, _, said = words.partition("\n")
    return End(kind or "killed", said, peak_mb)


if __name__ == "__main__":
    print(run(lambda: sys.exit("not clean")))
