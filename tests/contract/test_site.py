"""The documentation as a site: every page in it, every link good, nothing loaded from elsewhere; the notebook runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = re.compile(r"""<(?:script|img|iframe|source|video)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//""")
LINK = re.compile(r'(?:href|src)="([^"#?:]+)(?:#[^"]*)?"')


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    out = tmp_path_factory.mktemp("site")
    result = build(root / "mkdocs.yml", out)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not LOADED.search(page.read_text("utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text("utf-8")), sheet


@pytest.mark.slow
def test_links_of_the_built_pages(site: Path) -> None:
    broken = [
        f"{page.relative_to(site)} → {target}"
        for page in site.rglob("*.html")
        if page.name != "404.html"
        for target in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists() and not (site / target.lstrip("/")).exists()
    ]
    assert not broken


@pytest.mark.slow
def test_the_api_page_has_what_it_promises(site: Path, root: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    for name in re.findall(r"^::: (\S+)", (root / "docs/api.md").read_text(), re.MULTILINE):
        assert f'id="{name}"' in page, name


@pytest.mark.slow
def test_a_broken_link_is_red(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[gone](gone.md)")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nvalidation: {links: {not_found: warn}}\n")
    assert build(tmp_path / "mkdocs.yml", tmp_path / "out").returncode == 1


@pytest.mark.slow
def test_the_notebook_runs(root: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(root / "docs/notebooks/quickstart.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "'command': 'redub'" in last.outputs[0]["data"]["text/plain"]


def test_the_notebook_is_kept_without_outputs(root: Path) -> None:
    import json

    notebook = json.loads((root / "docs/notebooks/quickstart.ipynb").read_text("utf-8"))
    assert not [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_every_page_can_be_reached(site: Path, root: Path) -> None:
    reached = set(LINK.findall((site / "index.html").read_text("utf-8")))
    for page in (root / "docs").rglob("*.md"):
        assert page.relative_to(root / "docs").with_suffix(".html").as_posix() in reached | {"index.html"}
