"""What the documents say is generated or tested: the command reference, the README's commands, links, licences."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from speech2vid import __version__
from speech2vid.cli.reference import DOCUMENTS

FENCE = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`([\w/]+(?:\.py|/))`")
SEARCHED_FOR = (
    "EMA", "augmentation", "discriminator", "keypoints", "dataset", "dataloader", "inpainting", "VAD",
    "optical flow", "active speaker", "perceptual loss", "scheduler",
)  # fmt: skip


def documents(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/speech2vid/**/*.md")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_document_is_current(root: Path, name: str) -> None:
    assert (root / "docs" / name).read_text() == DOCUMENTS[name](), "run `make docs`"


def test_readme_commands_are_what_ci_runs(root: Path) -> None:
    """The first two code blocks of the README are the demo and the tests; CI runs the same lines in a fresh place."""
    demo, tests = FENCE.findall((root / "README.md").read_text())[:2]
    ci = [line.strip() for line in (root / ".ci/run").read_text().splitlines()]
    assert "speech2vid demo" in demo
    assert "pytest" in tests
    for line in (demo + tests).splitlines():
        assert line in ci, f"the README says `{line}`, which .ci/run does not run"


def test_links_lead_somewhere(root: Path) -> None:
    for document in documents(root):
        for target in LINK.findall(document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(root)} links to {target}"


@pytest.mark.parametrize("name", ["code-tour.md", "glossary.md"])
def test_paths_in_the_tour_exist(root: Path, name: str) -> None:
    """A file in backticks is below src/speech2vid, or below a folder that the same table row or list item names."""
    package = root / "src" / "speech2vid"
    known = {path.name for path in package.rglob("*.py")}
    missing = [
        path
        for path in PATH.findall((root / "docs" / name).read_text())
        if not (package / path).exists() and not (root / path).exists() and not ("/" not in path and path in known)
    ]
    assert not missing


def test_glossary_defines_the_words_people_search_for(root: Path) -> None:
    text = (root / "docs" / "glossary.md").read_text()
    for word in SEARCHED_FOR:
        assert re.search(rf"^\| [^|]*\b{re.escape(word)}\b", text, re.MULTILINE), word


def test_changelog_has_this_version(root: Path) -> None:
    assert f"## {__version__}" in (root / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "av", "numpy", "typer"])
def test_constraints_meet_the_declared_ranges(root: Path, name: str) -> None:
    from packaging.requirements import Requirement
    from packaging.version import Version

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    declared = [Requirement(r) for r in (*project["dependencies"], *project["optional-dependencies"]["train"])]
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().splitlines() if "==" in line)
    (requirement,) = [r for r in declared if r.name == name]
    assert requirement.specifier.contains(Version(pins[name]))


def test_the_core_has_no_torch(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert not [r for r in project["dependencies"] if r.startswith(("torch", "scipy", "scikit", "lightning"))]
