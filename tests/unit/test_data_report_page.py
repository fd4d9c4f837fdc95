"""The contact sheet shows many speakers; files whose audio was moved are listed with how sure that is."""

from __future__ import annotations

import random

from speech2vid.data.records import FileEntry, FileOutcome, TrackEntry
from speech2vid.data.report import PrepareReport
from speech2vid.data.report_page import CONTACTS, ContactSheet, report_page


def sheet_of(tracks: list[tuple[str, str]]) -> ContactSheet:
    sheet = ContactSheet()
    for key, speaker in tracks:
        sheet.offer(key, speaker, key.encode())
    return sheet


def test_everybody_is_shown_before_anybody_twice() -> None:
    tracks = [(f"often-{number}", "often") for number in range(500)] + [(f"rare-{n}", f"rare-{n}") for n in range(20)]
    faces = dict(sheet_of(tracks).faces)
    assert len(faces) == CONTACTS
    assert {f"rare-{n}" for n in range(20)} < faces.keys()
    assert all(image == key.encode() for key, image in faces.items())


def test_the_sheet_does_not_depend_on_the_order() -> None:
    tracks = [(f"{speaker}-{number}", f"speaker {speaker}") for speaker in range(90) for number in range(3)]
    shuffled = random.Random(0).sample(tracks, len(tracks))
    assert sheet_of(tracks).faces == sheet_of(shuffled).faces
    assert len({key.split("-")[0] for key, _ in sheet_of(tracks).faces}) == CONTACTS


def entry(source: str, offset_s: float, confidence: float) -> TrackEntry:
    place = (f"key of {source} {confidence}", "train-000000.tar", "train", "she", source, 0.0, 50)
    return TrackEntry(*place, 100.0, 0.1, 0.1, 2.0, 0, round(30 * offset_s), offset_s, confidence, 1.0)


def test_moved_audio_are_listed_with_their_confidence() -> None:
    files = [FileEntry(name, name, "she", "train", FileOutcome(2.0, 1)) for name in ("a.mp4", "b.mp4")]
    report = PrepareReport(
        files, [entry("a.mp4", -0.1667, 0.1), entry("a.mp4", -0.1667, 0.2), entry("b.mp4", 0, 0.3)], []
    )
    (moved,) = report.as_dict()["offsets"]
    assert moved == {"source": "a.mp4", "offset_frames": -5, "offset_s": -0.167, "confidence": 0.15}
    assert b"key of b.mp4" not in report_page(report, ContactSheet())  # the sheet alone names tracks
