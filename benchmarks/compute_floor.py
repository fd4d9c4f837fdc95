"""What a frame costs in arithmetic, and how near to that the networks come on this machine.

    python benchmarks/compute_floor.py

The multiply-adds of each graph are counted from the shapes that its convolutions and matrix products have when it runs,
unoptimised. The floor is the time in which a matrix product makes as many. Both are measured in turns.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import setting

from speech2vid.constants import MFCC_PER_FRAME
from speech2vid.inference.identity import make_identity
from speech2vid.inference.mouth_motion import CHUNK_FRAMES, SPEECH_TOKENS, SPEECH_TOKENS_PER_FRAME
from speech2vid.inference.talk import BATCH
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpIdentity

ROUNDS = 15
CODE = "import json, sys, compute_floor; print(json.dumps(compute_floor.one_run(int(sys.argv[1]), sys.argv[2])))"


def measure(device: str = "auto") -> dict[str, Any]:
    """Multiply-adds and time a frame, and the share of the floor reached, of each network that runs every frame.

    On one core by core time, which other work on the machine disturbs little, and on all cores by the wall.
    """
    one, all_cores = (setting.child(CODE, str(threads), device, blas_threads=threads) for threads in (1, 0))
    return {"machine": setting.machine(), "one_core": one, "all_cores": all_cores}


def one_run(threads: int, device: str) -> dict[str, Any]:
    """In this process, whose matrix products run on as many threads; 0 for all cores."""
    networks = load_talker(device=device, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        identity = make_identity([setting.make_photo(Path(folder) / "photo.png", 720)], networks)
    window = int(networks.audio_to_mouth.header.config["window_rows"])
    rows = np.zeros((1, window + MFCC_PER_FRAME * (CHUNK_FRAMES - 1), 89), np.float32)
    heard = {"logmel": rows}
    if networks.speech_encoder is not None:
        tokens = SPEECH_TOKENS + SPEECH_TOKENS_PER_FRAME * (CHUNK_FRAMES - 1)
        heard["speech"] = np.zeros((1, tokens, int(networks.speech_encoder.header.config["width"])), np.float32)
    moved_px = np.linspace(-2, 2, BATCH, dtype=np.float32)
    targets = identity.neutral_mouth + moved_px[:, None, None]
    runs = {
        "frames": (lambda: networks.fields(identity.features, identity.mouths, targets), BATCH),
        "audio_to_mouth": (lambda: networks.audio_to_mouth(heard), CHUNK_FRAMES),
    }
    counts = {
        "frames": multiply_adds("warp_talker", "frames", frames_inputs(identity, targets)) / BATCH,
        "audio_to_mouth": multiply_adds("audio_to_mouth", "mouth_motion", heard) / CHUNK_FRAMES,
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}  # on the wall, of all cores
    rates = []
    for _ in range(ROUNDS):  # in turns, so that a busy moment hits both
        rates.append(setting.matrix_rate(0.1))
        for name, (run, frames) in runs.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            spent = time.perf_counter() - start, time.process_time() - cpu_start
            times[name].append((spent[0] / frames, spent[1] / frames))
    way = 1 if threads == 1 else 0
    rate = statistics.median(each[way] for each in rates)
    result: dict[str, Any] = {"matrix_gflops": 2 * rate / 1e9, "networks": {}}
    for name, count in counts.items():
        took_s = statistics.median(each[way] for each in times[name])
        result["networks"][name] = {
            "mmac": count / 1e6,
            "ms": 1e3 * took_s,
            "floor_ms": 1e3 * count / rate,
            "share": count / rate / took_s,
        }
    return result


def frames_inputs(identity: WarpIdentity, targets: np.ndarray) -> dict[str, np.ndarray]:
    return {**identity.features, "mouths": identity.mouths[None], "targets": targets}


def multiply_adds(stem: str, graph: str, inputs: dict[str, np.ndarray]) -> int:
    """Of one call: those of convolutions and matrix products, as the graph is written."""
    folder = Path(str(resources.files("speech2vid") / "weights")).resolve()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.enable_profiling = True
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    with tempfile.TemporaryDirectory() as scratch:
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = onnxruntime.InferenceSession(
            (folder / f"{stem}.{graph}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    total = 0
    for event in events:
        facts = event.get("args", {})
        if not event.get("name", "").endswith("_kernel_time"):
            continue
        shapes = [next(iter(each.values())) for each in facts["input_type_shape"] if each]
        outputs = [next(iter(each.values())) for each in facts["output_type_shape"] if each]
        if facts["op_name"] in ("Conv", "FusedConv"):
            total += prod(outputs[0]) * prod(shapes[1][1:])
        elif facts["op_name"] in ("MatMul", "Gemm"):
            total += prod(outputs[0]) * shapes[0][-1]
        elif facts["op_name"] == "Einsum":
            total += prod(outputs[0]) * shapes[0][-1]  # ours sum over the first one's last axis
    return total


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
