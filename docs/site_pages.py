"""Add files of the repository root to the site, and rewrite the links between them and docs/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT_PAGES = {
    "MODEL_CARD.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Append pages that the navigation does not name, so that every page can be reached."""
    named = set(re.findall(r"[\w/-]+\.md", json.dumps(config.nav)))
    folder = Path(config.docs_dir)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    more: list[Any] = [page for page in found if page not in named]
    if more:
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the root files under their names in the site."""
    root = Path(config.config_file_path).parent
    for source, page in ROOT_PAGES.items():
        text = LINK.sub(_from_root, (root / source).read_text("utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links from docs/ to root files into links to their pages."""
    return LINK.sub(_to_root, markdown)


def _from_root(link: re.Match[str]) -> str:
    target, anchor = link[1], link[2] or ""
    return f"]({ROOT_PAGES.get(target, target.removeprefix('docs/'))}{anchor})"


def _to_root(link: re.Match[str]) -> str:
    target, anchor = link[1], link[2] or ""
    page = ROOT_PAGES.get(target.removeprefix("../").removeprefix("../"))
    return f"]({target.replace(target.rsplit('../', 1)[-1], page)}{anchor})".replace("](../", "](") if page else link[0]
