"""Live: audio paced at real time through ``TalkStream``; how late each picture comes, and how many come too late.

    python benchmarks/live.py [--seconds 300] [--photo-px 720] [--chunk-ms 40] [--jpeg]

The audio is what the bundled speech says again and again. A chunk is handed over when its last sample would have been
recorded. The latency of a picture is counted from its middle: the networks look ``look_ahead_s`` ahead of it, the rest
is waiting for the chunk, and computing. A player that shows every picture ``--budget-ms`` after the look-ahead drops
those that come later.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import setting

CODE = "import json, sys, live; print(json.dumps(live.one_run(**json.loads(sys.argv[1]))))"


def measure(seconds: float = 300, **settings: Any) -> dict[str, Any]:
    """One run in a process of its own; settings as :func:`one_run`."""
    return {"machine": setting.machine(), **setting.child(CODE, json.dumps({"seconds": seconds, **settings}))}


def one_run(
    seconds: float,
    photo_px: int = 720,
    chunk_ms: int = 40,
    budget_ms: float = 100,
    jpeg: bool = False,
    device: str = "auto",
) -> dict[str, Any]:
    """Stream in this process."""
    from speech2vid import TalkStream
    from speech2vid.constants import FRAME_RATE_HZ, SAMPLE_RATE_HZ
    from speech2vid.media import load_audio

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio = load_audio(setting.make_audio(folder / "sound.wav", seconds))
        stream = TalkStream.of(setting.make_photo(folder / "photo.png", photo_px), device=device)
    for frame in [*stream.push(np.zeros(2 * SAMPLE_RATE_HZ, np.float32)), *stream.flush()]:  # warm
        assert frame.shape == (photo_px, photo_px, 3)
    encode = _jpeg if jpeg else (lambda frame: None)
    size = SAMPLE_RATE_HZ * chunk_ms // 1000
    latencies, behind, pushes = [], 0.0, []
    memory_mib, cpu_s, given = setting.peak_mib(), setting.cpu_s(), 0
    start = time.perf_counter()
    for at in range(0, len(audio), size):
        due = start + min(at + size, len(audio)) / SAMPLE_RATE_HZ
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        began = time.perf_counter()
        behind = max(behind, began - due)
        for frame in stream.push(audio[at : at + size]):
            encode(frame)
            latencies.append(time.perf_counter() - start - (given + 0.5) / FRAME_RATE_HZ)
            given += 1
        pushes.append(time.perf_counter() - began)
    wall_s, used_s = time.perf_counter() - start, setting.cpu_s() - cpu_s
    look_ahead_s = stream.latency_s
    late = [latency - look_ahead_s for latency in latencies]
    given += len(stream.flush())
    return {
        "seconds": seconds,
        "photo_px": photo_px,
        "chunk_ms": chunk_ms,
        "budget_ms": budget_ms,
        "jpeg": jpeg,
        "device": device,
        "pictures": given,
        "pictures_expected": round(len(audio) / SAMPLE_RATE_HZ * FRAME_RATE_HZ),
        "dropped": sum(each > budget_ms / 1000 for each in late),
        "look_ahead_ms": 1000 * look_ahead_s,
        "latency_ms": _spread(latencies),
        "after_look_ahead_ms": _spread(late),
        "push_ms": _spread(pushes),
        "most_behind_ms": 1000 * behind,
        "cpu_share_of_a_core": used_s / wall_s,
        "cpu_ms_a_picture": 1000 * used_s / max(1, len(latencies)),
        "peak_mib": setting.peak_mib(),
        "growth_mib": setting.peak_mib() - memory_mib,
    }


def markdown(record: dict[str, Any]) -> str:
    """One run as a table."""
    latency, late, push = record["latency_ms"], record["after_look_ahead_ms"], record["push_ms"]
    lines = [
        f"{record['seconds']:g} s of audio in real time, in chunks of {record['chunk_ms']} ms, photo of "
        f"{record['photo_px']} px{', JPEG included' if record['jpeg'] else ''}, device {record['device']}.",
        "",
        "| ms | median | 99 % below | most |",
        "|---|---|---|---|",
        f"| from the middle of a frame until it is available | {latency['median']:.0f} | {latency['p99']:.0f} | "
        f"{latency['most']:.0f} |",
        f"| of which beyond the look-ahead of {record['look_ahead_ms']:.1f} ms | {late['median']:.0f} | "
        f"{late['p99']:.0f} | {late['most']:.0f} |",
        f"| one call of `push` | {push['median']:.1f} | {push['p99']:.1f} | {push['most']:.1f} |",
        "",
        f"Frames: {record['pictures']} of {record['pictures_expected']}. A player that shows them "
        f"{record['budget_ms']:g} ms after the look-ahead drops {record['dropped']}. CPU load: "
        f"{record['cpu_share_of_a_core']:.0%} of one core, {record['cpu_ms_a_picture']:.1f} ms per frame. "
        f"Peak memory: {record['peak_mib']:.0f} MiB; growth while streaming: "
        f"{record['growth_mib']:.1f} MiB.",
    ]
    return "\n".join(lines) + "\n"


def _spread(seconds: list[float]) -> dict[str, float]:
    values = np.array(seconds) * 1000
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99)), "most": float(values.max())}


def _jpeg(frame: np.ndarray) -> bytes:
    from speech2vid.app.live import to_jpeg

    return to_jpeg(frame, 85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--photo-px", type=int, default=720)
    parser.add_argument("--chunk-ms", type=int, default=40)
    parser.add_argument("--budget-ms", type=float, default=100)
    parser.add_argument("--jpeg", action="store_true", help="count encoding, as `speech2vid serve` does it")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    given = vars(parser.parse_args())
    as_json = given.pop("json")
    record = measure(**given)
    print(json.dumps(record, indent=1) if as_json else markdown(record), end="")


if __name__ == "__main__":
    main()
