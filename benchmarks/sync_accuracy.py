"""How well the sync network tells the offset of the audio, who speaks, and whether the voice is on screen at all.

    python benchmarks/sync_accuracy.py --data STORE [--split val] [--out results] [--weights DIR]

Clips of at least 2 s of a sample store, as their files had them: an offset that preparation took out is put back. Per
window of 5 … 50 frames: is the best of 31 offsets (−15 … 15 frames) within one frame of 0? Next to it chance, and the
lip opening times the energy of the audio, on the same windows. Then pairs of clips of which one has the audio, and
clips with another speaker's audio. Intervals are 95 %, bootstrap over clips (of a pair: the clip with the audio).
Writes ``sync_accuracy.json`` and ``sync_accuracy.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.evaluation.statistics import Estimate, mean_estimate, ratio_estimate
from speech2vid.faces import SyncNetworks, lip_opening
from speech2vid.faces.mouth_crops import mouth_crops, without_mean
from speech2vid.faces.sync import OFFSETS, Floats, offset_of, similarities, window_means

CONTEXTS = (5, 9, 15, 25, 50)
LEAST_S = 2.0
RIGHT_FRAMES = 1
SPOKEN_S = (2.0, 3.0, 5.0, 8.0)  # how long a face is seen before it is asked whether the voice is its own
THRESHOLDS = (0.03, 0.05, 0.07, 0.09)
CHANCE = (2 * RIGHT_FRAMES + 1) / len(OFFSETS)


@dataclass(frozen=True)
class Clip:
    """A clip: (T, E) vectors or (T,) openings of its frames, those of its audio, and where its first frame is in it."""

    key: str
    speaker: str
    video: Floats
    audio: Floats
    opening: Floats
    energy: Floats
    first: int

    def network(self, other: Clip | None = None) -> Floats:
        """Similarities (T, 31) with the clip's own or another one's audio."""
        heard = other or self
        return similarities(self.video, heard.audio, heard.first)

    def baseline(self, other: Clip | None = None) -> Floats:
        """The same, of lip opening and energy."""
        heard = other or self
        values = similarities(self.opening[:, None], heard.energy[:, None], heard.first)
        return np.where(np.isnan(self.network(other)), np.nan, values).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="sample store")
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the results")
    parser.add_argument("--weights", type=Path, help="folder of weight files instead of the package's own")
    arguments = parser.parse_args()
    clips = load(arguments.data, arguments.split, SyncNetworks(arguments.weights, threads=1))
    record = measure(clips)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "sync_accuracy.json").write_text(json.dumps(record, indent=1, default=asdict) + "\n")
    (arguments.out / "sync_accuracy.md").write_text(markdown(record))
    print(markdown(record))


def load(folder: Path, split: str, networks: SyncNetworks) -> list[Clip]:
    """The clips that are long enough, with the audio as their files had it."""
    tracks = (track for track in SampleStore(folder).tracks(split) if len(track) >= LEAST_S * FRAME_RATE_HZ)
    return [clip_of(track, networks) for track in tracks]


def clip_of(track: Track, networks: SyncNetworks) -> Clip:
    record = track.record
    late_s = record.offset_s or record.offset_frames / FRAME_RATE_HZ  # taken out by preparation
    shift = round(late_s * SAMPLE_RATE_HZ)
    front = np.zeros(max(0, shift), np.float32)
    waveform = np.concatenate([front, track.audio_with_context[max(0, -shift) :]])
    energy = frame_energy(waveform)
    opening = without_mean(lip_opening(track.landmarks)[:, None])[:, 0]
    return Clip(
        record.key,
        record.speaker,
        networks.video(mouth_crops(track.frames), track.landmarks),
        networks.audio([waveform]),
        opening / (opening.std() + 1e-6),
        energy / (energy.std() + 1e-6),
        record.audio_lead_frames,
    )


def frame_energy(waveform: NDArray[np.float32]) -> Floats:
    """Logarithm of the energy of each frame's audio, less its running mean."""
    frames = round(len(waveform) / SAMPLES_PER_FRAME)
    padded = np.pad(waveform, (0, max(0, frames * SAMPLES_PER_FRAME - len(waveform))))[: frames * SAMPLES_PER_FRAME]
    power = (padded.reshape(frames, -1) ** 2).mean(axis=1)
    return without_mean(np.log(power + 1e-6)[:, None])[:, 0]


def measure(clips: Sequence[Clip]) -> dict[str, Any]:
    """All figures."""
    return {
        "clips": len(clips),
        "speakers": len({clip.speaker for clip in clips}),
        "chance": CHANCE,
        "offset": {
            name: {context: accuracy([getattr(clip, name)() for clip in clips], clips, context) for context in CONTEXTS}
            for name in ("network", "baseline")
        },
        "lags": {
            speaker: round(float(np.mean([whole_offset(clip) for clip in clips if clip.speaker == speaker])), 2)
            for speaker in sorted({clip.speaker for clip in clips})
        },
        "speaker": {
            name: {how: who_speaks(clips, name, known=how == "known") for how in ("known", "unknown")}
            for name in ("network", "baseline")
        },
        "off_screen": [off_screen(clips, seconds) for seconds in SPOKEN_S],
    }


