"""The results of the suite as the Markdown of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import live

STAGES = {"decode": "audio in", "front_end": "face, features, voice", "network": "network", "blend": "compose"}
HEAD = """# Benchmarks

Written by `benchmarks/suite.py`; do not edit. Each part says which command printed it, on which machine, and how busy
the machine was when it began (load: processes that wanted a core). `cpu` is the time of all cores together, which
suffers less from other work than the time on the wall. Nothing has been measured on a GPU.
"""


def markdown(record: dict[str, Any]) -> str:
    """All parts that were measured."""
    parts = {"talk": _talk, "start": _start, "floor": _floor, "live": _live, "redub": _redub}
    return "\n".join([HEAD, *("\n".join(write(record[name])) for name, write in parts.items() if name in record)])


def _setting(part: dict[str, Any]) -> str:
    machine = part["machine"]
    return (
        f"`{part['command']}` · {machine['date']} · {machine['processor']}, {machine['cores']} cores, load "
        f"{machine['load_before']}, float32 matrix product {part['matrix_gflops']:.0f} GFLOP/s · ONNX Runtime "
        f"{machine['packages']['onnxruntime']}, Python {machine['python']}\n"
    )


def _talk(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## Talk, end to end", "", _setting(part))
    yield "| audio | photo | frames/s | times real time | cpu a frame | cores busy | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for run in part["runs"]:
        yield (
            f"| {run['length_s']:g} s | {run['photo_px']} px | **{run['fps']:.1f}** | {run['fps'] / 25:.2f} | "
            f"{1000 * run['cpu_s'] / run['frames']:.1f} ms | {run['cpu_s'] / run['wall_s']:.2f} | "
            f"{run['peak_mib']:.0f} MiB |"
        )
    yield from ("", "Share of the work by stage (stages overlap):", "")
    stages = list(dict.fromkeys(stage for run in part["runs"] for stage in run["stage_s"]))
    yield from _shares(
        [(f"{run['length_s']:g} s, {run['photo_px']} px", run["stage_s"]) for run in part["runs"]], stages
    )
    yield ""


def _shares(rows: list[tuple[str, dict[str, float]]], stages: list[str]) -> Iterator[str]:
    yield "| | " + " | ".join(STAGES.get(stage, stage) for stage in stages) + " |"
    yield "|---" * (len(stages) + 1) + "|"
    for name, spent in rows:
        total = sum(spent.values())
        yield f"| {name} | " + " | ".join(f"{spent.get(stage, 0) / total:.0%}" for stage in stages) + " |"


def _start(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## From a cold start", "", _setting(part))
    yield from (f"| median of {part['runs']} | s |", "|---|---|")
    yield f"| `speech2vid --help` | {part['help_s']:.2f} |"
    yield f"| first frame of `talk`, 720 px: process start, imports, face, networks | {part['first_frame_s']:.2f} |"
    yield f"| of which imports | {part['imports_s']:.2f} |"
    yield ""


def _floor(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## Arithmetic floor", "", _setting(part))
    yield "Multiply-adds of the graph over the rate of a matrix product, measured in turns with the network: on one"
    yield "core by core time, on all cores by the wall (which, on a busy machine, says little)."
    yield ""
    yield "| | network | 10⁶ multiply-adds a frame | floor | measured | share of the floor's speed |"
    yield "|---|---|---|---|---|---|"
    for key, name in (("one_core", "one core"), ("all_cores", "all cores")):
        rate = f"{name}, {part[key]['matrix_gflops']:.0f} GFLOP/s"
        for network, each in part[key]["networks"].items():
            yield (
                f"| {rate} | {network} | {each['mmac']:.1f} | {each['floor_ms']:.2f} ms | {each['ms']:.2f} ms | "
                f"{each['share']:.0%} |"
            )
    yield ""


def _live(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## Live", "", _setting(part), live.markdown(part))


def _redub(part: dict[str, Any]) -> Iterator[str]:
    yield from ("## Re-dubbing", "", _setting(part))
    yield (
        f"A video of {part['photo_px']} px and {part['length_s']:g} s, its faces not known from before: "
        f"**{part['fps']:.1f} frames/s**, {1000 * part['cpu_s'] / part['frames']:.1f} ms of cpu a frame, peak memory "
        f"{part['peak_mib']:.0f} MiB."
    )
    yield ""
    yield from _shares([("share of the work", part["stage_s"])], list(part["stage_s"]))
    yield ""
