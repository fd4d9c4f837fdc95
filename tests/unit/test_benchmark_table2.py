"""Verdicts of Table 2: what intervals and the spread between seeds decide; the document follows the record."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def table2(root: Path) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("table2", root / "benchmarks" / "table2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["table2"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["table2"]


def estimate(table2: ModuleType, value: float, low: float, high: float, clips: int = 32) -> Any:
    return table2.Estimate(value, low, high, value, clips, 12)


@pytest.mark.parametrize(
    ("value", "low", "high", "clips", "verdict"),
    [
        (0.2, 0.1, 0.3, 32, "confirmed"),
        (-0.2, -0.3, -0.1, 32, "refuted"),
        (0.2, -0.1, 0.3, 32, "undecided"),
        (0.014, 0.004, 0.024, 32, "undecided: within the spread of seeds"),
        (0.2, 0.1, 0.3, 7, "undecided: 7 clips"),
    ],
)
def test_verdict(table2: ModuleType, value: float, low: float, high: float, clips: int, verdict: str) -> None:
    assert table2.verdict(estimate(table2, value, low, high, clips), spread=0.012) == verdict


def test_spread_is_the_rms_difference_of_all_pairs_of_seeds(table2: ModuleType) -> None:
    rows = {
        name: {"raw": {"mse": {"value": raw}}, "sharpened": {"mse": {"value": sharp}}}
        for name, raw, sharp in (("five", 1.0, 2.0), ("seed", 4.0, 5.0), ("seed2", 5.0, 8.0))
    }
    assert table2.seed_spread(rows, "mse") == pytest.approx(((9 + 16 + 1) / 3) ** 0.5)
    assert table2.seed_spread(rows, "mse", sharpening=True) == pytest.approx(((0 + 4 + 4) / 3) ** 0.5)
    assert table2.seed_spread({"five": rows["five"]}, "mse") == 0


def test_document_and_verdicts_follow_the_record(table2: ModuleType, root: Path) -> None:
    text = (root / "docs" / "table2.json").read_text()
    record = table2.judge(json.loads(text))
    assert record == json.loads(text)
    assert (root / "docs" / "table2.md").read_text() == table2.markdown(record)


def test_retrieval_against_the_real_video_needs_lips_that_follow_the_audio(table2: ModuleType, root: Path) -> None:
    record = json.loads((root / "docs" / "table2.json").read_text())
    claims = {each["claim"]: each for each in table2.judge(record)["claims"]}
    below = claims["retrieval is slightly below the real video"]
    assert below["verdict"] == "undecided: the lips do not follow the audio"
    claims[table2.OWN_AUDIO]["gain"]["low"] = 0.1
    table2.judge(record)
    assert below["verdict"] == "confirmed"
