"""The inside of a mouth: nothing outside the lips, teeth fixed to skull and jaw, colours of the light on the face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from speech2vid.faces import PAPER, Still, still_of_photo
from speech2vid.faces.align import canonical_points
from speech2vid.inference.inner_mouth import InnerMouth, Jaws, MouthInside
from speech2vid.inference.mouth_appearance import MouthColours, OwnTeeth, edge_blur, luminance, mouth_colours
from speech2vid.types import Floats, Image, Points

SCALE = 4.0  # px of the canvas a px of the 112 px face
TO_FACE = np.array([[1 / SCALE, 0, 0], [0, 1 / SCALE, 0]])
TO_CELLS = np.array([[1 / SCALE, 0, -7.5], [0, 1 / SCALE, -47.5]])
ALL_RESIDUAL = np.ones((64, 96), np.float32)
LIPS = 90.0  # grey level of the frame that is drawn into
COLOURS = MouthColours(
    teeth=np.array([220, 205, 190], np.float32),
    tongue=np.array([140, 70, 65], np.float32),
    cavity=np.array([40, 18, 16], np.float32),
)


def closed_mouth() -> Points:
    mouth = canonical_points()[48:68].copy()
    middle = (mouth[13:16, 1] + mouth[[19, 18, 17], 1]) / 2
    mouth[13:16, 1] = mouth[[19, 18, 17], 1] = middle
    return mouth


def opened(drop_px: float, raise_px: float = 0.0) -> Points:
    """Return a mouth whose lower lip and jaw are lowered, and whose upper lip is raised."""
    mouth = closed_mouth()
    mouth[[6, 7, 8, 9, 10, 17, 18, 19], 1] += drop_px
    mouth[[1, 2, 3, 4, 5, 13, 14, 15], 1] -= raise_px
    return mouth


def drawn(mouth: Points, residual: Floats = ALL_RESIDUAL, inside: MouthInside | None = None) -> Floats:
    inside = inside or MouthInside(Jaws.of(closed_mouth()), COLOURS, 0.3)
    image = np.full((448, 448, 4), LIPS, np.float32)
    InnerMouth(inside, TO_FACE, TO_CELLS).draw(image, mouth, residual)
    return image


def column(image: Floats, mouth: Points) -> Floats:
    """Return the luminance down the middle of the mouth, a value a px of the canvas."""
    return luminance(image[:, round(float(mouth[:, 0].mean()) * SCALE) + 6, :3])  # beside the gap of the incisors


def test_a_closed_mouth_is_left_alone() -> None:
    assert (drawn(closed_mouth()) == LIPS).all()
    assert (drawn(opened(0.3)) == LIPS).all()


def test_nothing_is_drawn_outside_the_lips() -> None:
    mouth = opened(8)
    image = drawn(mouth)
    lips = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(lips, [np.rint(mouth[12:] * SCALE).astype(np.int32)], 1)
    near = cv2.dilate(lips, np.ones((3, 3), np.uint8), iterations=8)
    assert np.abs(image[near == 0] - LIPS).max() < 0.5
    assert np.abs(image[lips > 0][:, :3] - LIPS).mean() > 20
    assert (image[..., 3] == LIPS).all()  # further channels are kept


def test_a_mouth_that_a_still_shows_is_left_to_it() -> None:
    assert (drawn(opened(8), np.zeros((64, 96), np.float32)) == LIPS).all()


def test_teeth_are_above_a_dark_cavity() -> None:
    mouth = opened(10)
    inside = column(drawn(mouth), mouth)
    top, bottom = (int(mouth[points, 1].mean() * SCALE) for points in ([13, 14, 15], [17, 18, 19]))
    teeth, cavity = inside[top + 3 : top + 7].max(), inside[top:bottom].min()
    assert teeth > 3 * cavity
    assert int(inside[top:bottom].argmin()) > int(inside[top:bottom].argmax())


def lowest_bright(mouth: Points) -> int:
    """Return the row in which the upper teeth end."""
    inside = column(drawn(mouth), mouth)
    top, bottom = int(mouth[[13, 14, 15], 1].mean() * SCALE), int(mouth[[17, 18, 19], 1].mean() * SCALE)
    bright = inside[top:bottom] > 130
    return top + int(np.flatnonzero(bright[: len(bright) * 2 // 3])[-1])


def test_upper_teeth_stay_where_they_are_while_lips_and_jaw_move() -> None:
    rows = [lowest_bright(opened(*pose)) for pose in ((8, 0), (11, 0), (8, 1.5), (14, 1))]
    assert max(rows) - min(rows) <= 2  # of 448 px


def test_lower_teeth_go_with_the_jaw() -> None:
    jaws = Jaws.of(closed_mouth())
    pictures = []
    for drop in (8.0, 12.0):
        mouth = opened(drop)
        mouth[17:20, 1] += 2  # the lip uncovers the lower teeth
        rows = column(drawn(mouth), mouth)
        pictures.append(rows[round((jaws.lower + 0.9 * drop) * SCALE) :][:5])
    np.testing.assert_allclose(pictures[0], pictures[1], atol=12)
    assert pictures[0].max() > 100


def light(photo: Image, colour: tuple[float, float, float]) -> Image:
    return np.rint(photo * np.array(colour)).clip(0, 255).astype(np.uint8)


def portrait(photo: Path) -> Still:
    return still_of_photo(photo, models=PAPER)


def test_colours_are_those_of_the_light(photo: Path) -> None:
    aligned = portrait(photo).aligned
    white = mouth_colours(aligned.image, aligned.landmarks)
    assert white.teeth[0] >= white.teeth[1] >= white.teeth[2] > 0.7 * white.teeth[0]
    orange = mouth_colours(light(aligned.image, (1.0, 0.75, 0.4)), aligned.landmarks)
    assert orange.teeth[2] / orange.teeth[0] < 0.75 * white.teeth[2] / white.teeth[0]
    dark = mouth_colours(light(aligned.image, (0.4, 0.4, 0.4)), aligned.landmarks)
    np.testing.assert_allclose(dark.teeth, 0.4 * white.teeth, rtol=0.15)
    assert float(luminance(white.cavity)) < 0.3 * float(luminance(white.teeth))
    grey = cv2.cvtColor(cv2.cvtColor(aligned.image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for colour in vars(mouth_colours(grey, aligned.landmarks)).values():
        assert np.ptp(colour) < 1


def test_teeth_of_a_smile_are_found_and_shown(photo: Path) -> None:
    smiling = portrait(photo)
    teeth = OwnTeeth.of(smiling)
    assert teeth is not None
    shown = teeth.image[teeth.image[..., 3] > 0.8]
    assert len(shown) > 50
    skin = np.median(smiling.aligned.image[60:64, 25:35].reshape(-1, 3), axis=0)
    assert (shown[:, 0] / shown[:, 1]).mean() < 0.95 * skin[0] / skin[1]  # teeth are less red than skin
    landmarks = smiling.aligned.landmarks.copy()
    landmarks[61:64] = landmarks[[67, 66, 65]]
    closed = replace(smiling, aligned=replace(smiling.aligned, landmarks=landmarks))
    assert OwnTeeth.of(closed) is None


def test_blur_is_measured(photo: Path) -> None:
    sharp = portrait(photo)
    soft = replace(sharp, image=np.asarray(cv2.GaussianBlur(sharp.image, (0, 0), 1.5), np.uint8))
    assert edge_blur(sharp) < 0.75 * edge_blur(soft)


@pytest.mark.parametrize("shift", [(-300.0, 0.0), (0.0, -1000.0), (500.0, 500.0)])
def test_a_mouth_outside_the_image_is_no_error(shift: tuple[float, float]) -> None:
    mouth = opened(8) + np.array(shift, np.float32)
    assert (drawn(mouth) == LIPS).all()
