"""``--landmarks``: faces at any tilt with ``mesh``; the landmarker is recorded, and another one is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from speech2vid.constants import PAPER_LANDMARKS
from speech2vid.data.prepare import prepare
from speech2vid.data.records import Track
from speech2vid.data.report import REPORT, PrepareReport
from speech2vid.errors import DataError, WeightsError
from speech2vid.faces import PAPER, FaceModels, detect, face_models, landmarks
from speech2vid.inference.identity import make_identity
from speech2vid.inference.talkers.base import Generated, Identity, Talker
from speech2vid.inference.track_cache import _key
from speech2vid.inference.use_notes import landmarker_notes
from speech2vid.runtime.weights import WeightsHeader, read_header, write_weights
from speech2vid.types import Floats


@pytest.fixture(scope="module")
def mesh() -> FaceModels:
    return face_models("mesh")


class NoTalker(Talker):
    """Takes identities as the base class prepares them, and generates nothing."""

    def generate(self, identity: Identity, drive: Floats) -> Generated:
        raise NotImplementedError


@pytest.fixture
def no_dlib_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        pytest.fail("HOG or dlib's landmarks were used")

    monkeypatch.setattr(detect, "_hog", refuse)
    monkeypatch.setattr(landmarks, "_shape_predictor", refuse)


def roll_deg(identity: Identity) -> float:
    """Tilt of the identity's face in its canvas, clockwise."""
    to_face = identity.canvas_transform
    return -float(np.degrees(np.arctan2(to_face[1, 0], to_face[0, 0])))


@pytest.mark.usefixtures("no_dlib_landmarks")
@pytest.mark.parametrize("degrees", [0, 40, 90, 180])
def test_mesh_identity_is_upright_whatever_the_tilt_of_the_photo(
    degrees: int, photo: Path, mesh: FaceModels, tmp_path: Path
) -> None:
    path = tmp_path / "tilted.png"
    with PIL.Image.open(photo) as image:
        image.rotate(-degrees, resample=PIL.Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 90, 90)).save(path)
    identity = make_identity([path], NoTalker(), models=mesh)
    assert abs((roll_deg(identity) - degrees + 180) % 360 - 180) < 8
    points = identity.stills[0].aligned.landmarks
    assert points[:27, 1].min() < points[36:48, 1].mean() < points[30, 1] < points[48:68, 1].mean() < points[8, 1]


def weights_of(path: Path, landmarker: str) -> Path:
    header = WeightsHeader("warp_talker", {}, landmarker=landmarker)
    write_weights(path, header, {"a": np.zeros(3, np.float32)})
    return path


def test_weights_record_their_landmarker_and_count_as_dlib_without_it(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "w.safetensors", "mesh 7")
    assert read_header(path).landmarker == "mesh 7"
    blob = path.read_bytes()
    path.write_bytes(blob.replace(b'"landmarker"', b'"earlier___"'))
    assert read_header(path).landmarker == PAPER_LANDMARKS


def test_weights_of_another_landmarker_are_refused(tmp_path: Path, mesh: FaceModels) -> None:
    path = weights_of(tmp_path / "w.safetensors", mesh.landmarker_id)
    assert landmarker_notes(path, ["warp_talker"], mesh) == []
    with pytest.raises(WeightsError, match=f"{mesh.landmarker_id}, and {PAPER_LANDMARKS} was requested .*--landmarks"):
        landmarker_notes(path, ["warp_talker"], PAPER)


def test_networks_of_the_default_set_run_on_mesh_with_a_note(mesh: FaceModels) -> None:
    assert landmarker_notes(None, ["warp_talker", "sync"], PAPER) == []
    (note,) = landmarker_notes(None, ["warp_talker", "sync"], mesh)
    assert "warp_talker, sync" in note
    assert PAPER_LANDMARKS in note
    assert mesh.landmarker_id in note


def test_training_does_not_start_from_weights_of_another_landmarker(
    tmp_path: Path, drawn_tracks: Callable[..., list[Track]]
) -> None:
    pytest.importorskip("torch")
    from speech2vid.training.dataset import TrackSet
    from speech2vid.training.task import check_landmarker

    tracks = TrackSet(drawn_tracks(1, tracks=1))
    check_landmarker(weights_of(tmp_path / "same.safetensors", PAPER_LANDMARKS), tracks)
    with pytest.raises(WeightsError, match=f"landmarker mesh 7; the tracks were prepared with {PAPER_LANDMARKS}"):
        check_landmarker(weights_of(tmp_path / "other.safetensors", "mesh 7"), tracks)


def test_a_store_is_not_continued_with_another_landmarker(
    tmp_path: Path, drawn_store: Callable[[Path], Path], speech: Path, mesh: FaceModels
) -> None:
    store = drawn_store(tmp_path / "store")
    report = json.loads((store / REPORT).read_text())
    assert report.pop("landmarker") == PAPER_LANDMARKS
    (store / REPORT).write_text(json.dumps(report))  # as earlier versions wrote it
    assert PrepareReport.read(store).landmarker == PAPER_LANDMARKS
    before = {path: path.read_bytes() for path in store.iterdir()}
    with pytest.raises(DataError, match=f"{PAPER_LANDMARKS}, and {mesh.landmarker_id} was requested .*another --out"):
        prepare([speech], store, sync="off", landmarks="mesh")
    assert {path: path.read_bytes() for path in store.iterdir()} == before


def test_a_cached_analysis_belongs_to_its_landmarker(photo: Path, mesh: FaceModels) -> None:
    class Newer:
        name, version = PAPER.landmarker.name, "2"

    newer = replace(PAPER, landmarker=Newer())  # type: ignore[arg-type]
    assert len({_key(photo, "sync", models) for models in (PAPER, mesh, newer)}) == 3