def accuracy(values: Sequence[Floats], clips: Sequence[Clip], context: int) -> dict[str, Estimate] | None:
    """Share of windows whose best offset is within a frame of 0: of all windows, and as a mean over clips."""
    right, windows, speakers = [], [], []
    for each, clip in zip(values, clips, strict=True):
        _, means = window_means(each, context)
        if len(means):
            found = OFFSETS[means.argmax(axis=1)]
            right.append(float((abs(found) <= RIGHT_FRAMES).sum()))
            windows.append(float(len(means)))
            speakers.append(clip.speaker)
    if not windows:
        return None
    shares = (np.array(right) / np.array(windows)).tolist()
    return {"windows": ratio_estimate(right, windows, speakers), "clips": mean_estimate(shares, speakers)}


def whole_offset(clip: Clip) -> float:
    """The offset of the whole clip, in frames."""
    return offset_of(curve_of(clip.network()))


def who_speaks(clips: Sequence[Clip], name: str, known: bool) -> Estimate:
    """Of two clips of different speakers, cut to one length, and the audio of one: whose is it?

    Args:
        known: the offset between picture and audio, 0; else each clip is taken where it fits best.
    """
    score = fit if known else confidence
    right, pairs = [], []
    for speaker in clips:
        others = [clip for clip in clips if clip.speaker != speaker.speaker]
        wins = 0
        for other in others:
            frames = min(len(speaker.video), len(other.video))
            own, foreign = (getattr(each, name)(speaker)[:frames] for each in (speaker, other))
            wins += score(own) > score(foreign)
        right.append(float(wins))
        pairs.append(float(len(others)))
    return ratio_estimate(right, pairs, [clip.speaker for clip in clips])


def curve_of(values: Floats) -> Floats:
    """(31,) mean over the frames; NaN where nothing is known."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(1, count), np.nan)


def confidence(values: Floats) -> float:
    """Maximum less median of the curve."""
    curve = curve_of(values)
    return float(np.nanmax(curve) - np.nanmedian(curve))


def off_screen(clips: Sequence[Clip], seconds: float) -> dict[str, Any]:
    """At the known offset (±1): how often its own voice, and how often another one's, falls below each threshold."""
    frames = round(seconds * FRAME_RATE_HZ)
    long = [clip for clip in clips if len(clip.video) >= frames]
    own = [fit(clip.network()[i : i + frames]) for clip in long for i in range(0, len(clip.video) - frames + 1, frames)]
    foreign = [
        fit(clip.network(other)[:frames])
        for clip in long
        for other in clips
        if other.speaker != clip.speaker and len(other.video) >= frames
    ]
    return {
        "seconds": seconds,
        "own": len(own),
        "foreign": len(foreign),
        "below": {
            each: [float(np.mean(np.array(own) < each)), float(np.mean(np.array(foreign) < each))]
            for each in THRESHOLDS
        }
        if own and foreign
        else {},
    }


def fit(values: Floats) -> float:
    """How much better a face fits at offset 0 ± 1 than elsewhere."""
    curve = curve_of(values)
    return float(np.nanmax(curve[abs(OFFSETS) <= 1]) - np.nanmedian(curve))


def markdown(record: dict[str, Any]) -> str:
    """The figures as tables."""
    lines = [
        f"{record['clips']} clips of {LEAST_S:.0f} s and more, {record['speakers']} speakers; ±15 frames, right within "
        f"±{RIGHT_FRAMES}; chance {record['chance']:.1%}. All windows [95 % over clips] / mean over clips.",
        "",
        "| context, frames | " + " | ".join(map(str, CONTEXTS)) + " |",
        "|---" * (len(CONTEXTS) + 1) + "|",
    ]
    for name, title in (("baseline", "lip opening × energy"), ("network", "sync network")):
        cells = [both(record["offset"][name][context]) for context in CONTEXTS]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    whose = ((name, how, value) for name, row in record["speaker"].items() for how, value in row.items())
    lines += ["", "Which of two faces speaks: "]
    lines[-1] += "; ".join(f"{name}, offset {how}, {one(value)}" for name, how, value in whose)
    lines += ["", "Lag of the clips, frames: " + ", ".join(f"{who} {lag:+.1f}" for who, lag in record["lags"].items())]
    lines += [
        "",
        "Lips that fit the audio (maximum near the true offset less median) by less than a threshold: own audio / "
        "another speaker's, which is what a voice off screen is.",
    ]
    lines += ["", "| seconds | pieces own / foreign | " + " | ".join(f"below {each}" for each in THRESHOLDS) + " |"]
    lines.append("|---" * (len(THRESHOLDS) + 2) + "|")
    for row in record["off_screen"]:
        cells = [f"{own:.1%} / {foreign:.1%}" for own, foreign in row["below"].values()]
        lines.append(f"| {row['seconds']:.0f} | {row['own']} / {row['foreign']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def both(found: dict[str, Estimate] | None) -> str:
    return "–" if found is None else f"{one(found['windows'])} / {found['clips'].value:.2f}"


def one(value: Estimate) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


if __name__ == "__main__":
    main()
