"""The photo's own pixels, moved: exact where nothing moves, untouched outside, equal to the network's own picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from speech2vid.constants import FACE_PX, REGION_HEIGHT, REGION_LEFT, REGION_TOP, REGION_WIDTH
from speech2vid.faces import Still
from speech2vid.faces.align import align, canonical_points
from speech2vid.geometry import invert, transform_points
from speech2vid.inference.compositing import Composer, blend_mask, colour_share, face_mask
from speech2vid.inference.talkers.base import AlignedFaces, Identity, WarpFields
from speech2vid.models import warp_decoder
from speech2vid.types import Affine, Image

RANDOM = np.random.default_rng(3)


def texture(height: int, width: int) -> Image:
    noise = RANDOM.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def placed(scale: float, angle: float, x: float, y: float) -> Affine:
    """Photo px → aligned px of a face that is ``scale`` × 112 px large, turned, at (x, y)."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return invert(np.array([[c, -s, x], [s, c, y]]))


def still(image: Image, transform: Affine) -> Still:
    landmarks = transform_points(invert(transform), canonical_points())
    return Still(image, align(image, landmarks, transform=transform), 0.0, 0.0)


def identity(stills: list[Still]) -> Identity:
    return Identity(stills[0].image, stills[0].transform, tuple(stills))


def fields(flow: np.ndarray | float = 0.0, weights: tuple[float, ...] = (1, 0, 0, 0, 0, 0)) -> WarpFields:
    masks = np.broadcast_to(np.array(weights, np.float32)[None, :, None, None], (1, 6, 64, 96)).copy()
    whole = np.broadcast_to(np.asarray(flow, np.float32), (1, 5, 2, 32, 48)).copy()
    return WarpFields(whole, masks, np.full((1, 3, 64, 96), 0.25, np.float32))


@pytest.mark.parametrize("cell", [(20, 20), (20, 75), (50, 20), (50, 75), (33, 48)])
def test_a_pixel_of_the_residual_is_shown_where_the_network_places_it(cell: tuple[int, int]) -> None:
    """Row and column of the network's output → the pixel of the aligned face that training compared it with."""
    black = still(np.zeros((112, 112, 3), np.uint8), placed(1.0, 0.0, 0, 0))
    dot = fields(weights=(0, 0, 0, 0, 0, 1))
    dot.residual[:] = 0.0
    dot.residual[(0, slice(None), *cell)] = 1.0
    frame = next(Composer(identity([black] * 5)).frames(dot)).astype(float).sum(axis=2)
    rows, columns = np.indices(frame.shape)
    centre = np.array([(frame * columns).sum(), (frame * rows).sum()]) / frame.sum()
    height, width = dot.residual.shape[2:]
    assert centre == pytest.approx(warp_decoder.region_grid(height, width)[cell].numpy(), abs=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
def test_no_flow_gives_the_photo_itself(angle: float) -> None:
    photo = still(texture(400, 480), placed(2.3, angle, 200, 180))
    frame = next(Composer(identity([photo] * 5)).frames(fields()))
    assert np.abs(frame.astype(int) - photo.image).max() <= 1


def test_only_the_region_changes_and_the_input_does_not() -> None:
    photo = still(texture(400, 480), placed(2.0, 0.1, 120, 90))
    before = photo.image.copy()
    frame = next(Composer(identity([photo] * 5)).frames(fields(weights=(0, 0, 0, 0, 0, 1))))
    changed = np.abs(frame.astype(int) - before).max(axis=2) > 1
    y, x = np.nonzero(changed)
    aligned = transform_points(photo.transform, np.stack([x, y], axis=1))
    assert len(aligned) > 5000
    assert (aligned >= (REGION_LEFT, REGION_TOP)).all()
    assert (aligned <= (REGION_LEFT + REGION_WIDTH - 1, REGION_TOP + REGION_HEIGHT - 1)).all()
    middle = transform_points(invert(photo.transform), np.array([56.0, 78.0]))
    assert (frame[int(middle[1]), int(middle[0])] == 64).all()  # the residual, a quarter of full scale
    assert np.array_equal(photo.image, before)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_flow_moves_the_image_by_so_many_aligned_pixels(scale: float) -> None:
    photo = still(texture(480, 480), placed(scale, 0.0, 60, 60))
    shift = np.array([2.0, -3.0], np.float32)
    frame = next(Composer(identity([photo] * 5)).frames(fields(shift[None, None, :, None, None])))
    x, y = (int(v) for v in transform_points(invert(photo.transform), np.array([56.0, 80.0])))
    dx, dy = (int(v) for v in shift * scale)
    patch = frame[y - 5 : y + 6, x - 5 : x + 6].astype(int)
    moved = photo.image[y - 5 + dy : y + 6 + dy, x - 5 + dx : x + 6 + dx]
    assert np.abs(patch - moved).max() <= 1


def test_equals_the_networks_own_image_at_its_own_size() -> None:
    stills = [still(texture(112, 112), placed(1.0, 0.0, 0, 0)) for _ in range(5)]
    flow = torch.from_numpy(RANDOM.uniform(-3, 3, (1, 5, 2, 4, 6)).astype(np.float32))
    flow = torch.nn.functional.interpolate(flow.flatten(1, 2), (32, 48), mode="bilinear").unflatten(1, (5, 2))
    masks = torch.softmax(torch.from_numpy(RANDOM.uniform(0, 3, (1, 6, 64, 96)).astype(np.float32)), 1)
    residual = torch.from_numpy(RANDOM.random((1, 3, 64, 96), dtype=np.float32))
    faces = torch.from_numpy(np.stack([each.image for each in stills])).permute(0, 3, 1, 2)[None].float() / 255
    wanted = (
        warp_decoder.compose_output(warp_decoder.WarpFields(flow, masks, residual), faces)[0].permute(1, 2, 0).numpy()
    )
    ours = next(Composer(identity(stills)).frames(WarpFields(flow.numpy(), masks.numpy(), residual.numpy())))
    inside = np.s_[REGION_TOP + 16 : REGION_TOP + 54, REGION_LEFT + 16 : REGION_LEFT + 80]
    assert np.abs(ours[inside] - 255 * wanted[16:54, 16:80]).mean() < 1.5


def test_a_still_of_another_size_and_place_is_found() -> None:
    face = texture(112, 112)
    large, small = placed(4.0, 0.2, 150, 60), placed(1.5, -0.4, 80, 120)

    def photo(transform: Affine) -> Still:
        return still(cv2.warpAffine(face, invert(transform), (640, 640), flags=cv2.INTER_CUBIC), transform)

    canvas, other = photo(small), photo(large)
    frame = next(Composer(identity([canvas, other, other, other, other])).frames(fields(weights=(0, 1, 0, 0, 0, 0))))
    assert np.abs(frame.astype(int) - canvas.image).mean() < 1.0


def test_copies_of_a_still_are_sampled_at_the_mean_of_their_flows() -> None:
    photo = still(texture(480, 480), placed(2.0, 0.0, 60, 60))
    flows = np.zeros((1, 5, 2, 1, 1), np.float32)
    flows[0, :, 0, 0, 0] = (0, 4, 1, 99, 99)
    mixed = next(Composer(identity([photo] * 5)).frames(fields(flows, (0.25, 0.5, 0.25, 0, 0, 0))))
    mean = next(Composer(identity([photo] * 5)).frames(fields(np.array([2.25, 0.0])[None, None, :, None, None])))
    assert np.abs(mixed.astype(int) - mean).max() <= 2


def test_face_at_the_border_of_the_photo() -> None:
    photo = still(texture(200, 200), placed(3.0, 0.0, -80, -60))
    frame = next(Composer(identity([photo] * 5)).frames(fields()))
    assert frame.shape == photo.image.shape
    assert np.abs(frame.astype(int) - photo.image).max() <= 1


def test_blend_is_whole_on_the_mouth_and_nothing_at_the_border() -> None:
    mask = blend_mask(np.stack(np.meshgrid(np.arange(112.0), np.arange(112.0)), axis=-1))
    low, high = canonical_points()[48:].min(axis=0), canonical_points()[48:].max(axis=0)
    mouth = mask[int(low[1]) : int(high[1]) + 2, int(low[0]) : int(high[0]) + 2]
    assert mouth.min() > 0.99
    assert mask[REGION_TOP].max() == mask[-1].max() == mask[:, REGION_LEFT].max() == 0
    assert max(np.abs(np.diff(mask, axis=axis)).max() for axis in (0, 1)) < 0.25


def test_a_greyscale_face_gets_no_coloured_mouth() -> None:
    grey = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), 3, axis=2)
    assert colour_share(grey) == 0
    skin = np.broadcast_to(np.array([200, 150, 120], np.uint8), (8, 8, 3))
    assert colour_share(skin) == 1


