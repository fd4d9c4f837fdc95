"""Files, folders, globs and manifests → the list of files to prepare, who speaks in each, and its split."""

from __future__ import annotations

import csv
import glob
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from speech2vid.data.corpora import recognise
from speech2vid.data.records import Source
from speech2vid.errors import DataError

log = logging.getLogger(__name__)

VIDEO_SUFFIX = re.compile(r"\.(3gp|avi|flv|m2ts|m4v|mkv|mov|mp4|mpeg|mpg|mts|mxf|ogv|ts|vob|webm|wmv)", re.IGNORECASE)
MANIFESTS = {".tsv": "\t", ".csv": ","}
TRAIN, VAL = "train", "val"
VAL_SHARE = 0.1  # of the speakers, where no manifest says
SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def expand(sources: Sequence[str | Path]) -> list[Source]:
    """Find every file that ``sources`` name, in an order that does not depend on theirs.

    Args:
        sources: each a video file; a folder, searched through for videos; a glob (``**`` included); or a manifest, a
            ``.tsv`` or ``.csv`` with the columns ``path`` (relative to the manifest), and if known ``speaker`` and
            ``split``.

    Without a manifest the speaker is what a known collection's layout says (:mod:`speech2vid.data.corpora`), or else
    the subfolder a file is in. For a file in none it is "": faces will tell. Without a split a tenth of the speakers,
    the same ones each time, becomes ``val`` and the others ``train``.

    Raises:
        DataError: nothing found; a manifest without a path column or with an empty cell.
    """
    found: dict[str, Source] = {}
    for source in sources:
        for each in _expand_one(str(source)):
            real = os.path.realpath(each.path)  # links, and loops of them, lead to one file
            found[real] = min(found.get(real, each), each, key=lambda way: (way.name.count("/"), way.name))
    if not found:
        raise DataError(
            f"no video was found in {', '.join(map(str, sources))}",
            f"give video files, a folder, a quoted glob pattern, or a manifest ({' or '.join(MANIFESTS)})",
        )
    return _with_splits(sorted(found.values(), key=lambda each: (each.name, str(each.path))))


def _expand_one(source: str) -> list[Source]:
    path = Path(source)
    if path.is_dir():
        return [_below(path, each) for each in _files(path) if VIDEO_SUFFIX.fullmatch(each.suffix)]
    if path.suffix.lower() in MANIFESTS and path.is_file():
        return _read_manifest(path)
    if not path.exists() and glob.has_magic(source):
        fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        return [_below(fixed, each) for each in map(Path, glob.glob(source, recursive=True)) if each.is_file()]
    return [_below(path.parent, path)]  # a missing one too: it is reported with the other files that gave nothing


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are not followed. What may not be opened is named in the log."""

    def unreadable(error: OSError) -> None:
        log.warning("skipping %s: %s", error.filename, error.strerror)

    for place, _, names in os.walk(folder, onerror=unreadable):
        yield from (each for each in (Path(place, name) for name in names) if _is_file(each))


def _is_file(path: Path) -> bool:
    """Whether it is a file, or may be one that we may not look at: that is for the report to say."""
    try:
        return path.is_file()
    except PermissionError:
        return True


def _below(folder: Path, path: Path) -> Source:
    name = path.relative_to(folder)
    place = recognise(path)
    if place is not None:
        return Source(_text(name), path, place.speaker, place.split)
    return Source(_text(name), path, _text(Path(name.parts[0])) if len(name.parts) > 1 else "")


def _text(name: Path) -> str:
    """A name for text files: bytes that are no UTF-8 become ``\\xff``."""
    return os.fsencode(name.as_posix()).decode("utf-8", "backslashreplace")


def _read_manifest(manifest: Path) -> list[Source]:
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=MANIFESTS[manifest.suffix.lower()]))
    if rows and "path" not in rows[0]:
        raise DataError(
            f"{manifest} has no column 'path', only {', '.join(map(repr, rows[0]))}",
            "the first line must name the columns: path and, if known, speaker and split",
        )
    sources = []
    for number, row in enumerate(rows, start=2):
        for column in {"path", "speaker", "split"} & row.keys():
            if not (row[column] or "").strip():
                raise DataError(f"{manifest}, line {number}: '{column}' is empty", "fill it in, or remove the column")
        split = row.get("split")
        if split is not None and not SPLIT_NAME.fullmatch(split):
            raise DataError(f"{manifest}, line {number}: invalid split {split!r}", "use letters, digits, - and _")
        name = Path(row["path"])
        speaker = row.get("speaker") or ""
        sources.append(Source(name.as_posix().lstrip("/"), manifest.parent / name, speaker, split))
    return sources


def _with_splits(sources: list[Source]) -> list[Source]:
    """Choose the split of each source that has none, by speaker: no speaker is in two."""
    known = {each.speaker for each in sources if each.split is None and each.speaker}
    split = split_by_name(known)
    return [
        replace(each, split=split[each.speaker]) if each.split is None and each.speaker else each for each in sources
    ]


def split_by_name(names: Iterable[str]) -> dict[str, str]:
    """Hold out a tenth of the names, at least one where there are two."""
    shuffled = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    held_out = set(shuffled[: max(1, round(VAL_SHARE * len(shuffled)))]) if len(shuffled) > 1 else set()
    return {name: VAL if name in held_out else TRAIN for name in shuffled}
