"""Which way of laying a painted mouth into a filmed face is best: nothing, Poisson editing, or the blending network?

    python benchmarks/redub_blend.py STORE [--weights DIR] [--frames 6] [--clips 4] [--sheet sheet.png]

Consecutive frames of clips of the split val get new mouths, in three ways:

near    the frame's own mouth shape, painted from a frame five before or after and one with open lips. There is a truth.
five    the same, painted from five stills of the farther half of the clip.
swap    the mouth shapes of the moment of the clip whose lips are most unlike, painted from the frame itself and one
        with open lips, as ``redub`` does it. There is no truth: only what is spilt and added can be told.

Means over clips with 95 % intervals (bootstrap over clips), in the region that the network changes:

psnr, ssim, error    against the true frame (dB; structural similarity; mean absolute, 0–255)
seam                 mean absolute error of the gradient in the soft border of the region, 0–255 a pixel
flicker              mean absolute error of the change from frame to frame, 0–255; in ``swap`` the change itself, in the
                     soft border, over that of the source
sharpness            variance of the Laplacian within the lips, over that of the true frame
spilt                ``swap``: mean absolute difference to the source around the region, 0–255: cheeks, neck, background
added                ``swap``: mean gradient in the soft border, over that of the source
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from speech2vid.constants import CONTEXT_FACE_PX, MOUTH_POINTS
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.evaluation.protocol import still_of_context
from speech2vid.evaluation.statistics import mean_estimate
from speech2vid.faces import Still, lip_opening
from speech2vid.inference.compositing import Composer
from speech2vid.inference.identity import identity_of
from speech2vid.inference.occlusion import PART, Floats, hide, mouth_areas
from speech2vid.inference.redubbers.poisson import PoissonBlender
from speech2vid.inference.redubbers.warp import NetworkBlender, Paste
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.weights import weight_set
from speech2vid.types import Frames, Image, Points

Blend = Callable[[Frames, Frames, Points, Points], Frames]  # as ``inference.redubbers.warp.Blender``

APART = 5  # frames
OPEN_QUANTILE = 0.9
STILLS = 5
KINDS = ("near", "five", "swap")
AROUND_PX = 25  # of the 224 px face: what counts as around the region


def stills_of(track: Track, frames: list[int]) -> list[Still]:
    """Frames of a track as the talker's stills, by rising lip opening; the 224 px face is their picture."""
    return sorted((still_of_context(track, i, track.context[i]) for i in frames), key=lambda still: still.opening)


def shapes(track: Track, targets: range, kind: str) -> Points:
    """The mouths wanted: the frames' own, or those of another moment."""
    first = targets.start
    if kind == "swap":
        openings = lip_opening(track.landmarks)
        starts = np.arange(len(track) - len(targets) + 1)
        apart = [
            abs(openings[each : each + len(targets)].mean() - openings[first : targets.stop].mean()) for each in starts
        ]
        first = int(np.argmax(apart))
    return track.landmarks[first : first + len(targets), MOUTH_POINTS].copy()


