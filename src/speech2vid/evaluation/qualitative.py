"""Images and videos of the report, after the paper's Figs. 11, 12 and 16, from the clips evaluated."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from speech2vid.constants import FACE_PX, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import DataError
from speech2vid.evaluation.generation import MotionSpeaker
from speech2vid.evaluation.protocol import Trial
from speech2vid.evaluation.redubbing import Filmed
from speech2vid.evaluation.runner import FIVE, Runner, speakers_for, stills_for
from speech2vid.faces import lip_opening
from speech2vid.media import VideoWriter
from speech2vid.types import Frames, Image, Waveform

MOMENTS = 8  # of a clip
PANEL_PX = 2 * FACE_PX  # side of a face in the videos
REDUBBED, REDUB_FRAMES, REDUB_MOMENTS = 3, 75, 6  # clips re-dubbed, of each so many frames at most, and those shown
LABEL_PX = 22
CONTROLS_PX = 48  # white, below: a player's buttons must not hide the mouths
VIDEO_CRF = 20
STILLS_TITLES = {FIVE: "five stills", "one_still": "one still"}
TRUTH_TITLE, STILL_TITLE = "ground truth", "still photo"
VOICE_TITLE, SOURCE_TITLE = "whose audio it is", "source"


@dataclass(frozen=True)
class ShowTask:
    """A clip to show.

    Attributes:
        trial, columns, seed: as in :class:`speech2vid.evaluation.runner.ClipTask`.
        track: the clip.
        source: the clip that the stills come from.
    """

    trial: Trial
    track: Track
    source: Track
    columns: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Strip:
    """One line of an example: a title, the photo it was made of (none for what was filmed), and (n, side, side, 3)
    frames."""

    title: str
    photo: Image | None
    frames: Frames


@dataclass(frozen=True)
class QualitativeExample:
    """A clip at a few moments, and as a video.

    Attributes:
        key: of the clip; with another's audio, also whose.
        moments: frame numbers.
        strips: what was filmed, and what was made in each way.
        video: an MP4 of all of it side by side, with audio.
    """

    key: str
    moments: list[int]
    strips: list[Strip]
    video: bytes


@dataclass(frozen=True)
class GridTask:
    """A person who says several people's sounds.

    Attributes:
        source: the clip that the stills come from.
        audio_tracks: clips whose audio is said.
        moments: the frame shown of each.
        column, seed: which stills.
    """

    source: Track
    audio_tracks: tuple[Track, ...]
    moments: tuple[int, ...]
    column: str
    seed: int


@dataclass(frozen=True)
class GridRow:
    """An identity's photo, and (n, 112, 112, 3) frames, one of each audio."""

    photo: Image
    frames: Frames


@dataclass(frozen=True)
class Grid:
    """Identities by recordings: each row one person, each column one recording.

    Attributes:
        header: (n, 112, 112, 3) the true frames of the sounds.
        rows: one of each identity.
    """

    header: Frames
    rows: list[GridRow]


@dataclass(frozen=True)
class RedubTask:
    """A clip that says another clip's audio."""

    filmed: Filmed
    voice: Filmed


def show_clip(task: ShowTask, runner: Runner) -> QualitativeExample:
    """Generate a clip again to be looked at."""
    track, frames = task.track, task.track.frames
    moments = np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int)
    strips = [Strip(TRUTH_TITLE, None, frames[moments])]
    panels: dict[str, Frames] = {TRUTH_TITLE: frames}
    for (name, column), speaker in speakers_for(task.source, task.columns, task.seed, runner).items():
        title = ", ".join([*([] if runner.alone else [name]), STILLS_TITLES[column]])
        photo = speaker.stills[0].aligned.image
        panels[title] = speaker.says(track)
        strips.append(Strip(f"generated, {title}", photo, panels[title][moments]))
        if isinstance(speaker, MotionSpeaker):
            shown = speaker.shows(track)[moments]
            strips.append(Strip(f"true mouth shapes, {title}", photo, shown))
    still = stills_for(task.source, task.columns[0], task.seed)[0].aligned.image
    panels[STILL_TITLE] = np.broadcast_to(still, frames.shape)
    return QualitativeExample(task.trial.clip.key, moments.tolist(), strips, side_by_side(panels, track.waveform))


def show_person(task: GridTask, runner: Runner) -> GridRow:
    """One row of the grid, made with the first generator."""
    speaker = runner.generators[0].speaker(stills_for(task.source, task.column, task.seed))
    generated = [speaker.says(audio)[moment] for audio, moment in zip(task.audio_tracks, task.moments, strict=True)]
    return GridRow(speaker.stills[0].aligned.image, np.stack(generated))


