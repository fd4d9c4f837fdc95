"""Files that hosts and registries read: they agree with the package, with each other and with what CI runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from speech2vid import __version__

VERSION = "Programming Language :: Python :: 3."
ISSUE_FORMS = ("bug", "feature", "quality")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return loaded


def read_yaml(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text("utf-8"))


def python_versions(project: dict[str, Any]) -> list[str]:
    return [entry.removeprefix(VERSION[:-2]) for entry in project["classifiers"] if entry.startswith(VERSION)]


@pytest.mark.parametrize("workflow", ["ci", "nightly"])
def test_workflows_cover_every_declared_python(root: Path, project: dict[str, Any], workflow: str) -> None:
    jobs = read_yaml(root / f".github/workflows/{workflow}.yml")["jobs"]
    for job in jobs.values():
        assert job["strategy"]["matrix"]["python"] == python_versions(project)


def test_ci_runs_the_local_script(root: Path) -> None:
    steps = read_yaml(root / ".github/workflows/ci.yml")["jobs"]["checks"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]
    assert "bash .ci/run" in (root / "Makefile").read_text()


def test_nightly_runs_the_slow_tests(root: Path) -> None:
    steps = read_yaml(root / ".github/workflows/nightly.yml")["jobs"]["slow"]["steps"]
    assert any("pytest -m slow" in step.get("run", "") for step in steps)


def test_ci_runs_the_tests_of_promises(root: Path) -> None:
    assert "\npytest -m promise\n" in (root / ".ci/run").read_text()


def test_requires_python_is_the_oldest_classifier(project: dict[str, Any]) -> None:
    assert project["requires-python"] == f">={python_versions(project)[0]}"


def test_posix_is_declared_while_the_code_needs_it(root: Path, project: dict[str, Any]) -> None:
    source = "".join(path.read_text("utf-8") for path in (root / "src").rglob("*.py"))
    if any(name in source for name in ("fcntl", "os.getuid", "os.sysconf", "os.pread")):
        assert "Operating System :: POSIX" in project["classifiers"]


def test_citation_names_this_version_and_the_paper(root: Path, project: dict[str, Any]) -> None:
    citation = read_yaml(root / "CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == project["license"]
    assert project["urls"]["Paper"].endswith(citation["references"][0]["doi"])


@pytest.mark.parametrize("name", ISSUE_FORMS)
def test_issue_form_asks_for_something(root: Path, name: str) -> None:
    form = read_yaml(root / f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_pre_commit_runs_what_ci_runs(root: Path) -> None:
    (repository,) = read_yaml(root / ".pre-commit-config.yaml")["repos"]
    entries = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert {"ruff", "mypy", "lint-imports"} <= entries
