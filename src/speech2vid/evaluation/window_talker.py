"""The paper's talker (Sect. 3.1) as a generator: windows of audio and stills → whole faces, on either engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from speech2vid.audio.windows import windows
from speech2vid.constants import IDENTITY_STILLS, SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.evaluation.generation import framed, repeating
from speech2vid.faces import Still
from speech2vid.inference.identity import spread
from speech2vid.runtime.onnx import Arrays, OnnxNetwork
from speech2vid.types import Floats, Frames

if TYPE_CHECKING:
    from speech2vid.models.paper_talker import IdentityFeatures, PaperTalker

BATCH = 16  # frames computed at once


class WindowTalker(Protocol):
    """The network as numpy → numpy.

    Attributes:
        identity_images: stills of a person, 1 or 5.
    """

    identity_images: int

    def identity(self, stills: Floats) -> Any:
        """What ``faces`` needs of a person: stills (1, 3 · identity_images, 112, 112) in [0, 1]."""
        ...

    def faces(self, identity: Any, windows: Floats) -> Floats:
        """(N, 1, 12, 35) MFCC windows → (N, 3, 109, 109) RGB in [0, 1]."""
        ...


class OnnxTalker:
    """On ONNX Runtime, from a weight file with its graphs next to it. WeightsError where one is missing or damaged."""

    def __init__(self, weights: Path, threads: int = 0) -> None:
        graphs = [weights.with_name(f"{weights.stem}.{name}.onnx") for name in ("identity", "frames")]
        self._identity, self._frames = (OnnxNetwork(graph, weights, threads) for graph in graphs)
        self.identity_images = int(self._identity.header.config["identity_images"])

    def identity(self, stills: Floats) -> Arrays:
        return self._identity({"stills": stills})

    def faces(self, identity: Arrays, windows: Floats) -> Floats:
        return np.asarray(self._frames({**identity, "windows": windows})["frames"], np.float32)


class TorchTalker:
    """In PyTorch: a network in memory, on whatever device it is."""

    def __init__(self, network: PaperTalker) -> None:
        self._network = network
        self.identity_images: int = network.config.identity_images

    @classmethod
    def load(cls, weights: Path) -> TorchTalker:
        """From a weight file. WeightsError where it is missing, damaged or of another network."""
        from speech2vid.models.paper_talker import PaperTalker
        from speech2vid.runtime.torch import load

        return cls(load(weights, PaperTalker)[0])

    def identity(self, stills: Floats) -> IdentityFeatures:
        import torch

        with self._evaluating():
            return self._network.encode_identity(torch.from_numpy(stills).to(self._device))

    def faces(self, identity: IdentityFeatures, windows: Floats) -> Floats:
        import torch

        with self._evaluating():
            generated = self._network.generate(identity, torch.from_numpy(windows).to(self._device))
            return np.asarray(generated.float().cpu().numpy(), np.float32)

    @property
    def _device(self) -> Any:
        return next(self._network.parameters()).device

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """In evaluation mode and without gradients; a network that is being trained goes on as it was."""
        import torch

        training = self._network.training
        self._network.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self._network.train(training)


class WindowGenerator:
    """The paper's talker behind the interface of every generator. It has no mouth shapes, and no gate for silence."""

    def __init__(self, talker: WindowTalker, name: str = "paper_talker") -> None:
        self.talker, self.name = talker, name

    def speaker(self, stills: Sequence[Still]) -> WindowSpeaker:
        return WindowSpeaker(stills, self.talker)


class WindowSpeaker:
    """See :class:`speech2vid.evaluation.generation.Speaker`."""

    for_chance = True

    def __init__(self, stills: Sequence[Still], talker: WindowTalker) -> None:
        self.stills = tuple(stills)
        self._talker = talker
        slots = [stills[i].aligned.image for i in spread(len(stills))]
        if talker.identity_images != IDENTITY_STILLS:
            slots = [slots[IDENTITY_STILLS // 2]]  # the one in the middle, as in training
        planes = np.concatenate([slot.transpose(2, 0, 1) for slot in slots])
        self._identity = talker.identity(planes[None].astype(np.float32) / np.float32(255))

    def says(self, track: Track, frames: int | None = None) -> Frames:
        lead = track.record.audio_lead_frames
        heard = windows(track.audio_with_context)[lead : lead + len(track)]
        return self._generate(heard[repeating(len(heard), len(track) if frames is None else frames)])

    def says_nothing(self, frames: int) -> Frames:
        return self._generate(windows(np.zeros(frames * SAMPLES_PER_FRAME, np.float32)))

    def _generate(self, heard: Floats) -> Frames:
        blocks = [heard[i : i + BATCH] for i in range(0, len(heard), BATCH)]
        generated = [framed(self._talker.faces(self._identity, np.ascontiguousarray(block))) for block in blocks]
        return np.concatenate(generated)
