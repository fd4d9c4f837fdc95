"""Table 2 of the paper with our own numbers: every variant trained alike, then measured, raw and sharpened (Sect. 5).

    python benchmarks/table2.py --data STORE --out OUT [--doc docs/table2.md] [--steps 250] [--toy]

All rows see the same tracks, the same number of updates of the same batches, and the same first seed; they are measured
on the same clips of speakers that none of them has seen. Run again with the same arguments it carries on: a row that is
trained is not trained again, one that is measured not measured again. ``--toy`` is the same code at the smallest size.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speech2vid import __version__
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import ConfigError, DataError, Speech2VidError
from speech2vid.evaluation.metrics import Scorers, Truth, embed_still, evaluate_frames
from speech2vid.evaluation.protocol import Trial, five_stills, plan_trials, stills_at
from speech2vid.evaluation.sharpening import sharpened
from speech2vid.evaluation.statistics import Estimate, mean_estimate
from speech2vid.evaluation.summary import summarise
from speech2vid.evaluation.weights import load_generator, load_sharpener
from speech2vid.files import atomic_write
from speech2vid.training.config import TrainConfig
from speech2vid.training.dataset import TRAIN, VAL, TrackSet
from speech2vid.training.distributed import Distributed, start_distributed
from speech2vid.training.export import pack
from speech2vid.training.logger import LOG
from speech2vid.training.train import described, train_tasks

# Row → what it is called, and its settings of the stage `talker`. `five` is what the others differ from in one thing.
FIVE = {"skips": "paper", "identity_images": 5, "generation": "upsample"}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "five": ("five images, two skips, upsampling, L1", {"network": FIVE}),
    "none": ("… no skip", {"network": {**FIVE, "skips": "none"}}),
    "one": ("… one image", {"network": {**FIVE, "identity_images": 1}}),
    "transposed": ("… transposed convolution", {"network": {**FIVE, "generation": "transposed"}}),
    "v201": ("… three skips (v201)", {"network": {**FIVE, "skips": "v201"}}),
    "identity": ("… identity encoder from `train identity`", {"network": FIVE, "identity_init": "identity"}),
    "content": ("… content loss", {"network": FIVE, "loss": "content"}),
    "mouth": ("ours: … the mouth's L1 beside the face's", {"network": FIVE, "mouth": 1.0}),
    "warp": ("ours: `warp`, five images", {}),
    "seed": ("five images again, another seed", {"network": FIVE, "seed": 1}),
}
TRUTH, STILL, SHUFFLED = "truth", "still", "shuffled"
NAMES = {
    TRUTH: "the true video",
    STILL: "the still in the middle, unmoved",
    SHUFFLED: "five images …, another clip's audio",
    **{row: name for row, (name, _) in ROWS.items()},
}
# Claim of Sect. 5 → better row, other row, metric, whether higher is better.
RAW, SHARP = "raw", "sharpened"
Side = tuple[str, str]
CLAIMS: list[tuple[str, Side, Side, str, bool]] = [
    ("sharpening lowers the embedding distance", ("five", SHARP), ("five", RAW), "embedding_distance", False),
    ("… of three skips", ("v201", SHARP), ("v201", RAW), "embedding_distance", False),
    ("… of content loss", ("content", SHARP), ("content", RAW), "embedding_distance", False),
    ("upsampling beats transposed convolution", ("five", RAW), ("transposed", RAW), "embedding_distance", False),
    ("L1 is better than content loss on MSE", ("five", RAW), ("content", RAW), "mse", False),
    ("content loss lowers the embedding distance", ("content", RAW), ("five", RAW), "embedding_distance", False),
    ("five images beat one: MSE", ("five", RAW), ("one", RAW), "mse", False),
    ("five images beat one: embedding distance", ("five", RAW), ("one", RAW), "embedding_distance", False),
    ("skips keep identity", ("five", RAW), ("none", RAW), "embedding_distance", False),
    ("a third skip (v201) keeps more of it", ("v201", RAW), ("five", RAW), "embedding_distance", False),
    ("a trained identity encoder helps: MSE", ("identity", RAW), ("five", RAW), "mse", False),
    ("… embedding distance", ("identity", RAW), ("five", RAW), "embedding_distance", False),
    ("retrieval lies below that of the truth", (TRUTH, RAW), ("five", RAW), "retrieval_accuracy", True),
    ("… and above that with another audio", ("five", RAW), (SHUFFLED, RAW), "retrieval_accuracy", True),
    ("the mouth's own L1 moves the lips", ("mouth", RAW), ("five", RAW), "opening_correlation", True),
    ("… and is retrieved better", ("mouth", RAW), ("five", RAW), "retrieval_accuracy", True),
    ("`warp` moves the lips better than RGB output", ("warp", RAW), ("five", RAW), "opening_correlation", True),
    ("… and is retrieved better", ("warp", RAW), ("five", RAW), "retrieval_accuracy", True),
    ("what another seed alone changes: MSE", ("seed", RAW), ("five", RAW), "mse", False),
    ("… embedding distance", ("seed", RAW), ("five", RAW), "embedding_distance", False),
]
COLUMNS = {
    "mse": ("MSE, 0–255", 0),
    "embedding_distance": ("embedding distance", 3),
    "retrieval_accuracy": ("retrieval", 2),
    "opening_correlation": ("lip opening r", 2),
    "sharpness_ratio": ("sharpness / true", 2),
    "mouth_error": ("mouth error", 1),
    "ssim": ("SSIM", 3),
}
PLAIN = dict.fromkeys(("features", "landmarks", "adversarial", "feature_matching"), 0.0)
WARP_TASKS: dict[str, dict[str, Any]] = {
    "warp_talker": {"network": {"width": 16}, "frames": 4, **PLAIN},
    "audio_to_mouth": {"batch": 16, "learning_rate": 2e-3},
}
LONG_FRAMES = 75  # clips this long are measured with retrieval; of each so many frames from its middle:
MEASURED_FRAMES = 50
AVERAGE = 0.97  # the weights measured are a running mean over about the last 30 updates
LEAST_CLIPS = 8  # from which an interval over clips is worth something
TOY = {"steps": 3, "batch": 2, "frames": 2, "size": "small", "tracks": 2, "long": 1, "short": 2, "sharpener": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a sample store with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="folder for trainings and measurements")
    parser.add_argument("--doc", type=Path, help="also write the table to this file, and its JSON beside it")
    parser.add_argument("--steps", type=int, default=250, help="updates of every row")
    parser.add_argument("--batch", type=int, default=6, help="people in an update")
    parser.add_argument("--frames", type=int, default=4, help="target frames a person")
    parser.add_argument("--size", default="small", help="of the paper's networks: paper, compact, small")
    parser.add_argument("--tracks", type=int, default=8, help="tracks of a speaker that are trained on; 0 for all")
    parser.add_argument("--long", type=int, default=20, help="clips of 3 s or more that are measured")
    parser.add_argument("--short", type=int, default=12, help="clips of 1 to 3 s that are measured")
    parser.add_argument("--sharpener", type=int, default=32, help="channels of the sharpener; the paper has 64")
    parser.add_argument("--precision", default="float32", help="of the multiplications in training: float32, bfloat16")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="rows to train")
    parser.add_argument("--note", default="", help="a sentence at the end of the table, as on what else was running")
    parser.add_argument("--toy", action="store_true", help="everything as small as it goes")
    args = parser.parse_args()
    if args.toy:
        vars(args).update(TOY)
    settings = {name: getattr(args, name) for name in (*TOY, "precision")}
    same_study(args.out, settings)

    # 1. The data: the same for every row.
    store = SampleStore(args.data)
    train, val = (TrackSet(some_tracks(store, split, args.tracks)) for split in (TRAIN, VAL))
    print(f"training on {described(train)}; judged on {len(val.by_speaker)} other speakers", flush=True)

    # 2. Every row, and what rows need: a face network to start from, a sharpener.
    with start_distributed("cpu") as here:
        common = {"batch": args.batch, "steps": args.steps, "validate_every": args.steps, "warmup": args.steps // 10}
        common |= {"precision": args.precision, "ema": AVERAGE}
        size = {"size": args.size}
        train_row(
            "identity", {"identity": {**common, "batch": 4 * args.batch, "network": size}}, train, val, args, here
        )
        width = {"channels": args.sharpener}
        train_row("sharpener", {"sharpener": {**common, "batch": 16, "network": width}}, train, val, args, here)
        for row in args.rows:
            if row == "warp":
                tables = {task: {**common, **changes} for task, changes in WARP_TASKS.items()}
            else:
                changes = dict(ROWS[row][1])
                changes["network"] = {**changes["network"], **size}
                if "identity_init" in changes:
                    changes["identity_init"] = str(trained(args.out, "identity") / "identity" / "best.safetensors")
                tables = {"paper_talker": {**common, "frames": args.frames, **changes}}
            train_row(f"row-{row}", tables, train, val, args, here)

    # 3. Each row measured on the same clips, raw and sharpened.
    measure(args, store)

    # 4. The table.
    record = tabulate(args, settings, described(train))
    text = markdown(record)
    atomic_write(args.out / "table2.json", (json.dumps(record, indent=1) + "\n").encode())
    atomic_write(args.out / "table2.md", text.encode())
    if args.doc:
        atomic_write(args.doc, text.encode())
        atomic_write(args.doc.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    print(text)


def same_study(out: Path, settings: dict[str, Any]) -> None:
    """A folder holds one study: its rows can be compared because their settings are the same."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "settings.json"
    if file.is_file() and (then := json.loads(file.read_text())) != settings:
        raise ConfigError(f"{out} holds a study with other settings: {then}", "use them again, or another --out")
    atomic_write(file, json.dumps(settings).encode())


