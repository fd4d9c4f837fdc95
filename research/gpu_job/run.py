"""Train the paper's talker on one GPU within minutes, from data packed by ``pack``; see README.md.

python -m research.gpu_job.run --data FOLDER --out RESULTS --seconds 550

Needs Python, PyTorch, NumPy, OpenCV, safetensors and this repository's tree; nothing has to be installed.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from research.gpu_job.packed import FACE_NETWORK, read_face_network, read_splits
from research.gpu_job.stages import (
    TERMS,
    Budget,
    Recipe,
    TalkerTraining,
    train_audio,
    train_landmarks,
)
from research.gpu_job.tracks import Tracks
from research.gpu_job.validation import validate

from speech2vid.errors import Speech2VidError
from speech2vid.files import atomic_write
from speech2vid.models.audio_to_mouth import AudioToMouth
from speech2vid.models.audio_trunk import AudioTrunk, AudioTrunkConfig
from speech2vid.models.face_recognition import FaceRecognition
from speech2vid.models.mouth_landmarks import MouthLandmarkNetwork
from speech2vid.models.network import Graph, Network
from speech2vid.models.paper_talker import PaperTalker, PaperTalkerConfig
from speech2vid.models.sync import SyncNetwork
from speech2vid.models.warp_redubber import WarpRedubber
from speech2vid.models.warp_talker import WarpTalker
from speech2vid.runtime.torch import load, save

START = time.monotonic()
TRAIN, VAL = "train", "val"
PART_BYTES = 15 << 20
CHECKPOINT_S = 60.0
RESERVE_S = 15.0  # for the last validation and checkpoint
PEOPLE = (8, 16, 32, 64, 128)  # batches tried in the warm-up
NEAR_BEST = 0.9  # the smallest batch is taken that is this fast, relative to the fastest: more updates in the same time
COUNTS = (1, 64)  # frames generated at once when the speed of generation is measured
LICENCE = "that of the data it was trained on"
CURVE = ("seconds", "step", "frames", *TERMS)
MEASURES = ("mouth_correlation", "other_audio", "mouth_amplitude", "l1", "mse", "embedding")


class Results:
    """What the job leaves: log, curve, sheet and weights in a folder."""

    def __init__(self, folder: Path, data: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.data = folder, data
        self._log = (folder / "log.txt").open("w", encoding="utf-8")
        self._curve = (folder / "curve.tsv").open("w", encoding="utf-8")
        self._curve.write("\t".join([*CURVE, *(f"val_{name}" for name in MEASURES)]) + "\n")

    def say(self, text: str) -> None:
        """Print a line, and add it to the log, with the seconds since the start."""
        line = f"[{time.monotonic() - START:6.1f} s] {text}"
        print(line, flush=True)
        self._log.write(line + "\n")
        self._log.flush()

    def checkpoint(self, network: Network, measures: dict[str, float], row: Sequence[float], sheet: list[Any]) -> None:
        """Write the weights in parts, a row of the curve, and the sheet."""
        values = [*row, *(measures.get(name, float("nan")) for name in MEASURES)]
        self._curve.write("\t".join(f"{value:.6g}" for value in values) + "\n")
        self._curve.flush()
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / f"{network.architecture}.safetensors"
            save(network, path, data=self.data, metrics=measures, licence=LICENCE, half=True)
            blob = path.read_bytes()
        for number, start in enumerate(range(0, len(blob), PART_BYTES)):
            atomic_write(self.folder / f"{path.name}.part{number}", blob[start : start + PART_BYTES])
        if sheet:
            rows = np.concatenate([np.concatenate(row, axis=1) for row in sheet])
            encoded = cv2.imencode(".png", cv2.cvtColor(rows, cv2.COLOR_RGB2BGR))[1]
            atomic_write(self.folder / "sheet.png", encoded.tobytes())


def run(given: argparse.Namespace) -> None:
    """Do the job. Speech2VidError: the data cannot be read, or the training diverged; the last checkpoint is whole."""
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(given.seed)
    index, splits = read_splits(given.data, (TRAIN, VAL))
    results = Results(given.out, index["data"])
    say = results.say
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    say(f"{name}, PyTorch {torch.__version__}, OpenCV {cv2.__version__}; {index['data']} read")
    train, val = (Tracks(splits[split], device) for split in (TRAIN, VAL))
    say(f"{len(train):,} and {len(val):,} frames of {len(train.names)} and {len(val.names)} speakers on {device}")

    torch.manual_seed(given.seed)
    mfcc = [torch.tensor(index["mfcc"][key], device=device) for key in ("mean", "std")]
    talker = PaperTalker(PaperTalkerConfig(size=given.size, skips=given.skips, decoder_norm=True))
    talker = talker.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    talker.audio_encoder.set_normalisation(*mfcc)
    colour = [torch.tensor(index["colour"][key], device=device) for key in ("mean", "std")]
    talker.identity_encoder.set_normalisation(*colour)
    face_network = None
    if (given.data / FACE_NETWORK).is_file():
        colours, layers = read_face_network(given.data / FACE_NETWORK)
        face_network = FaceRecognition(torch.from_numpy(colours), layers).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    chosen = {field.name: getattr(given, field.name) for field in fields(Recipe) if hasattr(given, field.name)}
    recipe = Recipe(**{name: value for name, value in chosen.items() if value is not None})
    box = index["mouth_box"]
    untrained = MouthLandmarkNetwork(given.landmark_width).to(device).eval().requires_grad_(False)
    trial = TalkerTraining(copy.deepcopy(talker), train, replace(recipe, people=2), box, untrained, face_network)
    rehearse(trial, val, box, results)
    torch.backends.cudnn.benchmark = True
    try:
        measure_generation(talker, given.generation_s, say)
    except Exception as error:  # figures only: the training does not need them
        say(f"the speed of generation cannot be measured: {type(error).__name__}: {str(error)[:300]}")

    landmark_network = train_landmarks(
        train, val, Budget(given.landmarks_s, given.steps), given.small_batch, given.landmark_width, say
    )
    trunk = AudioTrunk(AudioTrunkConfig(size=given.size, components=len(index["motion"]["opening"]))).to(device)
    trunk.encoder.set_normalisation(*mfcc)
    trunk.opening.copy_(torch.tensor(index["motion"]["opening"]))
    budget = Budget(given.audio_s, given.steps)
    train_audio(train, val, trunk, index["motion"]["deviations"], budget, 2 * given.small_batch, say)
    talker.audio_encoder.load_state_dict(trunk.encoder.state_dict())

    def training(recipe: Recipe, compiled: bool = False, trial: bool = True) -> TalkerTraining:
        network = copy.deepcopy(talker) if trial else talker
        return TalkerTraining(network, train, recipe, box, landmark_network, face_network, compiled)

    people, compiled = warm_up(training, recipe, given, say)
    recipe = replace(recipe, people=people)
    train_talker(training(recipe, compiled, trial=False), val, box, given, results)


def rehearse(trial: TalkerTraining, val: Tracks, box: Sequence[int], results: Results) -> None:
    """Make one update with every loss, validate and write a checkpoint: a fault in them shows before the training."""
    trial.update(1.0)
    terms = trial.mean_terms()
    measures, sheet = validate(trial.ema, val, box, trial.face_network)
    results.checkpoint(trial.ema, measures, [0.0, 0, 0, *terms.values()], sheet)
    results.say("rehearsed: an update, a validation, a checkpoint of untrained weights")


def warm_up(
    training: Callable[..., TalkerTraining], recipe: Recipe, given: argparse.Namespace, say: Callable[[str], None]
) -> tuple[int, bool]:
    """Print frames/s of training at several batch sizes; return people in a batch, and whether to compile."""

    def speed(people: int, compiled: bool = False) -> float:
        trial = training(replace(recipe, people=people), compiled)
        for _ in range(1 if given.steps else 3):
            trial.update(0.0)
        trial.mean_terms()
        budget, before = Budget(given.warm_up_s / len(PEOPLE), given.steps), trial.frames
        started = time.monotonic()
        while budget.spent(trial.step) < 1 or trial.frames == before:
            trial.update(0.0)
            if trial.step % 4 == 0:
                trial.mean_terms()
        trial.mean_terms()
        rate = (trial.frames - before) / (time.monotonic() - started)
        memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
        batch = f"{people} people x {recipe.frames} frames{', compiled' * compiled}"
        say(f"training, {batch}: {rate:,.0f} frames/s, {memory:.1f} GiB")
        return rate

    speeds = {}
    for people in (given.people,) if given.people else PEOPLE:
        try:
            speeds[people] = speed(people)
        except torch.cuda.OutOfMemoryError:
            say(f"training, {people} people: out of memory")
            break
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    people = next(people for people, rate in speeds.items() if rate >= NEAR_BEST * max(speeds.values()))
    if not given.compile:
        return people, False
    try:
        return people, speed(people, compiled=True) > speeds[people]
    except Exception as error:  # whatever the compiler lacks on this machine, the training goes on without it
        say(f"torch.compile failed: {type(error).__name__}: {str(error)[:300]}")
        return people, False


def train_talker(
    training: TalkerTraining, val: Tracks, box: Sequence[int], given: argparse.Namespace, results: Results
) -> None:
    """Train until the time is spent; validate and write a checkpoint every minute and at the end."""
    budget = Budget(given.seconds - RESERVE_S - (time.monotonic() - START), given.steps)
    parameters = sum(each.numel() for each in training.network.parameters())
    results.say(f"talker: {parameters:,} parameters, {training.recipe.people} people, {budget.seconds:.0f} s left")
    last, done = time.monotonic(), False
    started = last
    while not done:
        training.update(budget.spent(training.step))
        done = budget.spent(training.step) >= 1
        if training.step % 20 == 0:
            torch.cuda.synchronize() if torch.cuda.is_available() else None
        if done or time.monotonic() - last >= CHECKPOINT_S:
            last = time.monotonic()
            terms = training.mean_terms()
            torch.backends.cudnn.benchmark = False  # clips have many lengths: not worth choosing kernels for
            measures, sheet = validate(training.ema, val, box, training.face_network)
            torch.backends.cudnn.benchmark = True
            row = [last - started, training.step, training.frames, *terms.values()]
            results.checkpoint(training.ema, measures, row, sheet)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in terms.items() if value)
            judged = ", ".join(f"{name} {value:.3f}" for name, value in measures.items())
            speed = training.frames / (last - started)
            results.say(f"step {training.step}, {training.frames:,} frames, {speed:,.0f}/s: {shown}")
            results.say(f"unseen speakers: {judged}")


def measure_generation(talker: PaperTalker, seconds: float, say: Callable[[str], None]) -> None:
    """Print the speed of each graph of the talker and of the packaged networks; identities are computed once."""
    device = next(talker.parameters()).device
    packaged = Path(__file__).resolve().parents[2] / "src" / "speech2vid" / "weights"
    networks: list[Network] = [copy.deepcopy(talker).eval()]
    for kind in (WarpTalker, AudioToMouth, WarpRedubber, SyncNetwork):
        if (packaged / f"{kind.architecture}.safetensors").is_file():
            networks.append(load(packaged / f"{kind.architecture}.safetensors", kind)[0].to(device))
    for network in networks:
        for graph in network.graphs():
            many = any(0 in axes for axes in graph.free_axes.values())
            for count in COUNTS if many and seconds else COUNTS[:1]:
                for precision in ("float32", "bfloat16"):
                    calls = _calls_per_second(graph, count, precision, device, seconds)
                    rate = f"{calls * count:,.0f} frames/s" if many else f"{calls:,.0f} calls/s"
                    what = f"{network.architecture}.{graph.name}, {count} at once, {precision}"
                    say(f"{what}: {rate}, {1000 / calls:.2f} ms a call")


@torch.inference_mode()
def _calls_per_second(graph: Graph, count: int, precision: str, device: torch.device, seconds: float) -> float:
    inputs = {}
    for name, tensor in graph.example.items():
        free = 0 in graph.free_axes.get(name, {})
        inputs[name] = tensor[:1].expand(count, *tensor.shape[1:]).contiguous() if free else tensor

    def calls(number: int) -> float:
        started = time.monotonic()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            for _ in range(number):
                graph.run(dict(inputs))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.monotonic() - started) / number

    calls(1)
    once = calls(1 if not seconds else 3)
    return 1 / (calls(max(3, int(seconds / once))) if seconds else once)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="run", description="Train the paper's talker on one GPU within minutes.")
    parser.add_argument("--data", type=Path, required=True, help="folder made by pack")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log, curve and sheet")
    parser.add_argument("--seconds", type=float, default=550, help="duration of the whole job (default: 550)")
    parser.add_argument("--size", default="paper", help="of the talker: paper, compact or small (default: paper)")
    parser.add_argument("--skips", default="v201", help="of the talker: paper, v201 or none (default: v201)")
    parser.add_argument("--people", type=int, default=0, help="people in a batch (default: the smallest that is fast)")
    parser.add_argument("--frames", type=int, help="frames of each (default: 8)")
    parser.add_argument("--rate", dest="learning_rate", type=float, help="learning rate (default: 1e-3)")
    parser.add_argument("--content", type=float, help="weight of the content loss (default: 0.05)")
    parser.add_argument("--content-from", type=float, help="share of the time after which it counts (default: 0.6)")
    parser.add_argument("--ema", type=float, help="of the weights that are kept (default: 0.995)")
    parser.add_argument("--compile", action="store_true", help="use torch.compile if it is faster")
    parser.add_argument("--warm-up", dest="warm_up_s", type=float, default=30, help="seconds (default: 30)")
    parser.add_argument("--landmarks", dest="landmarks_s", type=float, default=45, help="seconds (default: 45)")
    parser.add_argument("--audio", dest="audio_s", type=float, default=45, help="seconds (default: 45)")
    parser.add_argument(
        "--generation", dest="generation_s", type=float, default=0.3, help="seconds a figure; 0: one call each"
    )
    parser.add_argument("--small-batch", type=int, default=512, help="faces in a batch of the landmark network")
    parser.add_argument("--landmark-width", type=int, default=16, help="channels of its first layer (default: 16)")
    parser.add_argument("--steps", type=int, default=0, help="end each stage after so many steps, not by the clock")
    parser.add_argument("--device", default="", help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        run(given)
    except Speech2VidError as error:
        print(f"error: {error.message}", f"hint: {error.hint}", sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
