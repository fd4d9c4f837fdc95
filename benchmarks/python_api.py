"""How long one call of ``talk`` takes from Python: cold, warm, with an identity; alone, in threads and in processes.

    python benchmarks/python_api.py [--recordings 20] [--seconds 2]

Bytes go in and bytes come out. Prints a Markdown table: the median, and the slowest call.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import time
import wave
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from speech2vid import Identity, load_talker, make_identity, talk
from speech2vid.files import package_assets

WORKERS = 2
_identity: Identity | None = None


def recordings(count: int, seconds: float) -> list[bytes]:
    """Return WAV files cut from the bundled speech at different places."""
    with wave.open(str(package_assets() / "demo_speech.wav")) as source:
        layout, rate_hz = source.getparams(), source.getframerate()
        data = source.readframes(source.getnframes())
    width = layout.nchannels * layout.sampwidth
    length = int(seconds * rate_hz) * width
    files = []
    for number in range(count):
        start = number * (len(data) - length) // max(1, count - 1) // width * width
        file = io.BytesIO()
        with wave.open(file, "wb") as target:
            target.setparams(layout)
            target.writeframes(data[start : start + length])
        files.append(file.getvalue())
    return files


def prepare(photo: bytes) -> None:
    """Prepare the identity of a worker process."""
    global _identity
    _identity = make_identity(photo)


def work(audio: bytes) -> int:
    """Generate a video in a worker process and return its size."""
    assert _identity is not None
    return len(talk(_identity, audio))


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    photo = (package_assets() / "astronaut.jpg").read_bytes()
    files = recordings(given.recordings, given.seconds)

    print(f"{given.recordings} recordings of {given.seconds:g} s, one face; {len(os.sched_getaffinity(0))} cores\n")
    print("| call | median s | slowest s |\n|---|---|---|")

    def row(name: str, seconds: list[float]) -> None:
        print(f"| {name} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |", flush=True)

    row("first call of the process", [timed(lambda: talk(photo, files[0]))])
    row("`talk(photo, audio)`", [timed(lambda audio=audio: talk(photo, audio)) for audio in files])  # type: ignore[misc]
    talker = load_talker()
    row("`talk(photo, audio, talker=talker)`", [timed(lambda a=a: talk(photo, a, talker=talker)) for a in files])  # type: ignore[misc]
    identity = make_identity(photo, talker)
    row("`talk(identity, audio)`", [timed(lambda audio=audio: talk(identity, audio)) for audio in files])  # type: ignore[misc]

    print("\n| all recordings, two at a time | s a recording |\n|---|---|")
    with ThreadPoolExecutor(WORKERS) as pool:
        seconds = timed(lambda: list(pool.map(lambda audio: talk(identity, audio), files)))
    print(f"| threads, one identity | {seconds / len(files):.2f} |", flush=True)

    async def gather() -> None:
        limit = asyncio.Semaphore(WORKERS)

        async def one(audio: bytes) -> bytes:
            async with limit:
                return await asyncio.to_thread(talk, identity, audio)

        await asyncio.gather(*(one(audio) for audio in files))

    print(f"| asyncio.to_thread, one identity | {timed(lambda: asyncio.run(gather())) / len(files):.2f} |", flush=True)
    with ProcessPoolExecutor(WORKERS, initializer=prepare, initargs=(photo,)) as processes:
        list(processes.map(work, files[:WORKERS]))  # started and warm
        seconds = timed(lambda: list(processes.map(work, files)))
    print(f"| processes, an identity each | {seconds / len(files):.2f} |", flush=True)


if __name__ == "__main__":
    main()
