"""How good re-dubbed videos are, next to the untouched video: whole clips of people whom no network has seen.

    python benchmarks/redub_quality.py CLIPS.tsv --out DIR [--least 2] [--most 6] [--variants untouched,poisson-lower]

CLIPS.tsv has the columns path (below its own folder), speaker, split, seconds; clips of the split ``val`` count. Each
is dubbed with its own audio (self) and with the audio of another speaker (cross), as a user would do it; faces are
measured where the source's tracks say they are. One JSON line a clip and variant goes to DIR/results.jsonl; a run that
is started again carries on. The table at the end has means with 95 % intervals (bootstrap over clips).
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from speech2vid.constants import (
    CONTEXT_FACE_PX,
    FACE_PX,
    REGION_HEIGHT,
    REGION_LEFT,
    REGION_TOP,
    REGION_WIDTH,
    REGISTRATION_POINTS,
)
from speech2vid.evaluation.mouth_metrics import correlation, jitter, measure_landmarks, mouth_boxes
from speech2vid.evaluation.statistics import mean_estimate
from speech2vid.faces import SyncNetworks, lip_opening, turn
from speech2vid.faces.align import canonical_points, context_from_face, warp
from speech2vid.faces.cluster import mean_embedding
from speech2vid.faces.landmarks import box_of_landmarks
from speech2vid.faces.mouth_crops import mouth_crops
from speech2vid.faces.sync import measure_tracks, similarities
from speech2vid.geometry import compose, similarity, transform_points
from speech2vid.inference.mouth_geometry import SMOOTHING_S, smoothed
from speech2vid.inference.redub import redub
from speech2vid.inference.redubbers.poisson import DOMAINS
from speech2vid.inference.track_cache import known_tracks
from speech2vid.inference.video_tracks import SeenFace, on_grid
from speech2vid.media import RawVideoReader, read_audio

RINGS = 6  # contours between the inner and the outer border of the blended region
VARIANTS = {
    "untouched": None,
    "poisson-lower": {"blend": "poisson", "region": "lower"},
    "poisson-face": {"blend": "poisson", "region": "face"},
    "network": {"blend": "network"},
}


class Seen:
    """A video as it is measured: aligned faces at both sizes, at the source's own transforms."""

    def __init__(self, video: Path, face: SeenFace, transforms: list[NDArray[np.float64]], frames: int) -> None:
        self.faces, self.canvases = [], []
        for frame in RawVideoReader(video):
            at = frame.index - face.start
            if 0 <= at < min(len(face), frames):
                image = frame.shown()
                self.faces.append(warp(image, transforms[at], FACE_PX))
                self.canvases.append(warp(image, compose(context_from_face(), transforms[at]), CONTEXT_FACE_PX))
        self.frames = np.stack(self.faces)
        aligned = transform_points(transforms[0], face.landmarks[0])
        self.landmarks = measure_landmarks(self.frames, box_of_landmarks(aligned))
        self.opening = lip_opening(self.landmarks)


def measure(source: Seen, generated: Seen) -> dict[str, float]:
    """A self re-dub against its source."""
    count = min(len(source.frames), len(generated.frames))
    boxes = mouth_boxes(source.landmarks[:count])
    psnr, ssim = [], []
    for a, b, (left, top, right, bottom) in zip(generated.frames, source.frames, boxes, strict=False):
        x, y = a[top:bottom, left:right], b[top:bottom, left:right]
        psnr.append(10 * np.log10(255**2 / max(0.01, float(np.mean((x.astype(float) - y) ** 2)))))
        ssim.append(structural_similarity(x, y, channel_axis=2, win_size=7))
    spread = float(source.opening.std())
    return {
        "opening_r": correlation(generated.opening[:count], source.opening[:count]),
        "amplitude": float(generated.opening.std()) / max(spread, 1e-6),
        "mouth_psnr": float(np.mean(psnr)),
        "mouth_ssim": float(np.mean(ssim)),
        "seam": seam(generated.canvases) / seam(source.canvases),
        "jitter": jitter(generated.landmarks) / jitter(source.landmarks),
        "identity": identity_distance(source, generated),
    }


def seam(canvases: list[NDArray[np.uint8]]) -> float:
    """Mean gradient across the most visible of several contours round the blended region."""
    to_canvas = context_from_face()
    inner = np.array(DOMAINS["lower"], float)
    outer = np.array([REGION_LEFT, REGION_TOP, REGION_LEFT + REGION_WIDTH, REGION_TOP + REGION_HEIGHT - 1], float)
    best = 0.0
    for share in np.linspace(0, 1, RINGS):
        box = inner + share * (outer - inner)
        (left, top), (right, bottom) = transform_points(to_canvas, box.reshape(2, 2)).round().astype(int)
        values = [_across(canvas.astype(np.float32), left, top, right, bottom) for canvas in canvases]
        best = max(best, float(np.mean(values)))
    return best


def _across(canvas: NDArray[np.float32], left: int, top: int, right: int, bottom: int) -> float:
    rows, columns = slice(top, bottom), slice(left, right)
    steps = [
        canvas[rows, left] - canvas[rows, left - 1],
        canvas[rows, right] - canvas[rows, right - 1],
        canvas[top, columns] - canvas[top - 1, columns],
        canvas[bottom, columns] - canvas[bottom - 1, columns],
    ]
    return float(np.abs(np.concatenate(steps)).mean())


