"""What every benchmark here shares: inputs made from the packaged portrait and speech, the machine, child processes."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import wave
from importlib import metadata, resources
from pathlib import Path
from typing import Any

MIB = 2**20
HEAD = (100, 0, 360, 260)  # of the bundled portrait, px: a face that fills 55 % of the width
PACKAGES = ("onnxruntime", "numpy", "av", "opencv-python-headless", "dlib-bin")


def make_photo(path: Path, side_px: int) -> Path:
    """The head of the bundled portrait, square."""
    from PIL import Image

    assets = Path(str(resources.files("speech2vid") / "assets"))
    with Image.open(assets / "astronaut.jpg") as image:
        image.resize((side_px, side_px), Image.Resampling.LANCZOS, box=HEAD).save(path)
    return path


def make_audio(path: Path, seconds: float) -> Path:
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


def machine() -> dict[str, Any]:
    """What ran it, and how busy it was with other things."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "load_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d"),
    }


def matrix_rate(seconds: float = 0.5, size: int = 1024) -> tuple[float, float]:
    """Multiply-adds of a float32 matrix product: by the second on the wall, and of core time, now."""
    import numpy as np

    a = np.ones((size, size), np.float32)
    walls, cores = [], []
    end = time.perf_counter() + seconds
    while not walls or time.perf_counter() < end:
        start, cpu_start = time.perf_counter(), time.process_time()
        a @ a
        walls.append(size**3 / (time.perf_counter() - start))
        cores.append(size**3 / max(1e-9, time.process_time() - cpu_start))
    return statistics.median(walls), statistics.median(cores)


def peak_mib() -> float:
    """The most memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def cpu_s() -> float:
    """Seconds of all cores that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def child(code: str, *arguments: str, blas_threads: int = 0) -> dict[str, Any]:
    """Run Python code in a process of its own, with this folder on its path; the last line it prints is JSON."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])}
    if blas_threads:
        environment |= {name: str(blas_threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        sys.exit(result.stderr)
    record: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return record


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
