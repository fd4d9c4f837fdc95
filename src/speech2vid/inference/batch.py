"""Many ``talk`` and ``redub`` jobs: networks loaded once a process, resumable; a failure does not stop the others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from speech2vid.errors import ConfigError, OutputError, Speech2VidError
from speech2vid.executors import Engine, work_through_by
from speech2vid.inference.job_file import BatchJob, read_jobs, stamp
from speech2vid.inference.options import AnyPath, RedubOptions, TalkOptions
from speech2vid.inference.redub import redub
from speech2vid.inference.redubbers.base import Redubber
from speech2vid.inference.redubbers.choose import load_redubber
from speech2vid.inference.result import VideoResult
from speech2vid.inference.talk import talk
from speech2vid.inference.talkers.base import Talker, talker_for
from speech2vid.inference.use_notes import hashes_of, use_notes
from speech2vid.pool import Died
from speech2vid.progress import Progress

State = Literal["done", "skipped", "failed"]

NETWORKS_KEPT = 4  # sets of networks that a process keeps loaded


@dataclass(frozen=True)
class BatchOutcome:
    """The end of a job.

    Attributes:
        job: the job.
        state: ``done``; ``skipped``: done by an earlier run; ``failed``.
        frames, seconds: of video, if it is done.
        elapsed_s: time that it took.
        notes: as those of ``talk`` and ``redub``.
        error, hint: the reason of a failure, and what to do.
    """

    job: BatchJob
    state: State
    frames: int = 0
    seconds: float = 0.0
    elapsed_s: float = 0.0
    notes: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        record = {key: value for key, value in asdict(self).items() if key != "job"}
        return {"command": self.job.command, "outfile": str(self.job.outfile), "place": self.job.place, **record}


def batch(
    jobs: AnyPath | Sequence[BatchJob],
    *,
    processes: int = 1,
    engine: Engine = "local",
    log: AnyPath | None = None,
    progress: Progress | None = None,
) -> list[BatchOutcome]:
    """Make many videos; return the end of each job, in the order of the jobs.

    ::

        for outcome in batch("jobs.toml", processes=2):
            print(outcome.job.outfile, outcome.state, outcome.error)

    A job that an earlier run completed, whose inputs and options have not changed since, is skipped. A job that fails
    does not stop the others.

    Args:
        jobs: a job file, see :func:`read_jobs`, or the jobs themselves.
        processes: worker processes; each loads its networks once. A Ray cluster uses all of its own processors.
        engine: ``local`` or ``ray``.
        log: file of completed jobs; for a job file ``NAME.batch.jsonl`` next to it by default, else none.
        progress: called after each job with the number that have ended and the number in all.

    Raises:
        ConfigError: of the job file, ``processes`` or ``engine``.
        OutputError: the log cannot be written.
    """
    outcomes: dict[int, BatchOutcome] = {}
    chosen = list(jobs) if isinstance(jobs, Sequence) and not isinstance(jobs, str) else read_jobs(jobs)
    if (log is None and not isinstance(jobs, Sequence)) or (log is None and isinstance(jobs, str)):
        log = default_log(jobs)
    for index, outcome in outcomes_of(chosen, processes=processes, engine=engine, log=log):
        outcomes[index] = outcome
        if progress is not None:
            progress(len(outcomes), len(chosen))
    return [outcomes[index] for index in range(len(chosen))]


def default_log(jobs: AnyPath) -> Path:
    """Return the log of a job file: ``NAME.batch.jsonl`` next to it."""
    return Path(jobs).with_suffix(".batch.jsonl")


def outcomes_of(
    jobs: Sequence[BatchJob], *, processes: int = 1, engine: Engine = "local", log: AnyPath | None = None
) -> Iterator[tuple[int, BatchOutcome]]:
    """Yield number and end of each job as it ends; arguments and errors as :func:`batch`."""
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise ConfigError(f"processes cannot be {processes!r}", "give a whole number, at least 1")
    work_through = work_through_by(engine)
    finished = _Log(None if log is None else Path(log))
    left = []
    for index, job in enumerate(jobs):
        if (known := finished.outcome_of(job)) is not None:
            yield index, known
        else:
            left.append(index)
    threads = max(1, (os.cpu_count() or 1) // processes) if processes > 1 else 0
    order = sorted(left, key=_first_of_each_video(jobs, left).__getitem__)
    tasks = [(jobs[index], threads) for index in order]
    for number, result in work_through(_execute, tasks, min(processes, max(1, len(tasks)))):
        index = order[number]
        if isinstance(result, Died):
            message = "the process ended unexpectedly, twice"
            hint = "a file may be damaged, or the machine short of memory: try this job alone"
            result = BatchOutcome(jobs[index], "failed", error=message, hint=hint)
        finished.add(result)
        yield index, result


def _first_of_each_video(jobs: Sequence[BatchJob], left: Sequence[int]) -> dict[int, tuple[bool, int]]:
    """Return sort keys that put the first job of each video before its others, which then find it analysed."""
    seen: set[Path] = set()
    keys = {}
    for index in left:
        job = jobs[index]
        again = job.command == "redub" and job.inputs[0] in seen
        seen.add(job.inputs[0])
        keys[index] = (again, index)
    return keys


def _execute(task: tuple[BatchJob, int]) -> BatchOutcome:
    """Run a job in this process."""
    job, threads = task
    start = time.perf_counter()
    try:
        result, notes = _make(job, threads)
    except Speech2VidError as error:
        reason, hint = error.message, error.hint or ""
    except OSError as error:
        reason = f"{error.filename or job.outfile}: {error.strerror or error}"
        hint = "check the path, its permissions and the free disk space"
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: {error}"
        hint = "this is a bug in speech2vid: run the job alone with `speech2vid --debug` and report the output"
    else:
        notes = (*notes, *result.notes)
        return BatchOutcome(job, "done", result.frames, result.seconds, _since(start), notes)
    return BatchOutcome(job, "failed", elapsed_s=_since(start), error=reason, hint=hint)


def _make(job: BatchJob, threads: int) -> tuple[VideoResult, tuple[str, ...]]:
    """Make the video of a job; return it and notes on the networks."""
    options = job.options
    job.outfile.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(options, TalkOptions):
        weights = None if options.weights is None else os.fspath(options.weights)
        talker = _talker(weights, options.generator, options.device, options.engine, threads)
        notes = use_notes(options, hashes_of(talker), "talk")
        return talk(job.inputs, job.audio, job.outfile, options, talker=talker), tuple(notes)
    assert isinstance(options, RedubOptions)
    redubber = _redubber(_of_networks(options))
    notes = use_notes(options, redubber.hashes, "redub")
    return redub(job.inputs[0], job.audio, job.outfile, options, redubber=redubber), tuple(notes)


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


@lru_cache(NETWORKS_KEPT)
def _talker(weights: str | None, generator: str, device: Any, engine: Any, threads: int) -> Talker:
    return talker_for(TalkOptions(weights=weights, generator=generator, device=device, engine=engine), threads)


@lru_cache(NETWORKS_KEPT)
def _redubber(options: RedubOptions) -> Redubber:
    return load_redubber(options)


def _of_networks(options: RedubOptions) -> RedubOptions:
    """Return options that are equal where the same networks are loaded."""
    names = ("weights", "generator", "landmarks", "sharpen", "sharpen_area", "engine", "device", "blend", "region")
    return RedubOptions(**{name: getattr(options, name) for name in (*names, "identity")})


class _Log:
    """What earlier runs completed: one JSON line a job, added when the job ends."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._done: dict[str, dict[str, Any]] = {}
        if path is None or not path.exists():
            return
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{path} cannot be read: {error}", "choose another log with --log") from error
        for line in lines:
            try:
                record = json.loads(line)
                self._done[record["id"]] = record
            except (ValueError, KeyError, TypeError):  # the last line of a run that was killed
                continue

    def outcome_of(self, job: BatchJob) -> BatchOutcome | None:
        """Return the end of a job that is done, whose file is as it was; else None."""
        record = self._done.get(job.id)
        if record is None or stamp(job.outfile)[0] != record.get("bytes"):
            return None
        return BatchOutcome(job, "skipped", int(record["frames"]), float(record["seconds"]))

    def add(self, outcome: BatchOutcome) -> None:
        """Record a job that is done; failed ones are tried again by the next run."""
        if self._path is None or outcome.state != "done":
            return
        facts = {"id": outcome.job.id, "bytes": stamp(outcome.job.outfile)[0], **outcome.to_dict()}
        try:
            with self._path.open("ab") as file:
                if file.tell() and not self._path.read_bytes().endswith(b"\n"):
                    file.write(b"\n")
                file.write(json.dumps(facts).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written: {error.strerror}", "choose another log with --log"
            ) from error
