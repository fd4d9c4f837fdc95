"""Which sync meter preparation uses."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, get_args

from speech2vid.data.active_speaker import SyncScorer
from speech2vid.errors import ConfigError
from speech2vid.faces.mouth_crops import mouth_crops
from speech2vid.faces.sync import SyncNetworks, similarities
from speech2vid.types import Floats, Frames, Points, Waveform

Sync = Literal["on", "off"]
SYNC_MODES: tuple[str, ...] = get_args(Sync)


class LipSync:
    """The sync network; see :class:`speech2vid.data.active_speaker.SyncScorer`.

    Args:
        folder: holds the network's weights and graphs; None for those of the package.

    Raises:
        WeightsError: they are missing or damaged.
    """

    sure = 0.35
    margin = 0.05
    least = 0.03  # loses none of 24 true stretches of 5 s with speech, and finds 87 % of 234 foreign voices

    def __init__(self, folder: Path | None = None) -> None:
        self._networks = SyncNetworks(folder, threads=1)
        self.name = f"sync-{self._networks.sha256[:8]}"

    def __call__(self, faces: Frames, landmarks: Points, audio: Waveform, lead_frames: int) -> Floats:
        """Similarities of a track's frames and the audio, (T, 31)."""
        video = self._networks.video(mouth_crops(faces), landmarks)
        return similarities(video, self._networks.audio([audio]), lead_frames)


@cache
def scorer_for(sync: Sync) -> SyncScorer | None:
    """The meter of a mode: None where the sources are trusted.

    Raises:
        ConfigError: no such mode.
        WeightsError: its network is missing or damaged.
    """
    if sync not in SYNC_MODES:
        raise ConfigError(f"unknown value {sync!r} for sync", f"choose from: {', '.join(SYNC_MODES)}")
    return LipSync() if sync == "on" else None


def scorer_name(sync: Sync) -> str:
    """What tells stores made in different ways apart."""
    scorer = scorer_for(sync)
    return "trusted" if scorer is None else scorer.name
