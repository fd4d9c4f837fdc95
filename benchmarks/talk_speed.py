"""How fast `talk` is, where the time goes, and how much memory it takes, for a short and for a long sound.

    python benchmarks/talk_speed.py --out results [--long-s 600] [--weights DIR]

Each run is a process of its own, timed after its imports: from opening the files to the finished video. All ratios come
from one invocation on one machine. Writes ``talk_speed.json`` and ``talk_speed.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from importlib import resources
from pathlib import Path
from typing import Any

STAGES = ("decode", "front_end", "network", "blend", "encode")
PHOTO_PX = 720
HEAD = (100, 0, 360, 260)  # of the bundled portrait, px
SHORT_S = 10.0
REPEATS = 3  # of the short run; the median counts
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the results")
    parser.add_argument("--long-s", type=float, default=600.0, help="seconds of the long sound; 0 leaves it out")
    parser.add_argument("--weights", type=Path, help="folder of weight files instead of the package's own")
    parser.add_argument("--one", nargs=3, metavar=("PHOTO", "SOUND", "VIDEO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_run(*map(Path, arguments.one), arguments.weights)))
        return
    record = measure(arguments.long_s, arguments.weights)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "talk_speed.json").write_text(json.dumps(record, indent=1) + "\n")
    (arguments.out / "talk_speed.md").write_text(markdown(record))
    print(markdown(record))


def one_run(photo: Path, sound: Path, video: Path, weights: Path | None) -> dict[str, Any]:
    """``talk`` in this process: seconds on the wall, frames, work of each stage, memory before and at its peak."""
    from speech2vid import talk

    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    result = talk(photo, sound, video, weights=weights)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "frames": result.frames,
        "wall_s": wall_s,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "fps": result.frames / wall_s,
        "stage_s": result.stage_seconds,
        "imports_mib": _peak_mib(before),
        "peak_mib": _peak_mib(after),
    }


def measure(long_s: float, weights: Path | None) -> dict[str, Any]:
    """Short runs and a long one, in processes of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = make_photo(folder / "photo.png")
        short = [run(photo, make_sound(folder / "short.wav", SHORT_S), weights) for _ in range(REPEATS)]
        long = run(photo, make_sound(folder / "long.wav", long_s), weights) if long_s else None
    middle = sorted(short, key=lambda each: each["fps"])[len(short) // 2]
    work_s = sum(middle["stage_s"].values())
    return {
        "machine": {"cores": len(os.sched_getaffinity(0)), "processor": _processor(), "gflops": matrix_gflops()},
        "photo_px": PHOTO_PX,
        "sound_s": {"short": SHORT_S, "long": long_s},
        "short": middle,
        "short_fps": [round(each["fps"], 2) for each in short],
        "long": long,
        "shares": {stage: middle["stage_s"].get(stage, 0.0) / work_s for stage in STAGES},
        "times_real_time": middle["fps"] / 25,
        "cores_busy": middle["cpu_s"] / middle["wall_s"],
        "memory_long_over_short": long["peak_mib"] / middle["peak_mib"] if long else None,
    }


def run(photo: Path, sound: Path, weights: Path | None) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(photo), str(sound), str(sound.with_suffix(".mp4"))]
    command += ["--weights", str(weights)] if weights else []
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr)
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def make_photo(path: Path) -> Path:
    """The head of the bundled portrait, 720 × 720 px: a face about 400 px wide."""
    from PIL import Image

    assets = Path(str(resources.files("speech2vid") / "assets"))
    with Image.open(assets / "astronaut.jpg") as image:
        image.resize((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS, box=HEAD).save(path)
    return path


def make_sound(path: Path, seconds: float) -> Path:
    """The bundled speech, said again and again."""
    assets = Path(str(resources.files("speech2vid") / "assets"))
    with wave.open(str(assets / "demo_speech.wav")) as source:
        layout, speech = source.getparams(), source.readframes(source.getnframes())
    missing = round(seconds * layout.framerate) * layout.sampwidth * layout.nchannels
    with wave.open(str(path), "wb") as target:
        target.setparams(layout)
        while missing > 0:
            target.writeframesraw(speech[:missing])
            missing -= len(speech)
    return path


def matrix_gflops(size: int = 1024, repeats: int = 5) -> float:
    """What the machine makes of a float32 matrix product, in 10⁹ operations a second: to compare machines by."""
    import numpy as np

    a = np.ones((size, size), np.float32)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        a @ a
        rates.append(2 * size**3 / (time.perf_counter() - start) / 1e9)
    return round(statistics.median(rates), 1)


def markdown(record: dict[str, Any]) -> str:
    """The results as a table."""
    short, long = record["short"], record["long"]
    machine = record["machine"]
    lines = [
        "# Speed of talk",
        "",
        f"{machine['processor']}, {machine['cores']} cores, float32 matrix product {machine['gflops']} GFLOP/s; "
        f"photo {record['photo_px']} px.",
        "",
        "| | |",
        "|---|---|",
        f"| {record['sound_s']['short']:g} s of sound, median of {REPEATS} | {short['frames']} frames in "
        f"{short['wall_s']:.2f} s |",
        f"| frames a second, end to end after imports | {short['fps']:.1f} |",
        f"| times real time (25 frames a second) | {record['times_real_time']:.2f} |",
        f"| cores busy | {record['cores_busy']:.2f} |",
        *(f"| share of the work: {stage} | {share:.0%} |" for stage, share in record["shares"].items()),
        f"| memory after imports | {short['imports_mib']:.0f} MiB |",
        f"| peak memory, {record['sound_s']['short']:g} s | {short['peak_mib']:.0f} MiB |",
    ]
    if long:
        lines += [
            f"| peak memory, {record['sound_s']['long']:g} s | {long['peak_mib']:.0f} MiB, "
            f"{record['memory_long_over_short']:.3f} × that of {record['sound_s']['short']:g} s |",
            f"| frames a second, {record['sound_s']['long']:g} s | {long['fps']:.1f} |",
        ]
    return "\n".join(lines) + "\n"


def _peak_mib(usage: resource.struct_rusage) -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return usage.ru_maxrss * unit / MIB


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
