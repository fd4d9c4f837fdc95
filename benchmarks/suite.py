"""The benchmarks of docs/benchmarks.md: talk end to end and by stage, cold start, arithmetic floor, live, re-dubbing.

    python benchmarks/suite.py --out docs [--only talk,start,floor,live,redub]
        [--lengths 5,10,60,600] [--sizes 256,720,1080] [--repeats 3] [--live-s 300] [--device auto]

Each run is a separate process, timed from opening the files to the finished video; only the cold start includes the
imports. Writes ``benchmarks.json`` and ``benchmarks.md``; parts that are not run keep their earlier results. Nothing
has been measured with ``--device cuda`` yet.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compute_floor
import live
import setting
import tables

SIZE_PX, LENGTH_S = 720, 60.0  # what varies while the other stays
ONE_RUN = "import json, sys, suite; print(json.dumps(suite.one_run(*sys.argv[1:])))"
FIRST_FRAME = "import json, sys, suite; print(json.dumps(suite.first_frame(*sys.argv[1:])))"


def one_run(command: str, face: str, audio: str, video: str, device: str) -> dict[str, Any]:
    """Run ``talk`` or ``redub`` in this process."""
    from speech2vid.inference.talk import talk

    make: Callable[..., Any] = talk
    options: dict[str, Any] = {"device": device}
    if command == "redub":
        from speech2vid.inference.redub import redub as make

        options["cache"] = False
    imports_mib, cpu_s, start = setting.peak_mib(), setting.cpu_s(), time.perf_counter()
    result = make(face, audio, video, **options)
    wall_s = time.perf_counter() - start
    return {
        "frames": result.frames,
        "wall_s": wall_s,
        "cpu_s": setting.cpu_s() - cpu_s,
        "fps": result.frames / wall_s,
        "stage_s": result.stage_seconds,
        "imports_mib": imports_mib,
        "peak_mib": setting.peak_mib(),
    }


def first_frame(photo: str, audio: str, video: str, started: str, device: str) -> dict[str, Any]:
    """Measure the seconds from process start, imports included, to the first frame handed to the encoder."""
    from speech2vid import talk

    imported_s = time.time() - float(started)
    first_s: list[float] = []

    def note(done: int, total: int | None) -> None:
        first_s.append(time.time() - float(started)) if done == 1 else None

    talk(photo, audio, video, device=device, progress=note)
    return {"imports_s": imported_s, "first_frame_s": first_s[0]}


def measure_talk(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every length at 720 px, and every size at 60 s (or the longest length that is measured)."""
    usual = LENGTH_S if LENGTH_S in given.lengths else max(given.lengths)
    wanted = [(length, SIZE_PX) for length in given.lengths]
    wanted += [(usual, size) for size in given.sizes if size != SIZE_PX]
    runs = []
    for length, size in wanted:
        photo = setting.make_photo(folder / f"{size}.png", size)
        audio = setting.make_audio(folder / f"{length:g}.wav", length)
        repeats = given.repeats if length <= LENGTH_S else 1
        words = ("talk", str(photo), str(audio), str(folder / "talk.mp4"), given.device)
        tried = [setting.child(ONE_RUN, *words) for _ in range(repeats)]
        middle = sorted(tried, key=lambda each: each["fps"])[len(tried) // 2]
        all_fps = [round(each["fps"], 1) for each in tried]
        runs.append({"length_s": length, "photo_px": size, **middle, "fps_of_all_runs": all_fps})
    return {"runs": runs, "device": given.device}


def measure_start(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """``--help``, and the first frame of ``talk``, from a cold process (the files may be in the system's cache)."""
    photo, audio = setting.make_photo(folder / "photo.png", SIZE_PX), setting.make_audio(folder / "sound.wav", 10)
    helps, firsts = [], []
    for _ in range(2 * given.repeats - 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from speech2vid.cli import main; main()", "--help"], capture_output=True)
        helps.append(time.perf_counter() - start)
        words = (str(photo), str(audio), str(folder / "talk.mp4"), str(time.time()), given.device)
        firsts.append(setting.child(FIRST_FRAME, *words))
    middle = sorted(firsts, key=lambda each: each["first_frame_s"])[len(firsts) // 2]
    return {"help_s": statistics.median(helps), **middle, "runs": len(firsts)}


def measure_redub(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A talking-face video made by ``talk``, its faces not known from before, with another audio."""
    length = min(LENGTH_S, max(given.lengths))
    photo = setting.make_photo(folder / "photo.png", SIZE_PX)
    audio = setting.make_audio(folder / "sound.wav", length)
    setting.child(ONE_RUN, "talk", str(photo), str(audio), str(folder / "source.mp4"), given.device)
    words = ("redub", str(folder / "source.mp4"), str(audio), str(folder / "redub.mp4"), given.device)
    return {"length_s": length, "photo_px": SIZE_PX, **setting.child(ONE_RUN, *words)}


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "talk": measure_talk,
    "start": measure_start,
    "floor": lambda given, folder: compute_floor.measure(given.device),
    "live": lambda given, folder: live.measure(given.live_s, device=given.device),
    "redub": measure_redub,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."), help="output folder")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help="comma-separated parts")
    parser.add_argument("--lengths", type=_numbers, default=[5.0, 10.0, 60.0, 600.0], help="audio durations in seconds")
    parser.add_argument("--sizes", type=_numbers, default=[256.0, 720.0, 1080.0], help="photo sizes in pixels")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions of runs up to 60 s; the median is reported")
    parser.add_argument("--live-s", type=float, default=300.0, help="duration of the live run in seconds")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    given.sizes = [int(size) for size in given.sizes]
    given.out.mkdir(parents=True, exist_ok=True)
    store = given.out / "benchmarks.json"
    record = json.loads(store.read_text()) if store.exists() else {}
    command = shlex.join(["python", "benchmarks/suite.py", *sys.argv[1:]])
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            facts = {
                "machine": setting.machine(),
                "command": command,
                "matrix_gflops": setting.matrix_rate()[0] * 2 / 1e9,
            }
            record[name] = {**facts, **PARTS[name](given, Path(folder))}
        store.write_text(json.dumps(record, indent=1) + "\n")
        (given.out / "benchmarks.md").write_text(tables.markdown(record))
    print(tables.markdown(record))


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


if __name__ == "__main__":
    main()
