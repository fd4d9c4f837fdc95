"""How well-known collections lay out their files: who speaks, and what the collection says about the split.

========== ============================================= ==================================
LRS2       ``main|pretrain/BROADCAST/00001.mp4``         ``val.txt``, ``test.txt`` at the top
LRS3       ``pretrain|trainval|test/TALK/00001.mp4``     folder ``test``
VoxCeleb2  ``dev|test/mp4/id00012/VIDEO/00001.mp4``      folder ``test``
GRID       ``s1/video/mpg_6000/bbaf2n.mpg``, ``s1/….mpg``  none
========== ============================================= ==================================

LRS2 and LRS3 do not name speakers; a broadcast or a talk stands for them. Where a collection says nothing, the split is
chosen by speaker as for any other source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LRS2 = re.compile(r"/(?P<folder>main|pretrain)/(?P<speaker>\d{16,})/\d{5}\.mp4$")
LRS3 = re.compile(r"/(?P<folder>pretrain|trainval|test)/(?P<speaker>[\w-]{11})/\d{5}\.mp4$")
VOXCELEB2 = re.compile(r"/(?P<folder>dev|test)/(?:mp4/)?(?P<speaker>id\d{5})/[\w-]{11}/\d{5}\.mp4$")
GRID = re.compile(r"/(?P<speaker>s\d{1,2})/(?:video/)?(?:mpg_\w+/)?[bpsl][bgrw][abiw][a-z][0-9z][ansp]\.mp[g4]$")
LISTED_SPLITS = ("val", "test")


@dataclass(frozen=True)
class Place:
    """Who speaks in a file, and its split where the collection says so."""

    speaker: str
    split: str | None = None


def recognise(path: Path) -> Place | None:
    """What a file's place in a known collection says, or None."""
    name = path.absolute().as_posix()
    if match := LRS2.search(name):
        listed = f"{match['speaker']}/{path.stem}"
        return Place(match["speaker"], _listed(path.absolute().parents[2]).get(listed))
    for layout in (LRS3, VOXCELEB2):
        if match := layout.search(name):
            return Place(match["speaker"], "test" if match["folder"] == "test" else None)
    if match := GRID.search(name):
        return Place(match["speaker"])
    return None


@cache
def _listed(top: Path) -> dict[str, str]:
    """Clip → split, from the lists of LRS2, whose lines are a clip and sometimes a remark."""
    splits = {}
    for split in LISTED_SPLITS:
        file = top / f"{split}.txt"
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            if line.strip():
                splits[line.split()[0]] = split
    return splits