def some_tracks(store: SampleStore, split: str, most: int) -> Iterator[Track]:
    """The first tracks of each speaker, as the store gives them."""
    count: dict[str, int] = defaultdict(int)
    for track in store.tracks(split, stored=True):
        count[track.record.speaker] += 1
        if not most or count[track.record.speaker] <= most:
            yield dataclasses.replace(track, frames=np.asarray(track.frames))


def trained(out: Path, name: str) -> Path:
    return out / "training" / name


def train_row(
    name: str, tables: dict[str, Any], train: TrackSet, val: TrackSet, args: argparse.Namespace, here: Distributed
) -> None:
    """Train what a row consists of and note what it cost; nothing is done where that note is."""
    folder = trained(args.out, name)
    note = folder / "cost.json"
    if note.is_file():
        return
    print(f"{time.strftime('%H:%M:%S')} training {name}", flush=True)
    wall, work = time.perf_counter(), time.process_time()
    best = train_tasks(train, val, folder, TrainConfig.from_dict(tables), here, resume=True)
    cost = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - work,
        "stages": {task: speed(folder / task / LOG) for task in best},
    }
    if "warp_talker" in best or "sharpener" in best:
        pack(best, folder / "weights", data=described(train))
    atomic_write(note, json.dumps(cost).encode())


