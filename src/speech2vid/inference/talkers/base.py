"""The seam of generation methods: a talker turns stills and audio into frames of a face; nothing else knows how.

A talker prepares a person once (:meth:`Talker.prepare`), says which values of the audio drive it
(:meth:`Talker.audio_stream`), and generates frames from them (:meth:`Talker.generate`): either aligned faces, or warp
fields that move the stills' own pixels. ``compositing`` places both on the canvas. ``talk``, ``redub``, ``TalkStream``
and ``evaluate`` work with any talker. To add one, see docs/how-to/add-a-talker.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from speech2vid.constants import FACE_PX, FRAME_RATE_HZ, IDENTITY_STILLS
from speech2vid.errors import ConfigError, WeightsError
from speech2vid.faces import Still
from speech2vid.inference.audio_stream import AudioStream, WindowStream
from speech2vid.inference.inner_mouth import MouthInside
from speech2vid.inference.options import Options, Silence
from speech2vid.runtime.engine import LoadGraph, graph_loader
from speech2vid.runtime.registry import ARCHITECTURES, talker_class
from speech2vid.runtime.weights import WeightSet, weight_set
from speech2vid.types import Affine, Floats, Frames, Image, Points

DEFAULT_TALKER = "warp"


@dataclass(frozen=True)
class Canvas:
    """The image to animate.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        transform: (2, 3) px of the image → px of the 112 px face.
        still: where it comes from.
        crop: the image shows the aligned face alone, and a whole generated face takes its place.
    """

    image: Image
    transform: Affine
    still: Still
    crop: bool = False


@dataclass(frozen=True)
class Scene:
    """The photo that a head moves in.

    Attributes:
        image: (H, W, 3) uint8 RGB: the canvas, with what lies around it in the photo.
        corner: left and top of the canvas in it.
        landmarks: (68, 2) float32 px of the image.
    """

    image: Image
    corner: tuple[int, int]
    landmarks: Points


@dataclass(frozen=True)
class Identity:
    """A person on a canvas, ready to speak; talkers that compute more of a person extend it.

    Attributes:
        canvas: (H, W, 3) uint8 RGB, the image to animate.
        canvas_transform: (2, 3) canvas px → px of the 112 px face.
        stills: five, ascending by lip opening; with fewer images some stand there several times (the same object).
        crop: as in :class:`Canvas`.
        scene: what the head can move in; None where it never moves. Talkers leave it out.
        inside: what is drawn between the lips; None leaves it to what the talker generates.
        talker: that prepared it; None after pickling, which leaves the networks behind.
        notes: what the user should know about the images, one line each.
    """

    canvas: Image
    canvas_transform: Affine
    stills: tuple[Still, ...]
    crop: bool = field(default=False, kw_only=True)
    scene: Scene | None = field(default=None, kw_only=True)
    inside: MouthInside | None = field(default=None, kw_only=True)
    talker: Talker | None = field(default=None, kw_only=True, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), kw_only=True, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "talker": None}


@dataclass(frozen=True)
class WarpFields:
    """Frames as movements of the stills' own pixels: what is generated for N frames.

    Attributes:
        flow: (N, K, 2, 32, 48) float32: an output pixel is sampled from this far away in still k; x, y, px of the
            aligned face. One cell is 2 × 2 px.
        masks: (N, K + 1, 64, 96) float32, non-negative, sum 1; the last one is the residual's.
        residual: (N, 3, 64, 96) float32 RGB in [0, 1].
        motion: (N, 9) float32 rows of head motion (:mod:`speech2vid.faces.head_motion`); None for a still head. Talkers
            leave it out.
        mouths: (N, 20, 2) float32, the mouths wanted, px of the aligned face; without them nothing is drawn between the
            lips.
    """

    flow: Floats
    masks: Floats
    residual: Floats
    mouths: Floats | None = None
    motion: Floats | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class AlignedFaces:
    """Whole faces, placed back by the inverse similarity: what is generated for N frames.

    Attributes:
        faces: (N, 112, 112, 3) uint8 RGB, aligned.
        mask: (112, 112) float32 in [0, 1], how much of them shows on a photo; None for the usual face-shaped one.
        motion: as in :class:`WarpFields`.
    """

    faces: Frames
    mask: Floats | None = None
    motion: Floats | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.faces.shape[1:] != (FACE_PX, FACE_PX, 3) or self.faces.dtype != np.uint8:
            wanted = f"(N, {FACE_PX}, {FACE_PX}, 3) uint8"
            raise ValueError(f"faces must be {wanted}, not {self.faces.shape} {self.faces.dtype}")


Generated = WarpFields | AlignedFaces


class Talker(ABC):
    """A generation method with its networks, loaded. Safe to use from several threads and for several people.

    Attributes:
        name: for reports and error messages.
        hashes: architecture of each network that runs → SHA-256 of its tensors.
    """

    name: ClassVar[str]
    hashes: Mapping[str, str] = {}

    @classmethod
    def load(cls, weights: WeightSet, load: LoadGraph) -> Self:
        """Load the networks. A talker without networks need not override this.

        Args:
            weights: where weight files lie: ``weights.path(architecture)``.
            load: runs a graph of a weight file on the engine and device that the user chose.

        Raises:
            WeightsError: a file is missing, damaged, or holds another network.
        """
        return cls()

    def prepare(self, canvas: Canvas, stills: Sequence[Still]) -> Identity:
        """Return a person ready to speak: everything that is computed once a video.

        Args:
            canvas: the image to animate.
            stills: one to five of the person, ascending by lip opening; ``canvas.still`` may be one of them.
        """
        slots = tuple(stills[i] for i in spread(len(stills)))
        return Identity(canvas.image, canvas.transform, slots, crop=canvas.crop)

    def audio_stream(self, silence: Silence = "hold", block_frames: int | None = None) -> AudioStream:
        """Return a new stream from audio to the values that drive :meth:`generate`; by default windows of MFCC.

        Args:
            silence: ``hold`` keeps the mouth closed where nobody speaks; ``follow`` lets it follow all audio. A talker
                that hears silence by itself may ignore it.
            block_frames: how many frames to compute at once: 1 for the shortest delay; None for the least work.
        """
        return WindowStream(block_frames or 1)

    def drive_at(self, drive: Floats, times_s: NDArray[np.float64]) -> Floats:
        """Return the driving values at any times, from those of the frames of the 25 Hz grid.

        By default those of the frame that is shown at the time.

        Args:
            drive: (N, …) of the frames of the grid.
            times_s: (T,) seconds.
        """
        frames = (np.asarray(times_s) * FRAME_RATE_HZ).astype(int)
        at: Floats = drive[frames.clip(0, len(drive) - 1)]
        return at

    @abstractmethod
    def generate(self, identity: Identity, drive: Floats) -> Generated:
        """Return N frames of a person.

        Args:
            identity: of :meth:`prepare`.
            drive: (N, …) driving values of :meth:`audio_stream`.
        """

    def drive_of_mouths(self, identity: Identity, mouths: Floats) -> Floats | None:
        """Return the driving values that make these mouths, (N, 20, 2) px of the 112 px face.

        None where mouth shapes cannot drive this talker, which is the default.
        """
        return None


def spread(count: int) -> list[int]:
    """Return which of ``count`` stills fills each of the five slots, in order: [0, 0, 0, 1, 1] for two."""
    return [slot * count // IDENTITY_STILLS for slot in range(IDENTITY_STILLS)]


def load_talker(
    weights: str | PathLike[str] | WeightSet | None = None,
    *,
    generator: str = "",
    device: str = "auto",
    engine: str = "onnx",
    threads: int = 0,
) -> Talker:
    """Load a talker.

    Args:
        weights: as :func:`speech2vid.runtime.weights.weight_set`: a shipped set, a folder or a file; None for the
            default set. Networks that it lacks come from the default set.
        generator: ``warp``, ``paper``, an installed entry point of the group ``speech2vid.talkers``, or
            ``module:Class``; "" for the talker whose weights these are.
        device: ``auto``, ``cpu`` or ``cuda``; with the engine ``torch`` also ``mps``.
        engine: ``onnx`` or ``torch``.
        threads: for one call of a network; 0 for one a core.

    Raises:
        WeightsError: a file is missing, damaged, or holds another network.
        ConfigError: an unknown generator, engine or device.
        MissingExtraError: PyTorch is needed and not installed.
    """
    found = weight_set(weights)
    chosen = talker_class(generator or _talker_of(found))
    if not (isinstance(chosen, type) and issubclass(chosen, Talker)):
        raise ConfigError(f"{generator} is not a Talker", "give a class derived from speech2vid.Talker")
    return chosen.load(found, graph_loader(device, threads, engine))


def talker_for(options: Options, threads: int = 0) -> Talker:
    """Load the talker that options ask for; errors as :func:`load_talker`."""
    return load_talker(
        options.weights, generator=options.generator, device=options.device, engine=options.engine, threads=threads
    )


def _talker_of(weights: WeightSet) -> str:
    """Return the name of the talker that a set holds; that of the default set for a set without one."""
    held = {name: ARCHITECTURES[name].talker for name in weights.own if name in ARCHITECTURES}
    talkers = sorted({talker for talker in held.values() if talker})
    if len(talkers) > 1:
        raise WeightsError(f"{weights.name} holds two talkers", f"choose with --generator: {', '.join(talkers)}")
    return talkers[0] if talkers else DEFAULT_TALKER
