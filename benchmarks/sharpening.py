"""What the sharpening network does to generated faces, and what it costs: as they are, sharpened whole, mouth only.

    python benchmarks/sharpening.py --data STORE --sharpener FILE|DIR [--weights DIR|FILE] [--out OUT]

Clips of speakers in the split val, made from five stills with the package's weights (or others); ONNX Runtime, one
thread. Writes ``sharpening.json`` and prints a table; gains are paired over clips, with intervals.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
from table2 import choose, interval, middle, some_tracks

from speech2vid.data.store import SampleStore
from speech2vid.evaluation.metrics import Scorers, Truth, embed_still, evaluate_frames
from speech2vid.evaluation.mouth_metrics import measure_landmarks, mouth_boxes
from speech2vid.evaluation.protocol import five_stills, stills_at
from speech2vid.evaluation.sharpening import mouth_part
from speech2vid.evaluation.statistics import mean_estimate
from speech2vid.evaluation.summary import summarise
from speech2vid.evaluation.weights import load_generator, load_sharpener
from speech2vid.files import atomic_write
from speech2vid.inference.sharpening import sharpened, sharpened_part
from speech2vid.training.dataset import VAL

METRICS = {"sharpness_ratio": 2, "embedding_distance": 3, "identity_distance": 3, "mse": 0, "mouth_error": 2, "ssim": 3}
AS_IT_IS = "as it is"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sharpener", type=Path, required=True, help="folder or file of a sharpening network")
    parser.add_argument("--weights", type=Path, help="of the generator; the package's by default")
    parser.add_argument("--out", type=Path, default=Path("."))
    parser.add_argument("--long", type=int, default=20, help="clips of 3 s or more")
    parser.add_argument("--short", type=int, default=12, help="clips of 1 to 3 s")
    args = parser.parse_args()
    known = {track.record.key: track for track in some_tracks(SampleStore(args.data), VAL, 0)}
    generator, sharpen = load_generator(args.weights, threads=1), load_sharpener(args.sharpener, threads=1)
    scorers = Scorers.load(threads=1)
    values: dict[str, list[tuple[str, dict[str, float]]]] = {}
    seconds: dict[str, float] = {}
    frames = pixels = 0
    for trial in choose(known, args.long, args.short):
        truth, source = Truth.of(middle(known[trial.clip.key]), scorers), known[trial.stills_of.key]
        stills = stills_at(source, five_stills(source))
        generated = generator.speaker(stills).says(truth.track)
        part = mouth_part(mouth_boxes(measure_landmarks(generated, truth.box)))
        pixels += (part.right - part.left) * (part.bottom - part.top)
        ways = {
            AS_IT_IS: lambda generated=generated: generated,
            "sharpened, all of the face": lambda generated=generated: sharpened(generated, sharpen),
            "sharpened, the mouth": lambda generated=generated, part=part: sharpened_part(generated, part, sharpen),
        }
        for name, way in ways.items():
            start = time.perf_counter()
            result = way()
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
            found = evaluate_frames(truth, result, scorers, photo=embed_still(stills[0]))
            values.setdefault(name, []).append((trial.clip.speaker, found))
        frames += len(generated)
    clips = len(values[AS_IT_IS])
    print(f"{clips} clips, {frames} frames; the mouth is a box of {pixels / clips:.0f} px on average, the face 11,881")
    print("| | " + " | ".join(METRICS) + " | ms a frame |\n|---|" + "---|" * (len(METRICS) + 1))
    record = {}
    for name, own in values.items():
        table = {metric: dataclasses.asdict(value) for metric, value in summarise(own).items()}
        ms = 1000 * seconds[name] / frames
        record[name] = {"metrics": table, "ms_a_frame": ms}
        cells = [interval(table[metric], digits) for metric, digits in METRICS.items()]
        print(f"| {name} | " + " | ".join(cells) + f" | {ms:.1f} |")
        if name == AS_IT_IS:
            continue
        changes = []
        for metric, digits in METRICS.items():
            if metric == "sharpness_ratio":
                changes.append("–")
                continue
            pairs = zip(own, values[AS_IT_IS], strict=True)
            change = mean_estimate([a[metric] - b[metric] for (_, a), (_, b) in pairs], [speaker for speaker, _ in own])
            record[name].setdefault("change", {})[metric] = dataclasses.asdict(change)
            changes.append(interval(dataclasses.asdict(change), digits + 1))
        print("| – change | " + " | ".join(changes) + " | |")
    record["boxes"] = {"mouth_px": float(np.mean(pixels / clips)), "clips": clips, "frames": frames}
    args.out.mkdir(parents=True, exist_ok=True)
    atomic_write(args.out / "sharpening.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
