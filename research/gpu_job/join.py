"""Join the weights that ``run`` left in parts, and make their ONNX graphs next to them.

python -m research.gpu_job.join RESULTS WEIGHTS
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from speech2vid.errors import Speech2VidError, WeightsError
from speech2vid.files import atomic_write
from speech2vid.training.export import export

PART = re.compile(r"(?P<name>.+\.safetensors)\.part(?P<number>\d+)")


def join(results: Path, weights: Path) -> list[Path]:
    """Write a weight file and its graphs for each file that ``results`` holds in parts.

    Returns:
        the files in ``weights``.

    Raises:
        WeightsError: there are no parts, or one is missing or damaged: the checksum does not match.
        OutputError: ``weights`` cannot be written.
    """
    parts: dict[str, dict[int, Path]] = {}
    for path in results.glob("*.part*"):
        if found := PART.fullmatch(path.name):
            parts.setdefault(found["name"], {})[int(found["number"])] = path
    if not parts:
        raise WeightsError(f"there are no weights in {results}", "name the folder that research.gpu_job.run wrote")
    with tempfile.TemporaryDirectory() as temporary:
        for name, numbered in parts.items():
            blob = b"".join(numbered[number].read_bytes() for number in sorted(numbered))
            atomic_write(Path(temporary) / name, blob)
        return export(weights, Path(temporary))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="join", description="Join weights trained on a GPU machine.")
    parser.add_argument("results", type=Path, help="folder that run wrote")
    parser.add_argument("weights", type=Path, help="folder for the weight file and its graphs")
    given = parser.parse_args(arguments)
    try:
        print(*join(given.results, given.weights), sep="\n")
    except Speech2VidError as error:
        print(f"error: {error.message}", f"hint: {error.hint}", sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
