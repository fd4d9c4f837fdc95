"""The recipe of Table 2 at toy size: every row filled, and a second run carries on instead of starting again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 600
TRAINED = ("five", "none", "one", "transposed", "v201", "identity", "content", "mouth", "warp", "seed", "seed2")
UNTRAINED = ("truth", "still", "shuffled")


def table2(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "benchmarks" / "table2.py", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environment
    )


def test_every_row_is_filled_and_a_second_run_carries_on(
    root: Path, drawn_store: Callable[[Path], Path], tmp_path: Path
) -> None:
    store, out, document = drawn_store(tmp_path / "store"), tmp_path / "out", tmp_path / "table2.md"
    arguments = ("--data", store, "--out", out, "--doc", document, "--toy")
    result = table2(root, *arguments)
    assert result.returncode == 0, result.stderr

    record = json.loads((out / "table2.json").read_text())
    assert set(record["rows"]) == {*TRAINED, *UNTRAINED}
    for row in TRAINED:
        for version in ("raw", "sharpened"):
            table = record["rows"][row][version]
            for metric in ("mse", "embedding_distance", "opening_correlation", "sharpness_ratio"):
                assert {"value", "low", "high"} <= table[metric].keys(), (row, version, metric)
    assert record["rows"]["truth"]["raw"]["mse"]["value"] == 0
    assert record["rows"]["still"]["raw"]["opening_correlation"]["value"] == 0
    assert record["rows"]["five"]["raw"]["mse"] != record["rows"]["seed"]["raw"]["mse"]
    assert {"identity", "sharpener", *(f"row-{row}" for row in TRAINED)} == record["trainings"].keys()
    assert all(each["verdict"].startswith("undecided") for each in record["claims"] if each["verdict"])
    assert document.read_text() == (out / "table2.md").read_text()
    assert "content loss" in document.read_text()

    trained = {path: path.stat().st_mtime_ns for path in out.glob("training/*/*/best.safetensors")}
    (out / "measured" / "one.json").unlink()
    again = table2(root, *arguments)
    assert again.returncode == 0, again.stderr
    assert "measuring one" in again.stdout
    assert "measuring five" not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert json.loads((out / "table2.json").read_text())["rows"] == record["rows"]

    other = table2(root, "--data", store, "--out", out, "--steps", "7")
    assert other.returncode == 1
    assert "holds a study with other settings" in other.stderr
    assert "Traceback" not in other.stderr
