"""Imports go down only, and each library has one door. Each rule is shown red once, on a copy of the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.promise]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    shutil.copy(root / "pyproject.toml", tmp_path)
    shutil.copytree(
        root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("weights", "assets", "__pycache__", "*.egg-info")
    )
    return tmp_path


def test_the_source_keeps_the_rules(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("media", "import speech2vid.faces.detect", "imports go down only"),
        ("data", "import speech2vid.inference", "imports go down only"),
        ("inference", "import speech2vid.training", "imports go down only"),
        ("constants.py", "import speech2vid.types", "imports go down only"),
        ("app", "import speech2vid.cli", "imports go down only"),
        ("faces", "import av", "av only in media"),
        ("inference", "import dlib", "dlib only in faces"),
        ("inference", "import c2pa", "c2pa only in media"),
        ("runtime", "import torch", "torch only in models, losses, runtime.torch, training and evaluation"),
        ("inference", "import gradio", "gradio and web servers only in app"),
        ("faces", "import ray", "ray only in ray_pool"),
        ("inference", "import rich.console", "typer and rich only in cli"),
    ],
)
def test_a_broken_rule_is_red(copy: Path, module: str, line: str, rule: str) -> None:
    path = copy / "src" / "speech2vid" / module
    with (path if path.suffix else path / "__init__.py").open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{rule} BROKEN" in result.stdout


def test_a_package_without_a_place_is_red(copy: Path) -> None:
    (copy / "src" / "speech2vid" / "helpers.py").write_text("")
    assert lint(copy).returncode == 1