def test_an_aligned_face_is_placed_back_where_it_was_taken_from() -> None:
    photo = still(texture(400, 480), placed(2.0, 0.2, 120, 90))
    faces = np.stack([photo.aligned.image, 255 - photo.aligned.image])
    same, inverted = Composer(identity([photo] * 5)).frames(AlignedFaces(faces))
    assert np.abs(same.astype(int) - photo.image).mean() < 12  # only as blurred as 112 px are
    centre = transform_points(invert(photo.transform), np.array([56.0, 60.0])).round().astype(int)
    x, y = centre.tolist()
    patch = np.s_[y - 8 : y + 9, x - 8 : x + 9]
    assert np.abs(inverted[patch].astype(int) - (255 - same[patch].astype(int))).max() <= 1
    points = np.argwhere((inverted != photo.image).any(axis=2))[:, ::-1]
    aligned = transform_points(photo.transform, points)
    assert aligned.min() > 0
    assert aligned.max() < FACE_PX


def test_a_face_mask_is_whole_within_the_face_and_fades_to_nothing() -> None:
    mask, points = face_mask(), canonical_points()
    mouth = points[48:68].round().astype(int)
    assert mask[mouth[:, 1], mouth[:, 0]].min() > 0.95
    assert mask[0].max() == mask[-1].max() == mask[:, 0].max() == mask[:, -1].max() == 0


def test_on_an_aligned_canvas_a_generated_face_takes_all_of_it() -> None:
    photo = still(texture(112, 112), np.eye(2, 3))
    faces = RANDOM.integers(0, 256, (2, 112, 112, 3), np.uint8)
    whole = Identity(photo.image, np.eye(2, 3), (photo,) * 5, crop=True)
    np.testing.assert_array_equal(list(Composer(whole).frames(AlignedFaces(faces))), faces)
    with pytest.raises(ValueError, match="faces must be"):
        AlignedFaces(faces[:, :100])