def speed(log: Path) -> dict[str, float]:
    """What the log says last of items a second and of the share of time spent waiting for data."""
    found = re.findall(r"([\d.]+) items/s, waiting for data ([\d.]+)%", log.read_text())
    return {"items_a_second": float(found[-1][0]), "waiting": float(found[-1][1]) / 100} if found else {}


def measure(args: argparse.Namespace, store: SampleStore) -> None:
    """Write ``measured/ROW.json``: clip → version → metric → value, for each row that is not measured yet."""
    folder = args.out / "measured"
    folder.mkdir(exist_ok=True)
    missing = [row for row in (TRUTH, STILL, SHUFFLED, *args.rows) if not (folder / f"{row}.json").is_file()]
    if not missing:
        return
    known = {track.record.key: track for track in some_tracks(store, VAL, 0)}
    chosen = choose(known, args.long, args.short)
    scorers = Scorers.load(threads=1)
    truths = {trial.clip.key: Truth.of(middle(known[trial.clip.key]), scorers) for trial in chosen}
    sharpen = load_sharpener(trained(args.out, "sharpener") / "weights", threads=1)
    for row in missing:
        print(f"{time.strftime('%H:%M:%S')} measuring {row}", flush=True)
        source = "five" if row in (TRUTH, STILL, SHUFFLED) else row
        weights = trained(args.out, f"row-{source}")
        path = weights / "weights" if source == "warp" else weights / "paper_talker" / "best.safetensors"
        generator = load_generator(path, threads=1)
        clips, seconds = {}, {RAW: 0.0, SHARP: 0.0}
        for trial in chosen:
            truth, source_track = truths[trial.clip.key], known[trial.stills_of.key]
            stills = stills_at(source_track, five_stills(source_track))
            photo = embed_still(stills[2])
            if row == TRUTH:
                versions = {RAW: truth.frames}
            elif row == STILL:
                versions = {RAW: np.repeat(stills[2].aligned.image[None], len(truth.frames), axis=0)}
            elif row == SHUFFLED:
                versions = {RAW: generator.speaker(stills).says(known[trial.other.key], len(truth.frames))}
            else:
                start = time.perf_counter()
                versions = {RAW: generator.speaker(stills).says(truth.track)}
                inner_mouth_mask = time.perf_counter()
                versions[SHARP] = sharpened(versions[RAW], sharpen)
                seconds[RAW] += inner_mouth_mask - start
                seconds[SHARP] += time.perf_counter() - inner_mouth_mask
            clips[trial.clip.key] = {
                "speaker": trial.clip.speaker,
                **{name: evaluate_frames(truth, frames, scorers, photo=photo) for name, frames in versions.items()},
            }
        frames = sum(len(truth.frames) for truth in truths.values())
        costs = {name: 1000 * value / frames for name, value in seconds.items()}
        atomic_write(folder / f"{row}.json", json.dumps({"ms_a_frame": costs, "clips": clips}).encode())


