"""Table 2 of the paper with our own numbers: train every variant alike, then measure it raw and sharpened (Sect. 5).

    python benchmarks/table2.py --data STORE --out OUT [--doc docs/table2.md] [--steps 250] [--toy]
    python benchmarks/table2.py --render docs/table2.json

All rows use the same tracks, the same number of updates of the same batches and (except where a row says otherwise) the
same seed. They are measured on the same clips of speakers that none of them was trained on. Run the command again to
continue: rows that are trained or measured already are kept. ``--toy`` runs the same code at the smallest size.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
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
from speech2vid.evaluation.statistics import Estimate, mean_estimate
from speech2vid.evaluation.summary import summarise
from speech2vid.evaluation.weights import load_generator, load_sharpener
from speech2vid.files import atomic_write
from speech2vid.inference.sharpening import sharpened
from speech2vid.training.config import TrainConfig
from speech2vid.training.dataset import TRAIN, VAL, TrackSet
from speech2vid.training.distributed import Distributed, start_distributed
from speech2vid.training.export import pack
from speech2vid.training.logger import LOG
from speech2vid.training.train import described, train_tasks

# Row → title and settings of the task `paper_talker`. Each row differs from `five` in one setting.
FIVE = {"skips": "paper", "identity_images": 5, "generation": "upsample"}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "five": ("five images, two skips, upsampling, L1", {"network": FIVE}),
    "none": ("… no skip", {"network": {**FIVE, "skips": "none"}}),
    "one": ("… one image", {"network": {**FIVE, "identity_images": 1}}),
    "transposed": ("… transposed convolution", {"network": {**FIVE, "generation": "transposed"}}),
    "v201": ("… three skips (v201)", {"network": {**FIVE, "skips": "v201"}}),
    "identity": ("… identity encoder from `train identity`", {"network": FIVE, "identity_init": "identity"}),
    "content": ("… content loss", {"network": FIVE, "loss": "content"}),
    "mouth": ("ours: … L1 on the mouth in addition", {"network": FIVE, "mouth": 1.0}),
    "warp": ("ours: `warp`, five images", {}),
    "seed": ("five images again, another seed", {"network": FIVE, "seed": 1}),
    "seed2": ("five images again, a third seed", {"network": FIVE, "seed": 2}),
}
SEEDS = ("five", "seed", "seed2")  # the same training, but for its seed
TRUTH, STILL, SHUFFLED = "truth", "still", "shuffled"
NAMES = {
    TRUTH: "the real video",
    STILL: "the middle still, static",
    SHUFFLED: "five images …, another clip's audio",
    **{row: name for row, (name, _) in ROWS.items()},
}
# Claim of Sect. 5 → better row, other row, metric, whether higher is better.
RAW, SHARP = "raw", "sharpened"
OWN_AUDIO = "… and above that with another clip's audio"
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
    ("retrieval is slightly below the real video", (TRUTH, RAW), ("five", RAW), "retrieval_accuracy", True),
    (OWN_AUDIO, ("five", RAW), (SHUFFLED, RAW), "retrieval_accuracy", True),
    ("L1 on the mouth moves the lips", ("mouth", RAW), ("five", RAW), "opening_correlation", True),
    ("… and improves retrieval", ("mouth", RAW), ("five", RAW), "retrieval_accuracy", True),
    ("`warp` moves the lips better than RGB output", ("warp", RAW), ("five", RAW), "opening_correlation", True),
    ("… and improves retrieval", ("warp", RAW), ("five", RAW), "retrieval_accuracy", True),
    ("another seed alone: MSE", ("seed", RAW), ("five", RAW), "mse", False),
    ("… embedding distance", ("seed", RAW), ("five", RAW), "embedding_distance", False),
]
MOVING = ("retrieval_accuracy", "opening_correlation")  # decidable only for a row whose lips follow the audio
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
LEAST_CLIPS = 8  # for a meaningful interval
DECISIVE = 2.0  # standard deviations between seeds that a gain must exceed
TOY = {"steps": 3, "batch": 2, "frames": 2, "size": "small", "tracks": 2, "long": 1, "short": 2, "sharpener": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="sample store with the splits train and val")
    parser.add_argument("--out", type=Path, help="folder for trainings and measurements")
    parser.add_argument("--doc", type=Path, help="also write the table to this file, and its JSON next to it")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only judge and write an earlier table again")
    parser.add_argument("--steps", type=int, default=250, help="updates per row")
    parser.add_argument("--batch", type=int, default=6, help="people per update")
    parser.add_argument("--frames", type=int, default=4, help="target frames per person")
    parser.add_argument("--size", default="small", help="size of the paper's networks: paper, compact, small")
    parser.add_argument("--tracks", type=int, default=8, help="tracks per speaker to train on; 0 for all")
    parser.add_argument("--long", type=int, default=20, help="number of measured clips of 3 s or more")
    parser.add_argument("--short", type=int, default=12, help="number of measured clips of 1 to 3 s")
    parser.add_argument("--sharpener", type=int, default=32, help="channels of the sharpener; the paper has 64")
    parser.add_argument("--precision", default="float32", help="training precision: float32, bfloat16")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="rows to train")
    parser.add_argument("--note", default="", help="sentence to print below the table")
    parser.add_argument("--toy", action="store_true", help="run everything at the smallest size")
    args = parser.parse_args()
    if args.render:
        write(judge(json.loads(args.render.read_text())), args.render.with_suffix(".md"))
        return
    if not args.data or not args.out:
        parser.error("--data and --out are required")
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
    for document in (args.out / "table2.md", args.doc):
        if document:
            write(record, document)
    print(markdown(record))


def write(record: dict[str, Any], document: Path) -> None:
    """Write the table as Markdown, and the record as JSON next to it."""
    atomic_write(document.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    atomic_write(document, markdown(record).encode())


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
                generated = time.perf_counter()
                versions[SHARP] = sharpened(versions[RAW], sharpen)
                seconds[RAW] += generated - start
                seconds[SHARP] += time.perf_counter() - generated
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
    """Return everything that the table says, as JSON values."""
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
            claims.append({"claim": text, "metric": metric, "gain": dataclasses.asdict(gain)})
    trainings = {path.parent.name: json.loads(path.read_text()) for path in trained(args.out, "").glob("*/cost.json")}
    record = {
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
    return judge(record)


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


def judge(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with the verdict of each claim set, from its gain and the spread between seeds."""
    rows = record["rows"]
    (own,) = [each for each in record["claims"] if each["claim"] == OWN_AUDIO] or [None]
    for claim, (_, ours, theirs, metric) in zip(record["claims"], _sides(record["claims"]), strict=True):
        if ours[0] in SEEDS[1:]:
            claim["verdict"] = ""
        elif ours[0] == TRUTH and metric in MOVING and not (own and own["gain"]["low"] > 0):
            claim["verdict"] = "undecided: the lips do not follow the audio"
        else:
            sharpening = ours[0] == theirs[0]
            claim["verdict"] = verdict(Estimate(**claim["gain"]), seed_spread(rows, metric, sharpening=sharpening))
    return record


