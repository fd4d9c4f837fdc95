"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(*words: object, cwd: Path) -> str:
    """With no trace of the checkout in the surroundings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    result = subprocess.run(list(map(str, words)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, root, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``speech2vid`` of a new environment, which has the wheel and borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    (packages,) = (folder / "env/lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(here))
    return folder / "env/bin/speech2vid"


def test_what_is_in_it(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = root / "src" / "speech2vid"
    wanted = {path.relative_to(root / "src").as_posix() for path in package.rglob("*") if path.is_file()}
    assert {name for name in wanted if "__pycache__" not in name} <= names
    for suffix in (".safetensors", ".onnx", ".toml", ".jpg", ".wav", "py.typed", "licenses/LICENSE"):
        assert [name for name in names if name.endswith(suffix)], suffix
    foreign = [n for n in names if not n.startswith("speech2vid/") and ".dist-info/" not in n]
    assert not foreign, "tests, documents or tools are in the wheel"
    assert wheel.stat().st_size < 90e6


def test_it_works_elsewhere_with_its_own_weights(program: Path, tmp_path: Path) -> None:
    info = json.loads(run(program, "info", "--json", cwd=tmp_path))
    shipped = {
        "audio_to_mouth.safetensors",
        "speech_encoder.safetensors",
        "warp_talker.safetensors",
        "sync.safetensors",
    }
    shipped.add("voice_activity.onnx")
    assert shipped <= {w["file"] for w in info["weights"]}
    python = program.with_name("python")
    where = run(python, "-c", "import speech2vid; print(speech2vid.__file__)", cwd=tmp_path)
    assert str(program.parents[1]) in where
    said = run(program, "demo", cwd=tmp_path)
    assert str(program.parents[1]) in said, "the photo and the voice are those of the wheel"
    assert json.loads(run(program, "verify", "talk.mp4", "--json", cwd=tmp_path))["verdict"] == "marked"
    assert [path.name for path in tmp_path.iterdir()] == ["talk.mp4"]
