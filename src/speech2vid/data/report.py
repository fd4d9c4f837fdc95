"""The text files of a store: ``manifest.tsv`` (its tracks), ``files.tsv`` (its sources), ``report.json`` (totals).

The same input gives the same bytes. The manifest is written last: a folder with one is a whole store.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from speech2vid.constants import PAPER_LANDMARKS, SAMPLE_EVERY_FRAMES
from speech2vid.data.records import FileEntry, FileOutcome, Shard, TrackEntry
from speech2vid.errors import DataError
from speech2vid.files import atomic_write

FORMAT = "3"  # of the store and of what is in it: a change makes earlier work count no more
READABLE = {"2": ["offset_s"]}  # earlier formats, and the columns that their manifest lacks
MANIFEST, FILES, REPORT, PAGE = "manifest.tsv", "files.tsv", "report.json", "report.html"
SECONDS_PER_HOUR = 3600

_TRACK_COLUMNS = [each.name for each in fields(TrackEntry)]
_FLOATS = ("start_s", "face_px", "turn", "sharpness", "opening_std", "offset_s", "confidence", "detection")
_INTEGERS = ("frames", "shot", "offset_frames")
_FILE_COLUMNS = ["source", "sha256", "speaker", "split", "seconds", "tracks", "dropped", "detail"]


@dataclass(frozen=True)
class PrepareReport:
    """What a store holds and where it came from.

    Attributes:
        files: every source, in the order of its name.
        tracks: every track kept, in the order of its source.
        shards: the tar files.
        stage_s: stage → seconds of work in this run; not stored.
        frames: frames decoded in this run; not stored.
        format: of the store.
        landmarker: name and version; dlib's in stores of earlier versions, which name none.
    """

    files: list[FileEntry]
    tracks: list[TrackEntry]
    shards: list[Shard]
    stage_s: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    format: str = FORMAT
    landmarker: str = PAPER_LANDMARKS

    @property
    def skipped(self) -> list[FileEntry]:
        """Files without usable tracks."""
        return [entry for entry in self.files if not entry.outcome.tracks]

    def as_dict(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        dropped: Counter[str] = Counter()
        for entry in self.files:
            dropped.update(entry.outcome.dropped)
        return {
            "format": self.format,
            "landmarker": self.landmarker,
            "files_in": len(self.files),
            "files_kept": len(self.files) - len(self.skipped),
            "tracks_kept": len(self.tracks),
            "tracks_dropped": dict(sorted(dropped.items())),
            "hours_in": _hours(sum(entry.outcome.seconds for entry in self.files)),
            "hours_kept": _hours(sum(entry.seconds for entry in self.tracks)),
            "splits": {split: self._split(split) for split in sorted({entry.split for entry in self.tracks})},
            "offsets": self._offsets(),
            "skipped": [
                {"source": entry.source, "reason": next(iter(entry.outcome.dropped)), "detail": entry.outcome.detail}
                for entry in self.skipped
            ],
            "shards": [asdict(shard) for shard in self.shards],
        }

    def _offsets(self) -> list[dict[str, Any]]:
        """Of each file whose audio was moved: by how much, and how well its tracks fit the audio on average."""
        moved: dict[str, list[TrackEntry]] = {}
        for track in self.tracks:
            if track.offset_s or track.offset_frames:
                moved.setdefault(track.source, []).append(track)
        return [
            {
                "source": source,
                "offset_frames": tracks[0].offset_frames,
                "offset_s": round(tracks[0].offset_s, 3),
                "confidence": round(sum(track.confidence for track in tracks) / len(tracks), 3),
            }
            for source, tracks in moved.items()
        ]

    def _split(self, split: str) -> dict[str, float]:
        """A column of the paper's Table 1."""
        tracks = [entry for entry in self.tracks if entry.split == split]
        return {
            "speakers": len({entry.speaker for entry in tracks}),
            "tracks": len(tracks),
            "samples": sum(-(-entry.frames // SAMPLE_EVERY_FRAMES) for entry in tracks),
            "hours": _hours(sum(entry.seconds for entry in tracks)),
        }

    def write(self, folder: Path) -> None:
        """Write the three text files, each whole or not at all, the manifest last."""
        atomic_write(folder / FILES, _table(_FILE_COLUMNS, [_file_row(entry) for entry in self.files]), lasting=True)
        atomic_write(
            folder / REPORT, (json.dumps(self.as_dict(), ensure_ascii=False, indent=1) + "\n").encode(), lasting=True
        )
        atomic_write(
            folder / MANIFEST, _table(_TRACK_COLUMNS, [_track_row(entry) for entry in self.tracks]), lasting=True
        )

    @classmethod
    def read(cls, folder: Path) -> PrepareReport:
        """Read what ``write`` wrote.

        Raises:
            DataError: not a whole store, or one of another format.
        """
        if not (folder / MANIFEST).is_file():
            raise DataError(f"{folder} is not a complete sample store: it has no {MANIFEST}", _hint(folder))
        try:
            report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            lacking = [] if report["format"] == FORMAT else READABLE.get(report["format"])
            if lacking is None:
                raise DataError(
                    f"{folder} is a sample store of format {report['format']}, not {FORMAT}",
                    "prepare it again with this version",
                )
            columns = [name for name in _TRACK_COLUMNS if name not in lacking]
            files = [_file_entry(row) for row in _rows(folder / FILES, _FILE_COLUMNS)]
            tracks = [_track_entry(row) for row in _rows(folder / MANIFEST, columns)]
            shards = [Shard(**shard) for shard in report["shards"]]
            landmarker = str(report.get("landmarker", PAPER_LANDMARKS))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the text files of {folder} are damaged: {error}", _hint(folder)) from error
        return cls(files, tracks, shards, format=report["format"], landmarker=landmarker)


def outcome_as_json(outcome: FileOutcome) -> bytes:
    return json.dumps(asdict(outcome), ensure_ascii=False).encode()


def outcome_from_json(text: bytes) -> FileOutcome:
    return FileOutcome(**json.loads(text))


def _hint(folder: Path) -> str:
    return f"run `speech2vid prepare … --out {folder}`; finished files are not prepared again"


def _track_row(entry: TrackEntry) -> list[str]:
    return [f"{value:.3f}" if isinstance(value, float) else str(value) for value in vars(entry).values()]


def _track_entry(row: dict[str, str]) -> TrackEntry:
    values: dict[str, Any] = dict(row)
    values |= {name: float(row[name]) for name in _FLOATS if name in row} | {name: int(row[name]) for name in _INTEGERS}
    return TrackEntry(**values)


def _file_row(entry: FileEntry) -> list[str]:
    outcome = entry.outcome
    dropped = " ".join(f"{reason}={count}" for reason, count in outcome.dropped.items())
    facts = [entry.source, entry.sha256, entry.speaker, entry.split]
    return [*facts, f"{outcome.seconds:.3f}", str(outcome.tracks), dropped, outcome.detail]


def _file_entry(row: dict[str, str]) -> FileEntry:
    dropped = {reason: int(count) for reason, count in (each.split("=") for each in row["dropped"].split())}
    outcome = FileOutcome(float(row["seconds"]), int(row["tracks"]), dropped, row["detail"])
    return FileEntry(row["source"], row["sha256"], row["speaker"], row["split"], outcome)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().encode()


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        if list(reader.fieldnames or ()) != list(columns):
            raise ValueError(f"{path.name} has the columns {reader.fieldnames}")
        rows = list(reader)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():  # csv's way to say that there were more columns, or fewer
            raise ValueError(f"{path.name}, line {number}, has not {len(columns)} columns")
    return rows


def _hours(seconds: float) -> float:
    return round(seconds / SECONDS_PER_HOUR, 4)