def _sides(claims: list[dict[str, Any]]) -> list[tuple[str, Side, Side, str]]:
    """The definition in CLAIMS of each claim; texts that begin with … occur more than once, but in order."""
    left = [each[:4] for each in CLAIMS]
    found = []
    for claim in claims:
        while (left[0][0], left[0][3]) != (claim["claim"], claim["metric"]):
            left.pop(0)
        found.append(left.pop(0))
    return found


def seed_spread(rows: dict[str, Any], metric: str, *, sharpening: bool = False) -> float:
    """Return the root-mean-square difference between trainings that differ only in their seed.

    Args:
        rows: row → version → metric → estimate, as in the record.
        metric: of COLUMNS.
        sharpening: of the change that sharpening makes, instead of the metric itself.
    """
    values = []
    for row in SEEDS:
        versions = [rows.get(row, {}).get(version, {}).get(metric) for version in (SHARP, RAW)]
        if all(versions if sharpening else versions[1:]):
            sharp, raw = (each["value"] if each else 0.0 for each in versions)
            values.append(sharp - raw if sharpening else raw)
    differences = [a - b for a, b in itertools.combinations(values, 2)]
    return float(np.sqrt(np.mean(np.square(differences)))) if differences else 0.0


def verdict(gain: Estimate, spread: float) -> str:
    """Return the verdict on a gain whose two trainings may differ by ``spread`` (one standard deviation) by chance."""
    if gain.clips < LEAST_CLIPS:
        return f"undecided: {gain.clips} clips"
    if gain.low <= 0 <= gain.high:
        return "undecided"
    if abs(gain.value) < DECISIVE * spread:
        return "undecided: within the spread of seeds"
    return "confirmed" if gain.value > 0 else "refuted"