def grid_tasks(shown: Sequence[ShowTask]) -> list[GridTask]:
    """Every shown person with every shown audio: where its lips are farthest open and, turn about, most closed."""
    audio_tracks = tuple(task.track for task in shown)
    openings = [lip_opening(track.landmarks) for track in audio_tracks]
    moments = tuple(int(each.argmin() if number % 2 else each.argmax()) for number, each in enumerate(openings))
    return [GridTask(task.source, audio_tracks, moments, task.columns[0], task.seed) for task in shown]


def header_of(task: GridTask) -> Frames:
    """The true frames of a grid's sounds."""
    return np.stack([audio.frames[moment] for audio, moment in zip(task.audio_tracks, task.moments, strict=True)])


def redub_tasks(tracks: Sequence[Track], runner: Runner, store: SampleStore, split: str) -> tuple[list[RedubTask], str]:
    """The longest clips of a few people, each with the next one's audio; and what there is to say of it, or "".

    Args:
        tracks: of two people or more, without their 224 px faces.
        runner: what re-dubs.
        store, split: where those faces are.
    """
    if runner.redubber is None:
        return [], "Re-dubbing is not shown."
    longest: dict[str, Track] = {}
    for track in sorted(tracks, key=lambda track: (-len(track), track.record.key)):
        longest.setdefault(track.record.speaker, track)
    chosen = {track.record.key: track for track in list(longest.values())[:REDUBBED]}
    found: dict[str, Filmed] = {}
    try:
        for key, jpegs in store.contexts(split):
            if key in chosen:
                found[key] = Filmed(chosen[key], jpegs)
            if len(found) == len(chosen):
                break
    except DataError as error:
        return [], f"Re-dubbing is not shown: {error.message}."
    filmed = [found[key] for key in chosen]
    made_with = "" if runner.alone else f"Made with {runner.redubber.name}."
    note = " ".join(filter(None, [made_with, runner.redubber.lacking]))
    return list(map(RedubTask, filmed, [*filmed[1:], *filmed[:1]])), note


def show_redub(task: RedubTask, runner: Runner) -> QualitativeExample:
    """Re-dub the beginning of a clip in each way (Fig. 16)."""
    assert runner.redubber is not None
    filmed, voice = task.filmed, task.voice
    count = min(len(filmed.track), len(voice.track), REDUB_FRAMES)
    panels = {VOICE_TITLE: voice.faces(count), SOURCE_TITLE: filmed.faces(count)}
    panels |= runner.redubber.redub(filmed, voice.track, count)
    moments = np.linspace(0, count - 1, REDUB_MOMENTS).round().astype(int)
    strips = [Strip(title, None, frames[moments]) for title, frames in panels.items()]
    key = f"{filmed.track.record.key} with the audio of {voice.track.record.key}"
    audio = voice.track.waveform[: count * SAMPLES_PER_FRAME]
    return QualitativeExample(key, moments.tolist(), strips, side_by_side(panels, audio))


def side_by_side(panels: Mapping[str, Frames], audio: Waveform) -> bytes:
    """An MP4 of several (T, side, side, 3) videos with their titles above and a recording of (n,) samples at 16 kHz."""
    size = PANEL_PX
    labels = np.hstack([labelled(title, size, LABEL_PX) for title in panels])
    with tempfile.TemporaryDirectory() as folder:
        outfile, spoken = Path(folder) / "clip.mp4", Path(folder) / "sound.wav"
        _write_wave(spoken, audio)
        height, width = LABEL_PX + size + CONTROLS_PX, size * len(panels)
        below = np.full((CONTROLS_PX, width, 3), 255, np.uint8)
        with VideoWriter(outfile, width, height, audio_source=spoken, crf=VIDEO_CRF, threads=1) as writer:
            for frames in zip(*panels.values(), strict=True):
                large = [cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in frames]
                writer.write(np.vstack([labels, np.hstack(large).astype(np.uint8), below]))
        return outfile.read_bytes()


def labelled(title: str, width_px: int, height_px: int) -> Image:
    """A white image with a title in it, one line for each part between commas where it is high enough."""
    band = np.full((height_px, width_px, 3), 255, np.uint8)
    lines = title.split(", ") if height_px > 2 * LABEL_PX else [title]
    for number, line in enumerate(lines, 1):
        place = (4, LABEL_PX * number - 7)
        cv2.putText(band, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return band


def _write_wave(path: Path, audio: Waveform) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.rint(audio.clip(-1, 1) * 32767).astype("<i2").tobytes())
