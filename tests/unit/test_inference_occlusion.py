"""What a re-dubbing network is shown: the mouth hidden, the rest as it is."""

from __future__ import annotations

import numpy as np
import pytest

from speech2vid.constants import BLEND_LEFT, BLEND_TOP, MOUTH_POINTS
from speech2vid.faces.align import canonical_points, context_from_face
from speech2vid.geometry import transform_points
from speech2vid.inference.occlusion import PART, hide, known_area, median_colours, mouth_areas, occlude, outlines
from speech2vid.types import Points


@pytest.fixture
def landmarks() -> Points:
    return canonical_points()[None].copy()


def in_part(points: Points) -> Points:
    return transform_points(context_from_face(), points) - np.array([BLEND_LEFT, BLEND_TOP], np.float32)


def test_the_mouth_is_hidden_whole_and_the_eyes_are_not(landmarks: Points) -> None:
    hidden = hide(landmarks, landmarks[:, MOUTH_POINTS])
    for x, y in in_part(landmarks[0, MOUTH_POINTS]):
        reach = np.s_[0, round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        assert hidden.area[reach].min() == 1
        assert hidden.region[reach].min() > 0.9
    assert (
        outlines(landmarks, landmarks[:, MOUTH_POINTS])[..., 1].min() > in_part(landmarks[0, 28:29])[0, 1] + BLEND_TOP
    )


def test_the_result_shows_only_where_nothing_is_seen(landmarks: Points) -> None:
    hidden = hide(landmarks, landmarks[:, MOUTH_POINTS])
    assert hidden.region[hidden.area == 0].max() == 0
    assert hidden.region.max() == pytest.approx(1)
    assert np.abs(np.diff(hidden.region, axis=1)).max() < 0.3  # no hard border
    for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        assert hidden.region[edge].max() == 0


def test_a_face_too_large_still_ends_inside(landmarks: Points) -> None:
    large = (landmarks - 56) * 1.6 + 56
    assert hide(large, large[:, MOUTH_POINTS]).region[:, [0, -1]].max() == 0


def test_a_wider_open_mouth_hides_more_chin(landmarks: Points) -> None:
    closed = landmarks[:, MOUTH_POINTS]
    opened, lifted = closed + np.float32([0, 6]), closed - np.float32([0, 6])
    lowest = [outlines(landmarks, each)[..., 1].max() for each in (lifted, closed, opened)]
    assert lowest[0] == lowest[1] < lowest[2] - 5  # a higher mouth needs no less: the chin that is there must go


def test_it_moves_with_the_face_below_a_pixel(landmarks: Points) -> None:
    areas = [
        hide(landmarks + shift, landmarks[:, MOUTH_POINTS] + shift).area.sum() for shift in (0, np.float32([0.1, 0]))
    ]
    assert areas[0] == pytest.approx(areas[1], rel=2e-3)
    apart = [hide(landmarks + np.float32([x, 0]), landmarks[:, MOUTH_POINTS]).area for x in (0, 0.1)]
    assert 0 < np.abs(apart[0] - apart[1]).sum() < 60  # about a tenth of two edges of 100 px, 1.6 times enlarged


def test_the_colour_is_the_face_s_own(landmarks: Points) -> None:
    face = np.full((1, 224, 224, 3), (10, 20, 200), np.uint8)
    hull = np.array([[40, 30], [184, 30], [184, 215], [40, 215]])
    face[0, hull[0, 1] : hull[2, 1], hull[0, 0] : hull[1, 0]] = (180, 140, 120)
    hidden = hide(landmarks, landmarks[:, MOUTH_POINTS])
    face[PART][hidden.area > 0] = (255, 0, 0)  # whatever the mouth is
    assert median_colours(face, landmarks, hidden)[0].tolist() == [180, 140, 120]


def test_hidden_is_one_colour_and_the_rest_untouched(landmarks: Points) -> None:
    rng = np.random.default_rng(0)
    face = rng.integers(0, 256, (224, 224, 3), np.uint8)[PART]
    area = hide(landmarks, landmarks[:, MOUTH_POINTS]).area[0]
    shown = occlude(face, area, np.array([1, 2, 3], np.float32))
    assert (shown[area == 1] == (1, 2, 3)).all()
    assert (shown[area == 0] == face[area == 0]).all()


def test_mouths_are_drawn_where_they_are(landmarks: Points) -> None:
    opened = landmarks[:, MOUTH_POINTS].copy()
    opened[:, 17:20, 1] += 8
    outer, inner = mouth_areas(opened)[0]
    x, y = in_part(opened[0, 12:20]).mean(axis=0).round().astype(int)
    assert outer[y, x] == inner[y, x] == 1
    assert inner.sum() < outer.sum() + inner.sum() * 0.9
    closed = landmarks[:, MOUTH_POINTS].copy()
    closed[:, 17:20] = closed[:, [15, 14, 13]]
    assert mouth_areas(closed)[0, 1].sum() < 0.2 * inner.sum()


def test_what_is_painted_ends_below_the_chin() -> None:
    known = known_area()
    chin = in_part(canonical_points()[8:9])[0, 1]
    mouth = in_part(canonical_points()[MOUTH_POINTS])
    left, right = int(mouth[:, 0].min()) - 10, int(mouth[:, 0].max()) + 10
    assert known[: int(chin), left:right].min() == 1
    assert known[-1].max() == known[:, 0].max() == known[:, -1].max() == 0
