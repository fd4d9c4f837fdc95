"""The blending network as re-dubbing calls it: the torch network's result, and the source's own pixels around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speech2vid.constants import MOUTH_POINTS
from speech2vid.errors import WeightsError
from speech2vid.faces import PAPER
from speech2vid.faces.align import align, context_from_face, face_transform, warp
from speech2vid.geometry import compose
from speech2vid.inference.occlusion import PART, hide, known_area, median_colours
from speech2vid.inference.redubbers.warp import NetworkBlender, network_inputs
from speech2vid.media import load_photo
from speech2vid.models.paper_redubber import PaperRedubber, RedubberConfig
from speech2vid.models.warp_redubber import INPUTS, WarpRedubber, blend
from speech2vid.runtime.engine import graph_loader
from speech2vid.runtime.torch import load, save
from speech2vid.runtime.weights import weight_set
from speech2vid.training.export import export_graphs
from speech2vid.types import Frames, Points

Case = tuple[Frames, Frames, Points, Points]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, their last layers too."""
    torch.manual_seed(0)
    network = WarpRedubber().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
        for last in (network.moved, network.painting[-1]):
            last.weight.normal_(std=0.05)
    folder = tmp_path_factory.mktemp("redubber")
    save(network, folder / "warp_redubber.safetensors", half=True)
    export_graphs(folder / "warp_redubber.safetensors", WarpRedubber)
    return folder


@pytest.fixture(scope="module")
def case(photo: Path) -> Case:
    """The astronaut 19 times, a little moved, her mouth painted over in another colour, another shape wanted."""
    image = load_photo(photo)
    face = PAPER.find(image)[0]
    aligned = align(image, face.landmarks)
    sources, points = [], []
    for index in range(19):
        shift = np.array([[1, 0, 0.3 * index], [0, 1, 0.0]])
        sources.append(warp(image, compose(context_from_face(), compose(shift, face_transform(face.landmarks))), 224))
        points.append(aligned.landmarks + np.float32([0.3 * index, 0]))
    source, landmarks = np.stack(sources), np.stack(points)
    painted = source.copy()
    painted[:, 120:180, 80:150] = painted[:, 120:180, 80:150] // 2 + 60
    targets = landmarks[:, MOUTH_POINTS].copy()
    targets[:, [7, 8, 9, 17, 18, 19], 1] += 4
    return source, painted, landmarks, targets


def opened(folder: Path) -> NetworkBlender:
    return NetworkBlender(folder / "warp_redubber.safetensors", graph_loader("cpu", 1))


def test_it_gives_what_the_torch_network_gives(folder: Path, case: Case) -> None:
    source, painted, landmarks, targets = case
    generated = opened(folder).blend(*case)
    network, _ = load(folder / "warp_redubber.safetensors", WarpRedubber)
    hidden = hide(landmarks, targets)
    colours = median_colours(source, landmarks, hidden)
    inputs, base = network_inputs(source[PART], painted[PART], colours, targets, hidden, known_area())
    inside = (hidden.area == 1) & (known_area() == 1)
    assert (base[inside] == painted[PART][inside]).all()
    assert (base[hidden.area == 0] == source[PART][hidden.area == 0]).all()
    with torch.no_grad():
        fields = network(**{name: torch.tensor(np.array(inputs[name])) for name in INPUTS})
        wanted = blend(fields, torch.from_numpy(base.transpose(0, 3, 1, 2)) / 255).numpy().transpose(0, 2, 3, 1)
    wanted = source[PART] + hidden.region[..., None] * (255 * wanted.clip(0, 1) - source[PART])
    apart = np.abs(generated[PART] - wanted)
    assert apart.max() < 4  # OpenCV samples at 1/32 px
    assert apart.mean() < 0.3
    assert np.abs(generated[PART].astype(int) - source[PART]).max() > 30


def test_outside_it_is_the_source(folder: Path, case: Case) -> None:
    source, _, landmarks, targets = case
    kept = [array.copy() for array in case]
    generated = opened(folder).blend(*case)
    assert all((a == b).all() for a, b in zip(kept, case, strict=True))  # nothing of the caller's is written to
    outside = np.ones(generated.shape[:3], bool)
    outside[PART[:-1]] = hide(landmarks, targets).area == 0
    assert (generated[outside] == source[outside]).all()
    assert generated.dtype == np.uint8


def test_a_face_comes_out_the_same_in_any_company(folder: Path, case: Case) -> None:
    blender = opened(folder)
    together = blender.blend(*case)
    alone = np.concatenate([blender.blend(*(array[i : i + 1] for array in case)) for i in range(3)])
    assert np.abs(together[:3].astype(int) - alone).max() <= 1
    assert len(blender.blend(*(array[:0] for array in case))) == 0


def test_the_true_mouth_is_not_looked_at(folder: Path, case: Case) -> None:
    source, painted, landmarks, targets = case
    other = source.copy()
    area = hide(landmarks, targets)
    inside = area.region == 1
    other[PART][inside] = 255 - other[PART][inside]
    blender = opened(folder)
    generated, again = blender.blend(*case)[PART], blender.blend(other, painted, landmarks, targets)[PART]
    assert (generated[inside] == again[inside]).all()


def test_wrong_shapes_and_files_are_named(folder: Path, case: Case, tmp_path: Path) -> None:
    blender = opened(folder)
    with pytest.raises(ValueError, match=r"targets must have shape \(19, 20, 2\), not \(19, 68, 2\)"):
        blender.blend(case[0], case[1], case[2], case[2])
    with pytest.raises(WeightsError, match="does not exist"):
        opened(tmp_path)
    save(PaperRedubber(RedubberConfig("audio", "compact", 1)).eval(), tmp_path / "warp_redubber.safetensors", half=True)
    export_graphs(tmp_path / "warp_redubber.safetensors", PaperRedubber)
    with pytest.raises(WeightsError, match="blends no painted faces"):
        opened(tmp_path)


def test_the_shipped_network_leaves_a_face_that_fits_as_it_is(case: Case) -> None:
    """Painted with its own mouth, asked for its own shape: hidden and given back, it is the same to the eye."""
    source, _, landmarks, _ = (array[:2] for array in case)
    generated = NetworkBlender(weight_set().path("warp_redubber")).blend(
        source, source, landmarks, landmarks[:, MOUTH_POINTS]
    )
    region = hide(landmarks, landmarks[:, MOUTH_POINTS]).region[..., None]
    apart = np.abs(generated[PART].astype(np.float32) - source[PART])
    assert (apart * region).sum() / (3 * region.sum()) < 6
    tinted = source.copy()
    tinted[PART] = np.rint(source[PART] + 25 * (region > 0)).clip(0, 255)
    fixed = NetworkBlender(weight_set().path("warp_redubber")).blend(
        source, tinted, landmarks, landmarks[:, MOUTH_POINTS]
    )
    left = np.abs(fixed[PART].astype(np.float32) - source[PART])
    assert (left * region).sum() / (3 * region.sum()) < 12  # the wrong light is noticed: more than half of it goes