def markdown(record: dict[str, Any]) -> str:
    """The document."""
    args = record["settings"]
    trained_seeds = sum(row in record["rows"] for row in SEEDS)
    lines = [
        "# Our Table 2",
        "",
        f"Generated by the command below on {record['date']}, version {record['version']}. {record['machine']}.",
        "",
        "```",
        record["command"],
        "```",
        "",
        f"Every row: {args['steps']} updates of {args['batch']} people with {args['frames']} frames each, networks of "
        f"size `{args['size']}`, AdamW, {args['precision']}, one seed, trained on {record['data']}. `warp` has "
        f"{WARP_TASKS['warp_talker']['network']['width']} channels, no landmark network and no discriminator; its "
        f"audio-to-mouth network is trained for as many updates. Measured on {record['clips']} clips of "
        f"{record['speakers']} speakers that no row was trained on, from five stills of another clip if there is one; "
        f"of clips of {LONG_FRAMES / FRAME_RATE_HZ:.0f} s or more, the {MEASURED_FRAMES} frames in the middle. "
        "Retrieval (among ±15 frames, within ±1; chance 0.10) is measured on the long clips only. For a static mouth "
        "the similarity is a smooth curve that peaks at one end of the range, hence values below chance. Intervals: "
        "95 %, bootstrap over clips; they do not include the spread between seeds.",
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
        "Gain: how much better the first row of the claim is than the second on the same clips. A claim is undecided "
        f"if its interval contains 0, or if the gain is below {DECISIVE:g} times the root-mean-square difference of "
        f"trainings that differ only in their seed ({trained_seeds} of them here). Retrieval is compared with the real "
        "video only if the lips follow the audio.",
        "",
        "| claim | metric | gain | verdict at this size |",
        "|---|---|---|---|",
    ]
    for each in record["claims"]:
        name, digits = COLUMNS[each["metric"]]
        lines.append(f"| {each['claim']} | {name} | {interval(each['gain'], digits + 1)} | {each['verdict']} |")
    lines += ["", "## Cost", "", "| training | CPU s | wall-clock s | items/s | waiting for data |"]
    lines.append("|---|---|---|---|---|")
    for name, cost in sorted(record["trainings"].items()):
        times = [f"{cost['cpu_s']:.0f}", f"{cost['wall_s']:.0f}"]  # of all its stages
        for task, found in cost["stages"].items():
            label = name if len(cost["stages"]) == 1 else f"{name}, {task}"
            pace = [f"{found['items_a_second']:.1f}", f"{found['waiting']:.1%}"] if found else ["–", "–"]
            lines.append(f"| {label} | " + " | ".join([*times, *pace]) + " |")
            times = ["included above", ""]
    costs = [each for each in record["ms_a_frame"].values() if each[SHARP]]
    if costs:
        sharp = np.median([each[SHARP] for each in costs])
        raw = np.median([each[RAW] for row, each in record["ms_a_frame"].items() if row != "warp"])
        lines += [
            "",
            f"Wall-clock milliseconds per frame, median over rows: the paper's talker {raw:.0f}, the sharpener with "
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
