"""Filmed faces made to say another recording, by the code that ``redub`` runs, on a store's 224 px faces (Sect. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from speech2vid.constants import CONTEXT_FACE_PX, FRAME_RATE_HZ
from speech2vid.data.jpeg import decode_jpeg
from speech2vid.data.records import Track
from speech2vid.data.shards import PREPARE_AGAIN
from speech2vid.errors import DataError, WeightsError
from speech2vid.evaluation.generation import Generator, track_drive
from speech2vid.evaluation.protocol import five_stills, still_of_context
from speech2vid.faces import Still
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert
from speech2vid.inference.mouth_geometry import plan_aligned
from speech2vid.inference.options import AnyPath, RedubOptions, Silence
from speech2vid.inference.redub_frame import shown_share
from speech2vid.inference.redubbers.base import FilmedFace, Person, Redubber
from speech2vid.inference.redubbers.choose import load_redubber
from speech2vid.inference.redubbers.warp import PaintedRedubber, Paste
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.inference.video_tracks import STILLS_A_PERSON
from speech2vid.types import Frames

PASTE, POISSON, NETWORK = "plain paste", "Poisson editing", "blending network"


@dataclass(frozen=True)
class Filmed:
    """A clip whose 224 px faces are still encoded: one JPEG a frame. DataError where there are more or fewer."""

    track: Track
    jpegs: Sequence[bytes]

    def __post_init__(self) -> None:
        if len(self.jpegs) != len(self.track):
            counts = f"{len(self.jpegs)} faces at 224 px instead of {len(self.track)}"
            raise DataError(f"sample {self.track.record.key} is damaged: {counts}", PREPARE_AGAIN)

    def faces(self, count: int) -> Frames:
        """Return the first ones, (count, 224, 224, 3) uint8 RGB."""
        return np.stack([decode_jpeg(jpeg, CONTEXT_FACE_PX) for jpeg in self.jpegs[:count]])


@dataclass(frozen=True)
class RedubEvaluator:
    """All that puts other words into a filmed mouth.

    Attributes:
        name: of the weights.
        silence: policy for silence, ``hold`` or ``follow``, as in ``redub``.
        redubbers: title → a re-dubbing method.
        lacking: which method is not among them, and why; "" where all are.
    """

    name: str
    silence: Silence
    redubbers: Mapping[str, Redubber]
    lacking: str = ""

    def redub(self, filmed: Filmed, audio: Track, count: int) -> dict[str, Frames]:
        """Return the first ``count`` frames of a clip with the beginning of another's audio, both at least as long.

        Returns:
            title → (count, 224, 224, 3) uint8 RGB, by each method.
        """
        person = Person(tuple(_moments(filmed)), tuple(_chosen(filmed)))
        source = filmed.faces(count)
        return {
            title: self._redub(redubber, filmed.track, person, source, audio)
            for title, redubber in self.redubbers.items()
        }

    def _redub(self, redubber: Redubber, track: Track, person: Person, source: Frames, audio: Track) -> Frames:
        times_s = np.arange(len(track)) / FRAME_RATE_HZ
        plan = plan_aligned(track.transforms, track.landmarks, times_s, redubber.neutral_mouth(person))
        prepared = redubber.prepare(person, plan)
        drive = track_drive(audio, redubber.audio_stream(self.silence))
        to_face = invert(context_from_face())
        generated = source.copy()
        for at, image in enumerate(source):
            face = FilmedFace(image, to_face, plan.landmarks[at])
            difference, (left, top) = redubber.change(face, prepared, plan, at, drive[at])
            part = generated[at, top : top + difference.shape[0], left : left + difference.shape[1]]
            part[:] = np.rint(part + shown_share(plan.weight[at]) * difference).clip(0, 255).astype(np.uint8)
        return generated


def open_redubber(generator: Generator, weights: AnyPath | None, device: str = "auto") -> RedubEvaluator:
    """Return what re-dubs with a generator's weights.

    Args:
        generator: what was loaded.
        weights: where it came from; None is the default set.
        device: as :func:`speech2vid.load_talker`.
    """
    talker = generator.talker
    settings = {"weights": weights, "device": device, "generator": generator.method}
    options = RedubOptions.of(None, settings)
    redubbers: dict[str, Redubber] = {}
    if isinstance(talker, WarpNetworks):
        redubbers[PASTE] = PaintedRedubber(talker, Paste())
    redubbers[POISSON] = load_redubber(options)
    lacking = ""
    try:
        redubbers[NETWORK] = load_redubber(replace(options, blend="network"))
    except WeightsError as error:
        lacking = f"The blending network is not shown: {error.message}."
    return RedubEvaluator(generator.name, generator.silence, redubbers, lacking)


def _chosen(filmed: Filmed) -> list[Still]:
    """Return five stills at percentiles of lip opening, ascending."""
    return [_still(filmed, frame) for frame in five_stills(filmed.track)]


def _moments(filmed: Filmed) -> list[Still]:
    """Return stills spread over the clip, as many as ``redub`` keeps of a person."""
    count = len(filmed.track)
    frames = np.unique(np.linspace(0, count - 1, min(count, STILLS_A_PERSON)).round().astype(int))
    return [_still(filmed, int(frame)) for frame in frames]


def _still(filmed: Filmed, frame: int) -> Still:
    return still_of_context(filmed.track, frame, decode_jpeg(filmed.jpegs[frame], CONTEXT_FACE_PX))
