"""Raw video → sample store (Sect. 4): the run over all sources, which can be stopped at any moment and carried on.

Each file's fragment is kept in ``OUT/.work`` under the hash of the file's content until the store is whole; then the
fragments become shards, the text files are written, and ``.work`` goes. Preparing other sources into a whole store
takes it apart into fragments first: only what is new is worked on. The same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from speech2vid.constants import Landmarks
from speech2vid.data.identities import connected
from speech2vid.data.jpeg import split_jpegs
from speech2vid.data.process_file import FileTask, fragment_path, outcome_path, prepare_file, write_outcome
from speech2vid.data.records import FileEntry, FileOutcome, FileWork, Reason, Shard, Source, TrackEntry, TrackRecord
from speech2vid.data.report import FILES, FORMAT, MANIFEST, PAGE, REPORT, PrepareReport, outcome_from_json
from speech2vid.data.report_page import ContactSheet, report_page
from speech2vid.data.shards import FACES, RECORD, Members, TarWriter, read_samples, record_bytes, record_of
from speech2vid.data.sources import SPLIT_NAME, TRAIN, expand, split_by_name
from speech2vid.data.sync_scorer import Sync, scorer_name
from speech2vid.errors import DataError, OutputError
from speech2vid.executors import Engine, WorkThrough, work_through_by
from speech2vid.faces import face_models
from speech2vid.faces.cluster import cluster_faces
from speech2vid.files import atomic_write
from speech2vid.pool import Died
from speech2vid.progress import Progress

log = logging.getLogger(__name__)

WORK = ".work"
SHARD_BYTES = 256 * 2**20
SHARD_NAME = re.compile(rf"{SPLIT_NAME.pattern}-[0-9]{{6}}\.tar")


@dataclass(frozen=True)
class _Identified:
    """A source and the hash of its content, "" where it cannot be read, and why it cannot."""

    source: Source
    sha256: str
    problem: tuple[Reason, str] | None = None


def prepare(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    jobs: int = 1,
    engine: Engine = "local",
    sync: Sync = "on",
    landmarks: Landmarks = "paper",
    shard_bytes: int = SHARD_BYTES,
    on_progress: Progress = lambda done, total: None,
) -> PrepareReport:
    """Prepare videos into a sample store (Sect. 4). A file that cannot be used never stops the run.

    Args:
        sources: video files, folders, globs, or manifests; see :func:`speech2vid.data.sources.expand`.
        out: folder of the store. Run again with the same folder to carry on, or to add sources.
        jobs: processes that work side by side. The store is the same for any number.
        engine: ``local``, or ``ray``: the files are Ray tasks, here or on a cluster whose machines all see ``sources``
            and ``out`` under the same paths. The store is the same.
        sync: ``on`` finds and corrects the offset between audio and image, and of several faces keeps the one that
            speaks; ``off`` trusts the sources to be in sync and to show nobody but the speaker.
        landmarks: ``paper``, HOG and dlib's 68 landmarks; or ``mesh``, BlazeFace and MediaPipe's face mesh.
        shard_bytes: a tar file that has reached this size is followed by another one.
        on_progress: called with the number of files done and of all files.

    Returns:
        what is in the store, and what was left out and why.

    Raises:
        DataError: no source is found, or the folder holds a store of another landmarker.
        OutputError: the store cannot be written.
        MissingExtraError: the engine is not installed.
    """
    out = Path(out).absolute()
    landmarker = face_models(landmarks).landmarker_id
    made_with = "" if landmarks == "paper" else "-" + landmarker.replace(" ", "-")
    work = out / WORK / f"{FORMAT}-{scorer_name(sync)}{made_with}"
    identified = _identify(expand(sources), jobs)
    finished = _finished(out)
    if finished is not None and finished.landmarker != landmarker:
        raise DataError(
            f"{out} was prepared with the landmarker {finished.landmarker}, and {landmarker} was requested",
            "choose another --out, or the other --landmarks",
        )
    if finished is not None and _is_of(finished, identified):
        shutil.rmtree(out / WORK, ignore_errors=True)
        return finished
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be created: {error.strerror}", "choose another --out") from error
    if finished is not None:
        _take_apart(finished, out, work)
    stage_s, frames = _work(identified, work, work_through_by(engine), jobs, sync, landmarks, on_progress)
    sheet = ContactSheet()
    report = _assemble(identified, work, out, shard_bytes, sheet)
    report = replace(report, stage_s=stage_s, frames=frames, landmarker=landmarker)
    atomic_write(out / PAGE, report_page(report, sheet), lasting=True)
    report.write(out)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return report


def _identify(sources: Sequence[Source], threads: int) -> list[_Identified]:
    def identify(source: Source) -> _Identified:
        try:
            if source.path.exists() and not source.path.is_file():  # a pipe or a device would never end
                return _Identified(source, "", (Reason.UNREADABLE, "it is not a file"))
            with source.path.open("rb") as file:
                return _Identified(source, hashlib.file_digest(file, "sha256").hexdigest())
        except FileNotFoundError:
            return _Identified(source, "", (Reason.MISSING, "the file does not exist"))
        except OSError as error:
            return _Identified(source, "", (Reason.UNREADABLE, f"the file cannot be opened: {error.strerror}"))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(identify, sources))


def _finished(out: Path) -> PrepareReport | None:
    """The whole store of this format that stands in ``out``, if any."""
    if not (out / MANIFEST).exists():
        return None
    try:
        report = PrepareReport.read(out)
    except DataError as error:
        log.warning("%s; preparing the store from scratch", error.message)
        return None
    if report.format != FORMAT:
        log.warning("%s is a store of format %s, not %s; preparing it from scratch", out, report.format, FORMAT)
        return None
    whole = all(_size(out / shard.name) == shard.size_bytes for shard in report.shards)
    return report if whole else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _is_of(report: PrepareReport, identified: Sequence[_Identified]) -> bool:
    """Whether a store was made from these sources."""
    made_from = [(entry.source, entry.sha256, entry.speaker) for entry in report.files]
    if made_from != [(each.source.name, each.sha256, each.source.speaker) for each in identified]:
        return False
    splits = [(entry.split, each.source.split) for entry, each in zip(report.files, identified, strict=True)]
    return all(given is None or given == there for there, given in splits)


def _take_apart(report: PrepareReport, out: Path, work: Path) -> None:
    """Turn a store back into fragments, and only then remove it."""
    samples = (sample for shard in report.shards for sample in read_samples(out / shard.name, shard.sha256))
    embeddings: dict[str, list[list[float]]] = {}
    try:
        for sha256, group in groupby(samples, key=lambda sample: record_of(sample[1]).sha256):
            with TarWriter(fragment_path(work, sha256)) as fragment:
                for number, (_, members) in enumerate(group):
                    fragment.add(f"{number:03d}", members)
                    embeddings.setdefault(sha256, []).append(record_of(members).embedding)
                fragment.keep()
        for entry in report.files:
            if entry.sha256 and Reason.DUPLICATE not in entry.outcome.dropped:
                outcome = replace(entry.outcome, embeddings=embeddings.get(entry.sha256, []))
                write_outcome(work, entry.sha256, outcome)
    except DataError as error:
        log.warning("%s; preparing its files again", error.message)
    for name in (MANIFEST, REPORT, PAGE, FILES, *(shard.name for shard in report.shards)):
        (out / name).unlink(missing_ok=True)


def _work(
    identified: Sequence[_Identified],
    work: Path,
    work_through: WorkThrough,
    jobs: int,
    sync: Sync,
    landmarks: Landmarks,
    on_progress: Progress,
) -> tuple[dict[str, float], int]:
    """Make the fragments that are missing. Returns seconds of each stage, and frames."""
    tasks = {
        each.sha256: FileTask(each.source.path.absolute(), each.sha256, work, sync, landmarks)
        for each in identified
        if each.sha256
    }
    missing = [task for task in tasks.values() if not outcome_path(work, task.sha256).exists()]
    done = len(identified) - len(missing)
    stage_s: dict[str, float] = {}
    frames = 0
    on_progress(done, len(identified))
    for index, result in work_through(prepare_file, missing, jobs):
        if isinstance(result, Died):
            detail = "the process ended twice while it worked on this file: out of memory, or a defect in a decoder"
            result = FileWork(_dropped(Reason.CRASHED, detail))
            write_outcome(work, missing[index].sha256, result.outcome)
        for stage, seconds in result.stage_s.items():
            stage_s[stage] = stage_s.get(stage, 0.0) + seconds
        frames += result.frames
        done += 1
        on_progress(done, len(identified))
    return stage_s, frames


def _assemble(
    identified: Sequence[_Identified], work: Path, out: Path, shard_bytes: int, sheet: ContactSheet
) -> PrepareReport:
    """Fragments → shards. Shards hold the files in the order of their hashes: a shuffle that is always the same."""
    entries, speakers = _name_people(_entries(identified, work))
    in_order = sorted(
        (entry for entry in entries if entry.outcome.tracks), key=lambda entry: (entry.split, entry.sha256)
    )
    tracks: dict[str, list[TrackEntry]] = {}  # by the hash of their source
    shards: list[Shard] = []
    for split, group in groupby(in_order, key=lambda entry: entry.split):
        samples = _samples(group, work, speakers)
        for writer in _shard_writers(out, split):
            with writer:
                for record, members in samples:
                    writer.add(record.key, members)
                    sheet.offer(record.key, record.speaker, split_jpegs(members[FACES])[record.frames // 2])
                    tracks.setdefault(record.sha256, []).append(_track_entry(record, writer.path.name))
                    if writer.size_bytes >= shard_bytes:
                        break
                if not writer.tracks:
                    break
                shards.append(writer.keep())
    for path in out.glob("*.tar"):
        if SHARD_NAME.fullmatch(path.name) and path.name not in {shard.name for shard in shards}:
            path.unlink()  # of a store that stood here before
    rows = [track for entry in entries if entry.outcome.tracks for track in tracks[entry.sha256]]
    return PrepareReport(entries, rows, shards)


def _entries(identified: Sequence[_Identified], work: Path) -> list[FileEntry]:
    first: dict[str, str] = {}  # hash → name
    entries = []
    for each in identified:
        source = each.source
        if each.problem is not None:
            outcome = _dropped(*each.problem)
        elif each.sha256 in first:
            outcome = _dropped(Reason.DUPLICATE, f"the same bytes as {first[each.sha256]}")
        else:
            first[each.sha256] = source.name
            outcome = outcome_from_json(outcome_path(work, each.sha256).read_bytes())
        entries.append(FileEntry(source.name, each.sha256, source.speaker, source.split or "", outcome))
    return entries


def _name_people(entries: Sequence[FileEntry]) -> tuple[list[FileEntry], dict[str, list[str]]]:
    """Tell speakers by their faces where the sources do not, and choose splits that share neither face nor file.

    Returns:
        the entries, each with a split, and for each hash the speakers of its tracks.
    """
    unnamed = [entry for entry in entries if not entry.speaker]
    tracks = [(entry, number) for entry in unnamed for number in range(entry.outcome.tracks)]
    people = cluster_faces([entry.outcome.embeddings[number] for entry, number in tracks])
    names = [f"face-{entry.sha256[:8]}-{number}" for entry, number in tracks]
    kept = [entry for entry in entries if entry.outcome.tracks]
    speakers = {entry.sha256: [entry.speaker] * entry.outcome.tracks for entry in kept if entry.speaker}
    for (entry, _), person in zip(tracks, people, strict=True):
        speakers.setdefault(entry.sha256, []).append(names[person])
    company = connected({entry.source: speakers.get(entry.sha256, [entry.source]) for entry in unnamed})
    heads = {company[entry.source] for entry in unnamed if entry.outcome.tracks and not entry.split}
    split = split_by_name(heads)
    named = [
        replace(entry, split=split.get(company[entry.source], TRAIN))
        if not entry.speaker and not entry.split
        else entry
        for entry in entries
    ]
    return named, speakers


def _dropped(reason: Reason, detail: str) -> FileOutcome:
    return FileOutcome(dropped={reason.value: 1}, detail=detail)


def _shard_writers(out: Path, split: str) -> Iterator[TarWriter]:
    number = 0
    while True:
        yield TarWriter(out / f"{split}-{number:06d}.tar")
        number += 1


def _samples(
    entries: Iterable[FileEntry], work: Path, speakers: Mapping[str, Sequence[str]]
) -> Iterator[tuple[TrackRecord, Members]]:
    """The samples of these files under their final names."""
    for entry in entries:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(entry.source).with_suffix("").as_posix().replace("/", "__"))
        for number, members in read_samples(fragment_path(work, entry.sha256)):
            record = replace(
                record_of(members),
                key=f"{stem[-48:]}-{entry.sha256[:8]}-{number}",
                source=entry.source,
                speaker=speakers[entry.sha256][int(number)],
                split=entry.split,
            )
            yield record, {**members, RECORD: record_bytes(record)}


def _track_entry(record: TrackRecord, shard: str) -> TrackEntry:
    return TrackEntry(
        key=record.key,
        shard=shard,
        split=record.split,
        speaker=record.speaker,
        source=record.source,
        start_s=record.start_s,
        frames=record.frames,
        face_px=record.face_px,
        turn=record.turn,
        sharpness=record.sharpness,
        opening_std=record.opening_std,
        shot=record.shot,
        offset_frames=record.offset_frames,
        offset_s=record.offset_s,
        confidence=record.confidence,
        detection=record.detection,
    )
