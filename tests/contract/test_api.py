"""The names a developer imports: typed, documented, and free until they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import speech2vid

HEAVY = ("torch", "numpy", "onnxruntime", "av", "cv2", "dlib", "PIL", "typer", "rich", "c2pa", "gradio")


def test_the_package_costs_nothing_to_import() -> None:
    """Neither a heavy library nor any module of its own."""
    code = f"import speech2vid, sys; print([n for n in sys.modules if n in {HEAVY} or n.startswith('speech2vid.')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_name_is_there_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import speech2vid\n"
        "[getattr(speech2vid, name) for name in speech2vid.__all__]\n"
        "from speech2vid import talk, redub\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [name for name in speech2vid.__all__ if name != "__version__"])
def test_names_are_documented_and_typed(name: str) -> None:
    thing = getattr(speech2vid, name)
    assert inspect.getdoc(thing), name
    assert name in dir(speech2vid)
    if inspect.isfunction(thing):
        hints = thing.__annotations__
        assert set(inspect.signature(thing).parameters) <= set(hints)
        assert "return" in hints


def test_unknown_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = speech2vid.nonsense