def identity_distance(source: Seen, generated: Seen) -> float:
    """Distance of the mean face embeddings of three frames each."""
    at = np.linspace(0, min(len(source.faces), len(generated.faces)) - 1, 5)[1:-1].astype(int)
    a, b = (mean_embedding([seen.faces[i] for i in at], list(source.landmarks[at])) for seen in (source, generated))
    return float(np.linalg.norm(a - b))


def sync_of(
    seen: Seen, audio: NDArray[np.float32], first: int, picks: NDArray[np.int64], sync: SyncNetworks
) -> dict[str, float]:
    """Offset and confidence of a face against a recording."""
    picks = picks[picks < len(seen.frames)]
    values = similarities(sync.video(mouth_crops(seen.frames[picks]), seen.landmarks[picks]), audio, first)
    found = measure_tracks([(first, values)])
    if found is None:
        return {}
    return {
        "sync_offset": float(found.offset_frames),
        "offset_right": float(abs(found.offset_frames) <= 1),
        "sync_confidence": found.confidence,
    }


def clips_of(table: Path, least_s: float, per_speaker: int) -> list[dict[str, Any]]:
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "val"]
    rows = [row for row in rows if float(row["seconds"]) >= least_s]
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row["speaker"]] += 1
        if counts[row["speaker"]] <= per_speaker:
            kept.append(row)
    return kept


def results(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    root = arguments.clips.parent
    clips = clips_of(arguments.clips, arguments.least, arguments.per_speaker)
    log = arguments.out / "results.jsonl"
    done = {(row["clip"], row["variant"]) for row in read_rows(log)}
    sync = SyncNetworks(threads=1)
    for number, clip in enumerate(clips):
        wanted = [name for name in arguments.variants if (clip["path"], name) not in done]
        if not wanted:
            continue
        others = [each for each in clips[number + 1 :] + clips[:number] if each["speaker"] != clip["speaker"]]
        other = root / others[number % len(others)]["path"]
        yield from clip_results(root, clip, other, wanted, sync, arguments)


def clip_results(
    root: Path, clip: dict[str, Any], other: Path, wanted: list[str], sync: SyncNetworks, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    video = root / clip["path"]
    tracks = known_tracks(video)
    face = max(tracks.faces, key=len)
    tick_s = float(RawVideoReader(video).format.tick_s)
    times_s = tracks.ticks[face.start : face.stop] * tick_s
    frames = int((times_s < arguments.most).sum())
    anchors = smoothed(face.landmarks[:, REGISTRATION_POINTS], times_s, SMOOTHING_S)
    goal = canonical_points(FACE_PX)[REGISTRATION_POINTS]
    transforms = [similarity(points, goal) for points in anchors]
    source = Seen(video, face, transforms, frames)
    first, picks = on_grid(times_s[:frames])
    audio = sync.audio(read_audio(other))
    turned = float(np.mean([turn(points) for points in source.landmarks]))
    for name in wanted:
        row: dict[str, Any] = {"clip": clip["path"], "speaker": clip["speaker"], "variant": name, "turn": turned}
        if (settings := VARIANTS[name]) is None:
            row |= measure(source, source) | sync_of(source, audio, first, picks, sync) | {"source_r": 1.0}
        else:
            own, dubbed = arguments.out / "self.mp4", arguments.out / "cross.mp4"
            redub(video, video, own, length="video", **settings)  # type: ignore[arg-type]
            row |= measure(source, Seen(own, face, transforms, frames))
            redub(video, other, dubbed, length="shortest", **settings)  # type: ignore[arg-type]
            crossed = Seen(dubbed, face, transforms, frames)
            row |= sync_of(crossed, audio, first, picks, sync)
            row["source_r"] = correlation(crossed.opening, source.opening[: len(crossed.opening)])
        yield row


def read_rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def table(rows: list[dict[str, Any]]) -> str:
    variants = [name for name in VARIANTS if any(row["variant"] == name for row in rows)]
    measures = [key for key in rows[0] if key not in ("clip", "speaker", "variant")]
    lines = [f"| {len({row['clip'] for row in rows})} clips | " + " | ".join(variants) + " |"]
    lines.append("|---" * (len(variants) + 1) + "|")
    for key in measures:
        cells = []
        for name in variants:
            own = [row for row in rows if row["variant"] == name and key in row]
            found = mean_estimate([row[key] for row in own], [row["speaker"] for row in own])
            cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]")
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--least", type=float, default=2.0, help="seconds; shorter clips are left out")
    parser.add_argument("--most", type=float, default=6.0, help="seconds of a clip that are measured")
    parser.add_argument("--per-speaker", type=int, default=99, help="clips of a speaker that are used, at most")
    parser.add_argument(
        "--variants", type=lambda text: text.split(","), default=["untouched", "poisson-lower", "poisson-face"]
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "results.jsonl").open("a") as log:
        for row in results(arguments):
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(row["clip"], row["variant"], flush=True)
    print(table(read_rows(arguments.out / "results.jsonl")))


if __name__ == "__main__":
    main()
