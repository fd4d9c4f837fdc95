"""The pages on adding a loss and a task, followed literally: their code blocks change a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import speech2vid

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


def train(copy: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from speech2vid.cli import main; main()", "train", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )


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


def test_the_blocks_of_a_page_are_found() -> None:
    text = textwrap.dedent("""\
        ```python title="in a.py"
        x
        ```
    """)
    assert BLOCK.findall(text) == [("in", "a.py", "x\n")]
    for page, count in (("add-a-loss.md", 6), ("add-a-task.md", 6)):
        assert len(BLOCK.findall((PAGES / page).read_text("utf-8"))) == count
