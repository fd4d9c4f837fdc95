"""Damaged copies of good files: seeded, so that a case that once failed can be made again."""

from __future__ import annotations

import random
from pathlib import Path

HEAD, TAIL = 4096, 4096  # where headers and indexes lie
HOSTILE = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80")


def damaged(content: bytes, seed: int) -> bytes:
    """A copy with one kind of damage, chosen by ``seed``: flipped bits, hostile lengths, cuts, zeros, repeats."""
    rng = random.Random(seed)
    data = bytearray(content)
    spots = [*range(min(HEAD, len(data))), *range(max(0, len(data) - TAIL), len(data))]
    kind = rng.choice(("bits", "bits", "bytes", "lengths", "lengths", "cut", "zeros", "repeat", "middle"))
    if kind == "bits":
        for at in rng.sample(spots, rng.choice((1, 3, 10, 60))):
            data[at] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for at in rng.sample(spots, rng.choice((1, 3, 10, 60))):
            data[at] = rng.randrange(256)
    elif kind == "lengths":
        for at in rng.sample(spots, rng.choice((1, 2, 5))):
            data[at : at + 4] = rng.choice(HOSTILE)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "zeros":
        at = rng.choice(spots)
        data[at : at + rng.choice((16, 256, 2048))] = bytes(rng.choice((16, 256, 2048)))
    elif kind == "repeat":
        at, length = rng.randrange(len(data)), rng.randrange(1, 2000)
        data[at:at] = data[at : at + length]
    else:
        for _ in range(rng.choice((20, 200))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def read_everything(path: Path) -> None:
    """What the commands read of a file: its facts, its mark, every picture and all of its audio."""
    from speech2vid.errors import MediaError
    from speech2vid.media import (
        VideoReader,
        is_photo,
        load_audio,
        load_photo,
        probe,
        read_credentials,
        read_synthetic_metadata,
    )

    if is_photo(path):
        load_photo(path)
        return
    read_synthetic_metadata(path)
    read_credentials(path)
    info = probe(path)
    failures = []
    if info.has_video:
        try:
            for count, _ in enumerate(VideoReader(path)):
                if count > 2000:
                    break
        except MediaError as error:
            failures.append(error)
    if info.has_audio:
        load_audio(path)
    if failures:
        raise failures[0]
