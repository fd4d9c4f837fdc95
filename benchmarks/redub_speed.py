"""How fast 1080p is re-dubbed and in how much memory, by length: a photo that moves about, faces not known and known.

    python benchmarks/redub_speed.py [--lengths 60,600]

Each run is a process of its own; the time counts from the call to the finished file. ``cpu`` is what all cores spent.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import setting

from speech2vid.media import VideoWriter, load_photo
from speech2vid.types import Image

WIDTH_PX, HEIGHT_PX, FACE_SHARE = 1920, 1080, 0.9
RUN = "import json, sys, redub_speed; print(json.dumps(redub_speed.one_run(*sys.argv[1:])))"


def one_run(video: str, audio: str, outfile: str, cache: str) -> dict[str, object]:
    """``redub`` in this process."""
    import time

    from speech2vid.inference.redub import redub

    cpu_s, start = setting.cpu_s(), time.perf_counter()
    result = redub(video, audio, outfile, length="video", cache=cache == "cache")
    return {
        "frames": result.frames,
        "wall_s": time.perf_counter() - start,
        "cpu_s": setting.cpu_s() - cpu_s,
        "peak_mib": setting.peak_mib(),
        "stage_s": result.stage_seconds,
    }


def images(portrait: Image, seconds: float) -> Iterator[Image]:
    """A portrait that drifts, nods and comes nearer over a grey room."""
    scale = FACE_SHARE * HEIGHT_PX / portrait.shape[0]
    for number in range(round(seconds * 25)):
        time_s = number / 25
        turn, zoom = 3 * np.sin(0.9 * time_s), scale * (1 + 0.08 * np.sin(0.5 * time_s))
        move = cv2.getRotationMatrix2D((portrait.shape[1] / 2, portrait.shape[0] / 2), turn, zoom)
        move[:, 2] += (WIDTH_PX / 2 - portrait.shape[1] / 2, HEIGHT_PX / 2 - portrait.shape[0] / 2)
        move[0, 2] += 60 * np.sin(0.7 * time_s)
        room = np.full((HEIGHT_PX, WIDTH_PX, 3), 96, np.uint8)
        yield np.asarray(
            cv2.warpAffine(portrait, move, (WIDTH_PX, HEIGHT_PX), room, borderMode=cv2.BORDER_TRANSPARENT), np.uint8
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=lambda text: [float(each) for each in text.split(",")], default=[60.0, 600.0])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        portrait = load_photo(setting.make_photo(folder / "photo.png", HEIGHT_PX))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for length in arguments.lengths:
            audio = setting.make_audio(folder / f"{length:g}.wav", length)
            video = folder / f"{length:g}.mp4"
            with VideoWriter(video, WIDTH_PX, HEIGHT_PX, audio_source=audio, audio_limit_s=length) as writer:
                for image in images(portrait, length):
                    writer.write(image)
            for cache in ("no cache", "cache", "cache"):  # the second one fills it
                run = setting.child(RUN, str(video), str(audio), str(folder / "out.mp4"), cache)
                per_frame = {stage: round(1000 * s / run["frames"], 1) for stage, s in run["stage_s"].items()}
                print(
                    f"{length:g} s, {cache}: {run['frames'] / run['wall_s']:.1f} frames/s, "
                    f"cpu {1000 * run['cpu_s'] / run['frames']:.0f} ms a frame, peak {run['peak_mib']:.0f} MiB; "
                    f"ms a frame by stage: {json.dumps(per_frame)}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
