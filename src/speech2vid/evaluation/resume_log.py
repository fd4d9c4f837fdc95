"""Scores of the clips done so far, kept next to the report until it is whole: a run that was stopped carries on."""

from __future__ import annotations

import json
from pathlib import Path

from speech2vid.errors import OutputError
from speech2vid.evaluation.summary import ClipScores

FILE = ".unfinished.jsonl"


class ResumeLog:
    """A text file: what was being evaluated, then one line a clip.

    Args:
        folder: of the report; made if need be.
        fingerprint: of all that the scores depend on; what was kept for another one is dropped.

    Attributes:
        clips: key → column → scores, of the clips done.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._path = folder / FILE
        self.clips: dict[str, dict[str, ClipScores]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
            if lines[:1] != [fingerprint]:
                lines = [fingerprint]
            for number, line in enumerate(lines[1:], 1):
                try:
                    record = json.loads(line)
                except ValueError:  # it was being written when the run was stopped
                    del lines[number:]
                    break
                self.clips[record["key"]] = _columns(record)
            self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise _unwritable(folder, error) from error

    def keep(self, key: str, columns: dict[str, ClipScores]) -> None:
        """Add a clip's scores."""
        self.clips[key] = columns
        record = {"key": key, "columns": {column: scores.to_dict() for column, scores in columns.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise _unwritable(self._path.parent, error) from error

    def finish(self) -> None:
        """The report is whole: nothing is left to carry on."""
        self._path.unlink(missing_ok=True)


def _columns(record: dict[str, dict[str, dict[str, object]]]) -> dict[str, ClipScores]:
    return {column: ClipScores.from_dict(scores) for column, scores in record["columns"].items()}


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder} cannot be written: {error.strerror}", "choose another folder with --out")
