"""Filmed faces made to say another recording, by the code that ``redub`` runs, on a store's 224 px faces (Sect. 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech2vid.constants import CONTEXT_FACE_PX, FRAME_RATE_HZ
from speech2vid.data.jpeg import decode_jpeg
from speech2vid.data.records import Track
from speech2vid.data.shards import PREPARE_AGAIN
from speech2vid.errors import DataError, WeightsError
from speech2vid.evaluation.generation import Generator, WarpGenerator, track_motion
from speech2vid.evaluation.protocol import five_stills, still_of_context
from speech2vid.faces import Still
from speech2vid.faces.align import context_from_face
from speech2vid.geometry import invert
from speech2vid.inference.mouth_geometry import plan_aligned
from speech2vid.inference.mouth_motion import Silence
from speech2vid.inference.redub_frame import Person, mean_mouth_of, open_still, paint_mouth, shown_share
from speech2vid.inference.redubbers.poisson import PoissonBlender
from speech2vid.inference.redubbers.warp import NetworkBlender
from speech2vid.inference.talkers.warp import TalkerNetworks
from speech2vid.inference.video_tracks import STILLS_A_PERSON
from speech2vid.types import Frames, Points

# source, painted (N, 224, 224, 3), landmarks (N, 68, 2), targets (N, 20, 2) → faces, as ``inference.blending.Blender``
Blend = Callable[[Frames, Frames, Points, Points], Frames]
PASTE, POISSON, NETWORK = "plain paste", "Poisson editing", "blending network"
NO_PAINTER = (
    "Re-dubbing is not shown: it paints with the warp talker (weight files warp_talker and voice), which none of the "
    "weights evaluated is."
)


def paste(source: Frames, painted: Frames, landmarks: Points, targets: Points) -> Frames:
    """The painted face as it is."""
    return painted


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
        """The first ones, (count, 224, 224, 3) uint8 RGB."""
        return np.stack([decode_jpeg(jpeg, CONTEXT_FACE_PX) for jpeg in self.jpegs[:count]])


@dataclass(frozen=True)
class RedubEvaluator:
    """All that puts other words into a filmed mouth.

    Attributes:
        name: of the weights.
        networks: the warp talker's, which paint.
        silence: what the mouth does where nobody speaks, as in ``redub``.
        blends: title → a way to lay the painted mouths in.
        lacking: which way is not among them, and why; "" where all are.
    """

    name: str
    networks: TalkerNetworks
    silence: Silence
    blends: Mapping[str, Blend]
    lacking: str = ""

    def redub(self, filmed: Filmed, audio: Track, count: int) -> dict[str, Frames]:
        """The first ``count`` frames of a clip with the beginning of another's audio, both at least as long.

        Returns:
            title → (count, 224, 224, 3) uint8 RGB, by each way.
        """
        track = filmed.track
        mean_mouth = mean_mouth_of(track.landmarks[five_stills(track)], self.networks)
        times_s = np.arange(len(track)) / FRAME_RATE_HZ
        plan = plan_aligned(track.transforms, track.landmarks, times_s, mean_mouth, self.networks.neutral_weight)
        second_still = open_still(Person(tuple(_moments(filmed)), mean_mouth), plan)
        motions = track_motion(audio, self.networks, self.silence)[:count]
        targets = np.stack([plan.target(at, motion) for at, motion in enumerate(motions)])
        source, landmarks, to_face = filmed.faces(count), plan.landmarks[:count], invert(context_from_face())
        painted = np.stack(
            [
                paint_mouth(face, to_face, points, second_still, target, self.networks)
                for face, points, target in zip(source, landmarks, targets, strict=True)
            ]
        )
        shares = np.array([shown_share(weight) for weight in plan.weight[:count]], np.float32)[:, None, None, None]
        generated = {title: blend(source, painted, landmarks, targets) for title, blend in self.blends.items()}
        return {
            title: np.rint(source + shares * (faces - source)).astype(np.uint8) for title, faces in generated.items()
        }


def open_redubber(
    generators: Sequence[Generator], folders: Sequence[Path | None], device: str = "auto", threads: int = 0
) -> RedubEvaluator | None:
    """What re-dubs with the first of the weights that can, or None.

    Args:
        generators: what was loaded.
        folders: where each came from; None is the package's.
        device, threads: as for ``inference.network_blend.NetworkBlender``.
    """
    for generator, folder in zip(generators, folders, strict=True):
        if isinstance(generator, WarpGenerator):
            blends: dict[str, Blend] = {PASTE: paste, POISSON: PoissonBlender().blend}
            lacking = ""
            try:
                blends[NETWORK] = NetworkBlender(folder, device, threads).blend
            except WeightsError as error:
                lacking = f"The blending network is not shown: {error.message}."
            return RedubEvaluator(generator.name, generator.networks, generator.silence, blends, lacking)
    return None


def _moments(filmed: Filmed) -> list[Still]:
    """Stills spread over the clip, as many as ``redub`` keeps of a person."""
    count = len(filmed.track)
    frames = np.unique(np.linspace(0, count - 1, min(count, STILLS_A_PERSON)).round().astype(int))
    return [
        still_of_context(filmed.track, int(frame), decode_jpeg(filmed.jpegs[frame], CONTEXT_FACE_PX))
        for frame in frames
    ]
