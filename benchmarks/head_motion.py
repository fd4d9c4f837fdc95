"""Head motion: speed next to a still head, and how much rendered heads move next to filmed ones.

    python benchmarks/head_motion.py [--seconds 30] [--photo-px 720] [--repeats 3]
    python benchmarks/head_motion.py --face IMG … [--clip VIDEO …] [--seconds 30]

The first form times ``talk`` end to end for each ``--motion``, one after the other in the same process, on two cores or
what there is. The second one renders every photo and tracks the faces of the videos as those of the filmed clips:
medians and quartiles over photos, and over clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import setting

from speech2vid import load_talker, talk
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.faces import face_models
from speech2vid.faces.head_motion import MotionFigures, head_motion, motion_figures
from speech2vid.faces.track import follow
from speech2vid.inference.options import Motion
from speech2vid.media import VideoReader

MOTIONS: tuple[Motion, ...] = get_args(Motion)


def speeds(seconds: float, photo_px: int, repeats: int) -> dict[str, Any]:
    """Return frames per second of each motion, and the ratio to a still head in the same round (medians)."""
    talker = load_talker()
    fps: dict[str, list[float]] = {motion: [] for motion in MOTIONS}
    with tempfile.TemporaryDirectory() as name:
        photo = setting.make_photo(Path(name) / "photo.png", photo_px)
        audio = setting.make_audio(Path(name) / "audio.wav", seconds)
        talk(photo, audio, Path(name) / "warm.mp4", talker=talker, motion="natural")
        for _ in range(repeats):
            for motion in MOTIONS:
                result = talk(photo, audio, Path(name) / "out.mp4", talker=talker, motion=motion)
                fps[motion].append(result.fps_end_to_end)
    ratios = {m: statistics.median(a / b for a, b in zip(fps[m], fps["still"], strict=True)) for m in MOTIONS}
    return {"fps": {motion: statistics.median(own) for motion, own in fps.items()}, "ratio_to_still": ratios}


def figures_of(video: Path) -> MotionFigures:
    """Measure the head motion of a video of one face."""
    models = face_models("mesh")
    with VideoReader(video, FRAME_RATE_HZ) as reader:
        images = [frame.image for frame in reader]
    box = models.find(images[0])[0].box
    return motion_figures(head_motion(np.stack([points for _, points in follow(images, box, models)])))


def rendered(face: Path, seconds: float, motion: Motion, seed: int) -> MotionFigures:
    """Measure the head motion of a photo that speaks."""
    with tempfile.TemporaryDirectory() as name:
        audio = setting.make_audio(Path(name) / "audio.wav", seconds)
        talk(face, audio, Path(name) / "out.mp4", motion=motion, seed=seed, landmarks="mesh")
        return figures_of(Path(name) / "out.mp4")


def quartiles(figures: Sequence[MotionFigures]) -> dict[str, list[float]]:
    """Return the 25th, 50th and 75th percentile of each figure."""
    rows = [dataclasses.asdict(each) for each in figures]
    return {
        name: [round(float(each), 2) for each in np.nanpercentile([row[name] for row in rows], [25, 50, 75])]
        for name in rows[0]
        if name != "blinks"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="duration of the audio")
    parser.add_argument("--photo-px", type=int, default=720)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--face", type=Path, nargs="*", default=[], help="photos to render and measure")
    parser.add_argument("--clip", type=Path, nargs="*", default=[], help="filmed clips to measure")
    given = parser.parse_args()
    if not given.face:
        print(json.dumps({**setting.machine(), **speeds(given.seconds, given.photo_px, given.repeats)}, indent=1))
        return
    rows: dict[str, list[MotionFigures]] = {
        motion: [rendered(face, given.seconds, motion, seed) for seed, face in enumerate(given.face)]
        for motion in MOTIONS
    }
    if given.clip:
        rows["filmed"] = [figures_of(clip) for clip in given.clip]
    print(json.dumps({row: quartiles(figures) for row, figures in rows.items()}, indent=1))


if __name__ == "__main__":
    main()
