"""How-to pages that change the package, followed literally: their code blocks change a copy of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import speech2vid
from speech2vid.data.sources import expand

pytestmark = pytest.mark.slow

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(
    r'^ *```\w+ title="(in|add to|replaced in|new file) ([^"]+)"\n(.*?)^ *```$', re.MULTILINE | re.DOTALL
)


def follow(page: str, copy: Path) -> list[str]:
    """Change a copy of the checkout as a page says; return the files that were changed or made."""
    changed: list[str] = []
    found = ""
    for action, name, indented in BLOCK.findall((PAGES / page).read_text("utf-8")):
        code = unindented(indented)
        file = copy / name
        if action == "in":
            found = code
            assert f"\n{file.read_text('utf-8')}".count(f"\n{found}") == 1, f"{name} has the line {found!r} once"
            continue
        if action == "new file":
            assert not file.exists(), name
            file.write_text(code, "utf-8")
        else:
            text = file.read_text("utf-8")
            file.write_text(text.replace(found, found + code if action == "add to" else code), "utf-8")
        changed.append(name)
    return changed


def unindented(block: str) -> str:
    """Remove the four columns by which the blocks of a numbered step are indented."""
    return "".join(line.removeprefix("    ") for line in block.splitlines(keepends=True))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    shutil.copytree(Path(speech2vid.__file__).parent, folder / "src" / "speech2vid")
    return folder


def python(copy: Path, code: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )


def command(copy: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return python(copy, "from speech2vid.cli import main; main()", *words)


def train(copy: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return command(copy, "train", *words)


def test_add_a_loss(copy: Path, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    assert set(follow("add-a-loss.md", copy)) == {"src/speech2vid/training/tasks/sharpener.py"}
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    words = ["sharpener", "--data", store, "--out", out, "--device", "cpu", "--set", "sharpener.steps=3"]
    words += ["--set", "sharpener.network.layers=3", "--set", "sharpener.network.channels=8"]
    result = train(copy, *words, "--set", "sharpener.contrast=0.1")
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in (out / "sharpener" / "losses.tsv").read_text().splitlines()]
    assert rows[0] == ["step", "loss", "l1", "gradient", "contrast"]
    for row in rows[1:]:
        loss, l1, gradient, contrast = map(float, row[1:])
        assert contrast > 0
        assert loss == pytest.approx(l1 + gradient + 0.1 * contrast, rel=1e-5)


def test_add_a_task(copy: Path, drawn_store: Callable[[Path], Path], tmp_path: Path) -> None:
    registry = "src/speech2vid/training/tasks/__init__.py"
    changed = follow("add-a-task.md", copy)
    assert set(changed) == {"src/speech2vid/training/tasks/lip_opening.py", registry, "lip_opening.toml"}
    store, out = drawn_store(tmp_path / "store"), tmp_path / "out"
    words = ["talker", "--data", store, "--out", out, "--config", "lip_opening.toml", "--device", "cpu"]
    result = train(copy, *words)
    assert result.returncode == 0, result.stderr
    assert len((out / "lip_opening" / "losses.tsv").read_text().splitlines()) == 1 + 6
    assert "opening_correlation" in (out / "lip_opening" / "log.txt").read_text()
    resumed = train(copy, *words, "--resume", "--set", "lip_opening.steps=8")
    assert resumed.returncode == 0, resumed.stderr
    assert len((out / "lip_opening" / "losses.tsv").read_text().splitlines()) == 1 + 8
    wrong = train(copy, *words, "--resume", "--set", "lip_opening.chanels=3")
    assert "did you mean 'channels'?" in wrong.stderr


def test_add_a_corpus(copy: Path, tmp_path: Path) -> None:
    assert set(follow("add-a-corpus.md", copy)) == {"src/speech2vid/data/corpora.py"}
    listing = """
import json, sys
from speech2vid.data.sources import expand
print(json.dumps({source.name: source.speaker for source in expand(sys.argv[1:])}))
"""
    names = ("volunteers/01M/Clips/straightcam/sa1.mp4", "lipspeakers/Lipspkr2/Clips/30degcam/si8.mp4", "01M/sa1.mp4")
    for name in names:
        (tmp_path / "corpus" / name).parent.mkdir(parents=True)
        (tmp_path / "corpus" / name).touch()
    result = python(copy, listing, tmp_path / "corpus")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == dict(zip(names, ("01M", "Lipspkr2", "01M"), strict=True))
    folders = {source.name: source.speaker for source in expand([tmp_path / "corpus"])}
    assert folders == dict(zip(names, ("volunteers", "lipspeakers", "01M"), strict=True))  # without the page's change


def test_add_a_landmarker(copy: Path, photo: Path, face_clip: Callable[..., Path], tmp_path: Path) -> None:
    changed = follow("add-a-landmarker.md", copy)
    pair, name = "src/speech2vid/faces/face_models.py", "src/speech2vid/constants.py"
    assert set(changed) == {"src/speech2vid/faces/mirrored.py", name, pair}
    placing = """
import json, sys
from speech2vid.faces import face_models
from speech2vid.faces.mirrored import MIRROR
from speech2vid.media import load_photo
image = load_photo(sys.argv[1])
points, mirrored = (face_models(sys.argv[2]).find(each)[0].landmarks for each in (image, image[:, ::-1].copy()))
back = mirrored[MIRROR] * (-1, 1) + (image.shape[1] - 1, 0)
print(json.dumps([float(abs(points - back).mean()), points.tolist()]))
"""
    placed = {}
    for landmarks in ("paper", "mirrored"):
        result = python(copy, placing, photo, landmarks)
        assert result.returncode == 0, result.stderr
        placed[landmarks] = json.loads(result.stdout)
    assert placed["mirrored"][0] < placed["paper"][0] < 1  # px between the landmarks of an image and its mirror image
    assert 0 < np.abs(np.subtract(placed["mirrored"][1], placed["paper"][1])).mean() < 3  # px
    clip, audio = face_clip(tmp_path / "clip.mp4", frames=30), tmp_path / "clip.mp4"
    words = ("--face", photo, "--audio", audio, "--outfile", tmp_path / "talk.mp4", "--landmarks", "mirrored", "--json")
    result = command(copy, "talk", *words)
    assert result.returncode == 0, result.stderr
    assert "dlib-mirrored 1" in " ".join(json.loads(result.stdout)["notes"])
    result = command(copy, "prepare", clip, "--out", tmp_path / "store", "--sync", "off", "--landmarks", "mirrored")
    assert json.loads((tmp_path / "store" / "report.json").read_text())["landmarker"] == "dlib-mirrored 1", (
        result.stderr
    )


def test_the_blocks_of_a_page_are_found() -> None:
    text = textwrap.dedent("""\
        ```python title="in a.py"
        x
        ```
    """)
    assert BLOCK.findall(text) == [("in", "a.py", "x\n")]
    for page, count in (("add-a-loss.md", 6), ("add-a-task.md", 6), ("add-a-corpus.md", 6), ("add-a-landmarker.md", 7)):
        assert len(BLOCK.findall((PAGES / page).read_text("utf-8"))) == count
