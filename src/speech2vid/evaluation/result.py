"""What an evaluation found, and the files it is written to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speech2vid.errors import OutputError
from speech2vid.evaluation.motion_metrics import MotionTable
from speech2vid.evaluation.qualitative import Grid, QualitativeExample
from speech2vid.evaluation.report import clip_table, markdown
from speech2vid.evaluation.report_page import page
from speech2vid.evaluation.summary import ClipScores, Summary
from speech2vid.files import atomic_write

METRICS_FILE, TABLE_FILE, CLIPS_FILE, PAGE_FILE = "metrics.json", "table.md", "clips.tsv", "report.html"


@dataclass(frozen=True)
class Evaluation:
    """The result.

    Attributes:
        settings: what was evaluated, and how.
        clips: column (``five_stills``, ``one_still``) → scores of every clip.
        summaries: column → figures.
        examples: clips to look at.
        grid: identities by recordings; None where there is nothing to show.
        redubs: clips with another's audio.
        redub_note: what of that cannot be shown, and which weights made it where there are several; or "".
        motion: how much heads move, filmed and as ``talk --motion`` draws it; empty for clips that are too short.
    """

    settings: dict[str, Any]
    clips: dict[str, list[ClipScores]]
    summaries: dict[str, Summary]
    examples: list[QualitativeExample] = field(default_factory=list)
    grid: Grid | None = None
    redubs: list[QualitativeExample] = field(default_factory=list)
    redub_note: str = ""
    motion: MotionTable = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What was left out, one line each."""
        short, silent = self.settings["left_out_shorter_than_1_s"], self.settings["too_short_for_sync"]
        lines = [f"{short} clips shorter than a second are left out"] if short else []
        if silent:
            clips = f"{len(silent)} of {self.settings['clips']} clips are too short for retrieval and sync"
            lines.append(f"{clips}, and left out there; {METRICS_FILE} names them")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        metrics = {column: summary.to_dict() for column, summary in self.summaries.items()}
        return {"settings": self.settings, "metrics": metrics, "head_motion": self.motion}

    def write(self, out: Path) -> None:
        """Write metrics.json, table.md, clips.tsv and report.html, each whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        contents = {
            CLIPS_FILE: clip_table(self.clips),
            TABLE_FILE: markdown(self.settings, self.summaries, self.motion),
            PAGE_FILE: page(self.settings, self.summaries, self.examples, self.grid, self.redubs, self.redub_note),
            METRICS_FILE: json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n",
        }
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, text in contents.items():
                atomic_write(out / name, text.encode())
        except OSError as error:
            raise OutputError(
                f"{out} cannot be written: {error.strerror}", "choose another folder with --out"
            ) from error
