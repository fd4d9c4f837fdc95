"""Print figures about the code base at a git revision, to compare two revisions.

    python research/house_figures.py f45c68e HEAD

Only committed files are counted: nothing is checked out. Columns: Python files and lines below src/, median and maximum
lines per file, base names that occur more than once (``__init__`` aside), public functions with more than eight
parameters (methods included, ``self`` and ``cls`` aside; constructors of dataclasses have none written), words of the
README, and lines of tests.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import subprocess
import tarfile
from collections import Counter
from io import BytesIO
from pathlib import PurePosixPath

SOURCE, TESTS = "src/", "tests/"
MANY_PARAMETERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="+", metavar="REVISION", help="git revision, such as a commit or HEAD")
    parser.add_argument(
        "--list", action="store_true", help="also list repeated names and functions with many parameters"
    )
    given = parser.parse_args()
    tables = {revision: figures(python_files(revision), readme(revision)) for revision in given.revisions}
    names = list(next(iter(tables.values())))
    print("| | " + " | ".join(tables) + " |")
    print("|---" * (len(tables) + 1) + "|")
    for name in names:
        print(f"| {name} | " + " | ".join(f"{table[name]:,}" for table in tables.values()) + " |")
    if given.list:
        for revision in given.revisions:
            files = python_files(revision)
            print(f"\n{revision}: names that occur more than once: {', '.join(repeated_names(files))}")
            print(f"{revision}: more than {MANY_PARAMETERS} parameters: {', '.join(wide_functions(files))}")


def python_files(revision: str) -> dict[PurePosixPath, str]:
    """Return path → text of the Python files below src/ and tests/."""
    archive = subprocess.run(["git", "archive", revision, SOURCE, TESTS], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        members = [member for member in tar if member.isfile() and member.name.endswith(".py")]
        return {PurePosixPath(member.name): tar.extractfile(member).read().decode() for member in members}  # type: ignore[union-attr]


def readme(revision: str) -> str:
    """Return the text of the README."""
    return subprocess.run(["git", "show", f"{revision}:README.md"], capture_output=True, check=True, text=True).stdout


def figures(files: dict[PurePosixPath, str], readme_text: str) -> dict[str, float]:
    """Return the figures of one revision by name."""
    lines = {path: text.count("\n") for path, text in files.items()}
    source = [count for path, count in lines.items() if str(path).startswith(SOURCE)]
    return {
        "files below src": len(source),
        "lines below src": sum(source),
        "median lines per file": int(statistics.median(source)),
        "longest file, lines": max(source),
        "base names more than once": len(repeated_names(files)),
        f"public functions with more than {MANY_PARAMETERS} parameters": len(wide_functions(files)),
        "lines below tests": sum(lines.values()) - sum(source),
        "README, lines": readme_text.count("\n"),
        "README, words": len(readme_text.split()),
    }


def repeated_names(files: dict[PurePosixPath, str]) -> list[str]:
    """Return the base names that more than one source file has."""
    count = Counter(path.stem for path in files if str(path).startswith(SOURCE) and path.stem != "__init__")
    return sorted(name for name, times in count.items() if times > 1)


def wide_functions(files: dict[PurePosixPath, str]) -> list[str]:
    """Return the public functions and methods of the source with more than MANY_PARAMETERS parameters."""
    found = []
    for path, text in sorted(files.items()):
        if str(path).startswith(SOURCE):
            found += [f"{path.stem}.{name}" for name in _wide(ast.parse(text))]
    return found


def _wide(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if len([each for each in parameters if each.arg not in ("self", "cls")]) > MANY_PARAMETERS:
                names.append(node.name)
    return names


if __name__ == "__main__":
    main()
