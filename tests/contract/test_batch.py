"""``batch``: every job ends, failures are reported, and a second run does only what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from processes import start
from speech2vid.errors import ConfigError
from speech2vid.inference.batch import batch
from speech2vid.media import probe

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def write_audio(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        tone = 8000 * np.sin(np.arange(round(seconds * 16_000)) * 0.08)
        file.writeframes(tone.astype("<i2").tobytes())


@pytest.fixture
def jobs(tmp_path: Path, photo: Path) -> Path:
    """A job file whose second job cannot be done."""
    shutil.copy(photo, tmp_path / "face.jpg")
    write_audio(tmp_path / "a.wav", 0.4)
    write_audio(tmp_path / "c.wav", 0.6)
    (tmp_path / "b.wav").write_bytes(b"no audio")
    entries = [
        f'[[talk]]\nface = "face.jpg"\naudio = "{name}.wav"\noutfile = "out/{name}.mp4"\nmax_size_px = 256\n'
        for name in "abc"
    ]
    path = tmp_path / "jobs.toml"
    path.write_text("".join(entries))
    return path


def test_a_failed_job_stops_no_other_and_the_next_run_does_what_is_left(speech2vid: Run, jobs: Path) -> None:
    first = speech2vid("batch", jobs, "--json")
    assert first.returncode == 3, first.stderr
    record = json.loads(first.stdout)
    assert (record["done"], record["skipped"], record["failed"]) == (2, 0, 1)
    states = [(Path(job["outfile"]).name, job["state"], job["frames"]) for job in record["jobs"]]
    assert states == [("a.mp4", "done", 10), ("b.mp4", "failed", 0), ("c.mp4", "done", 15)]
    assert "b.wav" in record["jobs"][1]["error"]
    assert record["jobs"][1]["hint"]
    out = jobs.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "c.mp4"]
    assert round(probe(out / "c.mp4").duration_s * 25) == 15

    write_audio(jobs.parent / "b.wav", 0.2)  # mended
    write_audio(jobs.parent / "c.wav", 0.8)  # changed
    before = (out / "a.mp4").stat().st_mtime_ns
    second = speech2vid("batch", jobs)
    assert second.returncode == 0, second.stderr
    assert "3 jobs: 2 done, 1 done before, 0 failed" in second.stdout
    assert (out / "a.mp4").stat().st_mtime_ns == before
    assert round(probe(out / "c.mp4").duration_s * 25) == 20

    (out / "a.mp4").unlink()
    third = speech2vid("batch", jobs, "--json")
    assert [job["state"] for job in json.loads(third.stdout)["jobs"]] == ["done", "skipped", "skipped"]


def test_the_library_returns_outcomes_in_the_order_of_the_jobs(jobs: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    outcomes = batch(
        jobs, processes=2, log=jobs.parent / "log", progress=lambda done, total: calls.append((done, total))
    )
    assert [outcome.state for outcome in outcomes] == ["done", "failed", "done"]
    assert [outcome.job.audio.name for outcome in outcomes] == ["a.wav", "b.wav", "c.wav"]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert len((jobs.parent / "log").read_text().splitlines()) == 2


@pytest.mark.parametrize("processes", [0, -1, True, "2"])
def test_an_impossible_number_of_processes_is_an_error(processes: object, jobs: Path) -> None:
    with pytest.raises(ConfigError, match="processes cannot be"):
        batch(jobs, processes=processes)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.promise
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_nothing_half_written_stays_and_the_next_run_goes_on(
    number: int, speech2vid: Run, jobs: Path
) -> None:
    long = 30
    write_audio(jobs.parent / "b.wav", long)
    command = [sys.executable, "-c", "from speech2vid.cli import main; main()", "batch", str(jobs)]
    out = jobs.parent / "out"
    with start(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith(os.path.relpath(out / "a.mp4"))  # the long job has begun, or will
        while not any(path.name.startswith(".") for path in out.iterdir()):
            assert run.poll() is None
        run.send_signal(number)
        assert run.wait(60) == (130 if number == signal.SIGINT else -number)
        run.stdout.read()  # ends when no worker holds it any more
    assert [path.name for path in out.iterdir()] == ["a.mp4"]
    result = speech2vid("batch", jobs, "--json")
    assert [job["state"] for job in json.loads(result.stdout)["jobs"]] == ["skipped", "done", "done"]