def painted(track: Track, targets: range, mouths: Points, kind: str, networks: WarpNetworks) -> Frames:
    """The target frames with new mouths."""
    openings = lip_opening(track.landmarks)
    generated: list[Image] = []
    for target, mouth in zip(targets, mouths, strict=True):
        others = np.setdiff1d(np.arange(len(track)), np.arange(target - 3, target + 4))
        if kind != "five":
            own = target if kind == "swap" else target + APART if target + APART < len(track) else target - APART
            opened = others[np.argsort(openings[others])[int(OPEN_QUANTILE * (len(others) - 1))]]
            stills = stills_of(track, sorted({own, int(opened)}))
            canvas = min(stills, key=lambda still: abs(still.opening - float(openings[own])))
        else:
            middle = (targets.start + targets.stop) / 2
            half = others[np.argsort(np.abs(others - middle))][len(others) // 2 :]
            rising = half[np.argsort(openings[half])]
            stills = stills_of(track, [int(rising[int(q * (len(rising) - 1))]) for q in (0.1, 0.3, 0.5, 0.7, 0.9)])
            canvas = stills[STILLS // 2]
        identity = replace(identity_of(canvas, stills, networks), canvas=track.context[target])
        fields = networks.fields(identity.features, identity.mouths, mouth[None])
        generated += Composer(identity).frames(fields)
    return np.stack(generated)


def measures(generated: Frames, target: Frames, landmarks: Points) -> dict[str, float]:
    """Of consecutive frames of a clip."""
    hidden = hide(landmarks, landmarks[:, MOUTH_POINTS])
    inner = mouth_areas(landmarks[:, MOUTH_POINTS])[:, 0]
    border = (hidden.region > 0.02) & (hidden.region < 0.6)
    ours, theirs = generated[PART].astype(np.float32), target[PART].astype(np.float32)
    difference = ours - theirs
    weight = hidden.region[..., None]

    def mean(values: Floats, of: Floats) -> float:
        return float((values * of).sum() / np.broadcast_to(of, values.shape).sum())

    squared = [mean(d * d, w) for d, w in zip(difference, weight, strict=True)]
    similar = [
        mean(structural_similarity(a, b, data_range=255, channel_axis=2, full=True)[1].astype(np.float32), w)
        for a, b, w in zip(ours, theirs, weight, strict=True)
    ]
    return {
        "psnr": float(np.mean([10 * np.log10(255**2 / max(each, 1 / 12)) for each in squared])),
        "ssim": float(np.mean(similar)),
        "error": mean(np.abs(difference), weight),
        "seam": mean(_steepness(difference), border[..., None].astype(np.float32)),
        "flicker": mean(np.abs(np.diff(difference, axis=0)), weight[1:]),
        "sharpness": _detail(generated[PART], inner) / max(1e-3, _detail(target[PART], inner)),
    }


def changes(generated: Frames, source: Frames, landmarks: Points, mouths: Points) -> dict[str, float]:
    """What was done to the source's surroundings and at the border."""
    hidden = hide(landmarks, mouths)
    border = (hidden.region > 0.02) & (hidden.region < 0.6)
    around = np.stack([cv2.dilate(area, np.ones((2 * AROUND_PX + 1,) * 2)) for area in hidden.area]) * (
        hidden.area == 0
    )
    ours, theirs = generated[PART].astype(np.float32), source[PART].astype(np.float32)

    def mean(values: Floats, of: Floats) -> float:
        return float((values * of[..., None]).sum() / (3 * of.sum()))

    steep = [mean(_steepness(each), border.astype(np.float32)) for each in (ours, theirs)]
    moving = [mean(np.abs(np.diff(each, axis=0)), border[1:].astype(np.float32)) for each in (ours, theirs)]
    return {
        "spilt": mean(np.abs(ours - theirs), around),
        "added": steep[0] / steep[1],
        "flicker": moving[0] / max(0.1, moving[1]),
    }


def _steepness(faces: Floats) -> Floats:
    return np.abs(np.diff(faces, axis=2, append=0)) + np.abs(np.diff(faces, axis=1, append=0))


def _detail(faces: Frames, inner: Floats) -> float:
    """Variance of the Laplacian of the grey picture within the lips."""
    values = []
    for face, area in zip(faces, inner, strict=True):
        grey = cv2.cvtColor(np.ascontiguousarray(face), cv2.COLOR_RGB2GRAY).astype(np.float32)
        inside = cv2.Laplacian(grey, cv2.CV_32F)[area > 0.5]
        values.append(inside.var() if len(inside) else 0.0)
    return float(np.mean(values))


def seamless(source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
    """Poisson editing by OpenCV in the network's own region."""
    area = hide(landmarks, targets).area
    generated = source.copy()
    for index in range(len(source)):
        mask = np.zeros((CONTEXT_FACE_PX, CONTEXT_FACE_PX), np.uint8)
        mask[..., None][PART] = 255 * (area[index] > 0.99)[..., None]
        left, top, width, height = cv2.boundingRect(mask)
        centre = left + width // 2, top + height // 2
        generated[index] = cv2.seamlessClone(painted[index], source[index], mask, centre, cv2.NORMAL_CLONE)
    return generated


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--weights", type=Path, help="folder of the network's; the package's own by default")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--clips", type=int, default=4, help="at most so many of a speaker")
    parser.add_argument("--sheet", type=Path, help="rows of: source hidden, each method, truth")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    networks = load_talker(device="cpu", threads=options.threads)
    blender = NetworkBlender(weight_set(options.weights).path("warp_redubber"), graph_loader("cpu", options.threads))
    methods: dict[str, Blend] = {
        "paste": Paste().blend,
        "clone": seamless,
        "Poisson": PoissonBlender("lower").blend,
        "network": blender.blend,
    }
    found: dict[tuple[str, str], list[dict[str, float]]] = {(kind, name): [] for kind in KINDS for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    speakers: list[str] = []
    rows: list[Image] = []
    faces = 0
    for track in _tracks(options.store, options.clips):
        first = (len(track) - options.frames) // 2
        if first < 0:
            continue
        targets = range(first, first + options.frames)
        target, landmarks = track.context[first : targets.stop], track.landmarks[first : targets.stop]
        shown = []
        for kind in KINDS:
            mouths = shapes(track, targets, kind)
            laid = painted(track, targets, mouths, kind, networks)
            faces += len(laid)
            for name, method in methods.items():
                start = time.process_time()
                generated = method(target, laid, landmarks, mouths)
                seconds[name] += time.process_time() - start
                judge = (
                    changes(generated, target, landmarks, mouths)
                    if kind == "swap"
                    else measures(generated, target, landmarks)
                )
                found[kind, name].append(judge)
                shown.append(generated[0][PART])
        if track.record.speaker not in speakers:
            rows.append(np.hstack([*shown, target[0][PART]]))
        speakers.append(track.record.speaker)
    for (kind, name), values in found.items():
        cells = []
        for measure in values[0]:
            got = mean_estimate([each[measure] for each in values], speakers)
            cells.append(f"{measure} {got.value:.3f} [{got.low:.3f}, {got.high:.3f}]")
        print(f"{kind:5s} {name:8s} " + "  ".join(cells))
    for kind in KINDS:
        for name in ("paste", "clone", "Poisson"):
            gaps = []
            for measure in found[kind, name][0]:
                pairs = zip(found[kind, "network"], found[kind, name], strict=True)
                got = mean_estimate([a[measure] - b[measure] for a, b in pairs], speakers)
                gaps.append(f"{measure} {got.value:+.3f} [{got.low:+.3f}, {got.high:+.3f}]")
            print(f"{kind:5s} network − {name:8s} " + "  ".join(gaps))
    print(f"{len(speakers)} clips of {len(set(speakers))} speakers, {options.frames} frames each")
    print("CPU ms a face: " + ", ".join(f"{name} {1000 * spent / faces:.1f}" for name, spent in seconds.items()))
    if options.sheet:
        cv2.imwrite(str(options.sheet), np.vstack(rows)[..., ::-1])


def _tracks(store: Path, most: int) -> Iterator[Track]:
    taken: dict[str, int] = {}
    for track in SampleStore(store).tracks("val", context=True):
        taken[track.record.speaker] = taken.get(track.record.speaker, 0) + 1
        if taken[track.record.speaker] <= most:
            yield track


if __name__ == "__main__":
    main()
