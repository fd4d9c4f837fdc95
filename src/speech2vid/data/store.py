"""Reading a sample store: which tracks there are, one after another, or a whole split in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from speech2vid.data.jpeg import split_jpegs
from speech2vid.data.records import Shard, Track, TrackEntry
from speech2vid.data.report import MANIFEST, PrepareReport
from speech2vid.data.shards import CONTEXT, PREPARE_AGAIN, read_samples, read_samples_at, track_of
from speech2vid.data.stored_faces import stored_track
from speech2vid.errors import DataError

THREADS = 4  # that decode images while the next ones are read
READ_AHEAD = 16  # samples


class SampleStore:
    """A folder that ``prepare`` made.

    Args:
        path: the folder.

    Raises:
        DataError: it is no whole store, of another format, or a tar file is missing or of the wrong size.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.report = PrepareReport.read(self.path)
        for shard in self.report.shards:
            self._check_size(shard)

    @property
    def entries(self) -> list[TrackEntry]:
        """Every track, without its arrays."""
        return self.report.tracks

    @property
    def splits(self) -> list[str]:
        """The splits that hold a track."""
        return sorted({entry.split for entry in self.entries})

    def speakers(self, split: str) -> list[str]:
        """Who speaks in a split."""
        return sorted({entry.speaker for entry in self._of(split)})

    def tracks(self, split: str, *, jpegs: bool = True, context: bool = False, stored: bool = False) -> Iterator[Track]:
        """Stream the tracks of a split, in an order that mixes speakers and is always the same.

        Args:
            split: one of ``splits``.
            jpegs: False leaves the images undecoded, for what needs landmarks and audio only; ``frames`` is then
                empty.
            context: decode the 224 px faces too.
            stored: leave the images where they are: ``frames`` is then a
                :class:`speech2vid.data.stored_faces.StoredFaces`, which reads those that are asked for.

        Raises:
            DataError: there is no such split, or a tar file is damaged; the latter may show only at its end.
        """
        shards = {entry.shard for entry in self._of(split)}
        wanted = [shard for shard in self.report.shards if shard.name in shards]
        samples = (
            (self.path / shard.name, members, places)
            for shard in wanted
            for _, members, places in read_samples_at(self.path / shard.name, shard.sha256)
        )
        with ThreadPoolExecutor(THREADS) as pool:
            decoding: deque[Future[Track]] = deque()
            for path, members, places in samples:
                if stored:
                    decoding.append(pool.submit(stored_track, path, members, places))
                else:
                    decoding.append(pool.submit(track_of, members, jpegs=jpegs, context=context))
                if len(decoding) > READ_AHEAD:
                    yield decoding.popleft().result()
            for future in decoding:
                yield future.result()

    def contexts(self, split: str) -> Iterator[tuple[str, list[bytes]]]:
        """The 224 px faces of the tracks of a split, by key, still encoded (``data.jpegs.decode_jpeg``).

        Raises:
            DataError: as :meth:`tracks`; also if the store has none.
        """
        shards = {entry.shard for entry in self._of(split)}
        for shard in (shard for shard in self.report.shards if shard.name in shards):
            for key, members in read_samples(self.path / shard.name, shard.sha256):
                jpegs = split_jpegs(members.get(CONTEXT, b""))
                if not jpegs:
                    raise DataError(f"{self.path}: sample {key} has no faces at 224 px", PREPARE_AGAIN)
                yield key, jpegs

    def load(self, split: str, *, jpegs: bool = True) -> list[Track]:
        """All tracks of a split in memory: 0.94 MB for each second with images, 0.06 MB without."""
        return list(self.tracks(split, jpegs=jpegs))

    def validate(self) -> None:
        """Read everything: names, content, shapes, images.

        Raises:
            DataError: the first thing that is wrong.
        """
        keys = {track.record.key for split in self.splits for track in self.tracks(split, context=True)}
        missing = {entry.key for entry in self.entries} ^ keys
        if missing:
            raise DataError(
                f"{self.path}: {min(missing)} is in {MANIFEST} or in a tar file, not in both", PREPARE_AGAIN
            )

    def _of(self, split: str) -> list[TrackEntry]:
        entries = [entry for entry in self.entries if entry.split == split]
        if not entries:
            there = ", ".join(self.splits) or "none at all"
            raise DataError(f"{self.path} has no track of the split {split!r}", f"its splits: {there}")
        return entries

    def _check_size(self, shard: Shard) -> None:
        path = self.path / shard.name
        size_bytes = path.stat().st_size if path.is_file() else None
        if size_bytes is None:
            raise DataError(f"{path} is missing", PREPARE_AGAIN)
        if size_bytes != shard.size_bytes:
            raise DataError(
                f"{path} is damaged: it has {size_bytes} bytes instead of {shard.size_bytes}", PREPARE_AGAIN
            )
