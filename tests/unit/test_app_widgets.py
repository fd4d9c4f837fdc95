"""What the tabs say and draw."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the extra `app` is not installed")

from speech2vid.app.error_messages import Failure
from speech2vid.app.job_functions import SyncFound
from speech2vid.app.jobs import Running, Waiting
from speech2vid.app.settings import Limits
from speech2vid.app.ui.face_picker import Choice, face_index, nearest
from speech2vid.app.ui.page import limits_sentence
from speech2vid.app.ui.sync import drawing, sentences
from speech2vid.app.ui.widgets import failure_html, note_html, state_html

TWO = Choice(((10, 10, 50, 50), (100, 10, 140, 50)))


@pytest.mark.parametrize(
    ("x", "y", "face"), [(20, 20, "Face 1"), (139, 49, "Face 2"), (60, 30, "Face 1"), (400, 400, "Face 2")]
)
def test_a_click_means_the_face_it_hits_or_the_nearest(x: float, y: float, face: str) -> None:
    assert nearest(TWO, x, y) == face


def test_of_faces_within_faces_the_one_is_meant_whose_middle_is_nearer() -> None:
    assert nearest(Choice(((0, 0, 200, 200), (10, 10, 50, 50))), 30, 30) == "Face 2"
    assert nearest(Choice(), 30, 30) is None


def test_the_library_gets_a_number_only_where_there_is_a_choice() -> None:
    assert face_index("Face 2", TWO) == 1
    assert face_index("Whoever speaks", TWO) is None
    assert face_index("Face 1", Choice(((0, 0, 9, 9),))) is None
    assert face_index(None, Choice()) is None


def test_a_state_tells_how_far_and_how_long() -> None:
    assert "1 job is before yours" in state_html(Waiting(1))
    assert "3 jobs are before yours" in state_html(Waiting(3))
    assert "10 of 250 frames · about 12 s left" in state_html(Running(10, 250, 12.3))
    assert "left" not in state_html(Running(10, 250, None))
    assert "Making the video: 10 of 250 frames" in state_html(Running(10, 250, None, "Making the video"))


def test_names_of_files_are_text_and_not_markup() -> None:
    assert "<b>" not in failure_html(Failure("<b>.jpg is empty", "<b>"))
    assert "<b>" not in note_html("<b>.wav")


def found(offset: int, *, sure: bool = True, fixed: Path | None = None) -> SyncFound:
    curve = tuple((step, 0.5 - 0.01 * abs(step - offset)) for step in range(-15, 16))
    return SyncFound(offset, 0.4, sure, curve, 0.9, fixed, {})


def test_the_offset_in_words() -> None:
    assert sentences(found(0))[0] == "Audio and video are in step."
    assert sentences(found(5))[0] == "The audio is 5 frames (0.20 s) later than the video."
    assert sentences(found(-1))[0] == "The audio is 1 frame (0.04 s) earlier than the video."
    assert "not sure" in sentences(found(5, sure=False))[2]
    assert "nothing was encoded again" in sentences(found(5, fixed=Path("x.mp4")))[2]


def test_the_curve_is_drawn_with_its_highest_point_marked() -> None:
    svg = ElementTree.fromstring(drawing(found(5)))
    line = svg.find("polyline")
    mark = svg.find("line")
    assert line is not None
    assert mark is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == 31
    highest = min(points, key=lambda point: point[1])
    assert float(mark.attrib["x1"]) == highest[0]
    assert all(0 <= x <= 560 and 0 <= y <= 220 for x, y in points)


def test_limits_are_said() -> None:
    assert "200 MB and 5 minutes" in limits_sentence(Limits())
    assert "2 MB and 90 seconds" in limits_sentence(Limits(max_upload_mb=2, max_seconds=90))
