"""What ``talk`` and ``redub`` tell of the video that they made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class VideoResult:
    """What was made.

    Attributes:
        outfile: the video (``<output>`` where it went into a file object). The result itself can be used as this path:
            ``open(result, "rb")``.
        frames: in it.
        seconds: of video.
        fps_end_to_end: frames over all the time it took, loading of the networks included.
        stage_seconds: work a stage; stages overlap.
        notes: what the user should know, one line each.
    """

    outfile: Path
    frames: int
    seconds: float
    fps_end_to_end: float
    stage_seconds: dict[str, float]
    notes: tuple[str, ...] = field(default=())

    def __fspath__(self) -> str:
        return str(self.outfile)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "outfile": str(self.outfile), "notes": list(self.notes)}