def choose(known: dict[str, Track], long: int, short: int) -> list[Trial]:
    """So many clips of 3 s or more, and so many shorter ones; in each group speaker by speaker in turn."""
    trials = plan_trials(track.record for track in known.values())
    groups = [[each for each in trials if (each.clip.frames >= LONG_FRAMES) == is_long] for is_long in (True, False)]
    chosen = [*spread(groups[0], long), *spread(groups[1], short)]
    if not chosen:
        raise DataError("the store has no clip of a second or more to measure", "prepare longer videos")
    return chosen


def spread(trials: list[Trial], count: int) -> list[Trial]:
    """So many trials, speaker by speaker in turn."""
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for order, trial in enumerate(trials):
        ranked.append((turns[trial.clip.speaker], order, trial))
        turns[trial.clip.speaker] += 1
    return [trial for _, _, trial in sorted(ranked, key=lambda each: each[:2])[:count]]


def middle(track: Track) -> Track:
    """The middle frames of a long track; its audio stays whole, so that every offset can be tried."""
    first = max(0, (len(track) - MEASURED_FRAMES) // 2)
    part = slice(first, first + MEASURED_FRAMES)
    frames = track.frames[part]
    lead = track.record.audio_lead_frames + first
    return dataclasses.replace(
        track,
        record=dataclasses.replace(track.record, frames=len(frames), audio_lead_frames=lead),
        frames=frames,
        landmarks=track.landmarks[part],
        source_landmarks=track.source_landmarks[part],
        transforms=track.transforms[part],
    )


def tabulate(args: argparse.Namespace, settings: dict[str, Any], data: str) -> dict[str, Any]:
    """Everything that the table says, as JSON values."""
    measured = {path.stem: json.loads(path.read_text()) for path in sorted((args.out / "measured").glob("*.json"))}
    rows: dict[str, dict[str, dict[str, Estimate]]] = {}
    for row, found in measured.items():
        versions = [name for name in (RAW, SHARP) if name in next(iter(found["clips"].values()))]
        rows[row] = {
            name: summarise((clip["speaker"], clip[name]) for clip in found["clips"].values()) for name in versions
        }
    claims = []
    for text, ours, theirs, metric, higher in CLAIMS:
        gain = paired(measured, ours, theirs, metric, higher)
        if gain is not None:
            by_seed = paired(measured, ("seed", RAW), ("five", RAW), metric, higher)
            luck = 0.0 if by_seed is None or ours[0] == theirs[0] else abs(by_seed.value)
            record = {"claim": text, "metric": metric, "gain": dataclasses.asdict(gain)}
            claims.append({**record, "verdict": "" if ours[0] == "seed" else verdict(gain, luck)})
    trainings = {path.parent.name: json.loads(path.read_text()) for path in trained(args.out, "").glob("*/cost.json")}
    return {
        "version": __version__,
        "date": time.strftime("%Y-%m-%d"),
        "command": "python benchmarks/table2.py --data STORE --out OUT "
        + " ".join(f"--{name} {value}" for name, value in settings.items()),
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} used by the networks",
        "settings": settings,
        "note": args.note,
        "data": data,
        "clips": len(next(iter(measured.values()))["clips"]),
        "speakers": len({clip["speaker"] for clip in next(iter(measured.values()))["clips"].values()}),
        "rows": {
            row: {
                name: {metric: dataclasses.asdict(value) for metric, value in table.items()}
                for name, table in own.items()
            }
            for row, own in rows.items()
        },
        "claims": claims,
        "ms_a_frame": {
            row: found["ms_a_frame"] for row, found in measured.items() if any(found["ms_a_frame"].values())
        },
        "trainings": trainings,
    }


def paired(measured: dict[str, Any], ours: Side, theirs: Side, metric: str, higher: bool) -> Estimate | None:
    """By how much one row is better than another on the same clips; None where a row is not there."""
    if ours[0] not in measured or theirs[0] not in measured:
        return None
    gains, speakers = [], []
    for key, clip in measured[ours[0]]["clips"].items():
        a, b = (measured[row]["clips"][key][version].get(metric) for row, version in (ours, theirs))
        if a is not None and b is not None:
            gains.append(a - b if higher else b - a)
            speakers.append(clip["speaker"])
    return mean_estimate(gains, speakers) if gains else None


def verdict(gain: Estimate, luck: float) -> str:
    """What the interval says; nothing where it is of few clips, or where another seed alone changes as much."""
    if gain.clips < LEAST_CLIPS:
        return f"not decidable: {gain.clips} clips"
    if gain.low <= 0 <= gain.high:
        return "not decidable at this size"
    if abs(gain.value) <= luck:
        return "not decidable: another seed changes as much"
    return "confirmed" if gain.value > 0 else "not confirmed: the contrary"


def markdown(record: dict[str, Any]) -> str:
    """The document."""
    args = record["settings"]
    lines = [
        "# Table 2, with our own numbers",
        "",
        f"Made by the command below on {record['date']}, version {record['version']}. {record['machine']}.",
        "",
        "```",
        record["command"],
        "```",
        "",
        f"Every row: {args['steps']} updates of {args['batch']} people with {args['frames']} frames each, networks of "
        f"size `{args['size']}`, AdamW, {args['precision']}, one seed, trained on {record['data']}; `warp` with "
        f"{WARP_TASKS['picture']['network']['width']} channels, without reader and critic, its audio side in as "
        f"many updates. Measured on {record['clips']} clips of {record['speakers']} speakers that no row has seen, "
        "from five stills of another clip where there is one; of clips of "
        f"{LONG_FRAMES / FRAME_RATE_HZ:.0f} s or more the {MEASURED_FRAMES} frames in the middle. Retrieval (of ±15 "
        "frames, within ±1; chance 0.10) is told of those only. Intervals: 95 %, bootstrap over clips; what another "
        "seed would change is not in them, but in the last lines of the second table. The similarity "
        "of a mouth that does not move is a smooth curve, highest at an end of the range: hence less than chance.",
        "",
        "| row | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for row in NAMES:
        for version, table in record["rows"].get(row, {}).items():
            name = NAMES[row] if version == RAW else "– sharpened"
            lines.append(f"| {name} | " + " | ".join(cell(table.get(key), key) for key in COLUMNS) + " |")
    lines += [
        "",
        "## Each claim",
        "",
        "Gain: by how much the row that should be better is better on the same clips. A difference between two "
        "trainings that is no larger than what another seed makes is not decided.",
        "",
        "| claim | metric | gain | at this size |",
        "|---|---|---|---|",
    ]
    for each in record["claims"]:
        name, digits = COLUMNS[each["metric"]]
        lines.append(f"| {each['claim']} | {name} | {interval(each['gain'], digits + 1)} | {each['verdict']} |")
    lines += ["", "## What it cost", "", "| training | CPU s | on the wall, s | items/s | waiting for data |"]
    lines.append("|---|---|---|---|---|")
    for name, cost in sorted(record["trainings"].items()):
        times = [f"{cost['cpu_s']:.0f}", f"{cost['wall_s']:.0f}"]  # of all its stages
        for task, found in cost["stages"].items():
            label = name if len(cost["stages"]) == 1 else f"{name}, {task}"
            pace = [f"{found['items_a_second']:.1f}", f"{found['waiting']:.1%}"] if found else ["–", "–"]
            lines.append(f"| {label} | " + " | ".join([*times, *pace]) + " |")
            times = ["with the line above", ""]
    costs = [each for each in record["ms_a_frame"].values() if each[SHARP]]
    if costs:
        sharp = np.median([each[SHARP] for each in costs])
        raw = np.median([each[RAW] for row, each in record["ms_a_frame"].items() if row != "warp"])
        lines += [
            "",
            f"Milliseconds a frame, median over the rows, on the wall: the paper's talker {raw:.0f}, the sharpener of "
            f"{args['sharpener']} channels {sharp:.0f}.",
        ]
    if record["note"]:
        lines += ["", record["note"]]
    return "\n".join(lines) + "\n"


def cell(estimate: dict[str, Any] | None, metric: str) -> str:
    return "–" if estimate is None else interval(estimate, COLUMNS[metric][1])


def interval(estimate: dict[str, Any], digits: int) -> str:
    value, low, high = (f"{estimate[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    try:
        main()
    except Speech2VidError as error:
        sys.exit(str(error))
