"""The paper's figures from a store, by one command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from speech2vid.media import load_photo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DRAWN = (
    "fig07_blur",
    "fig08_mfcc",
    "fig10_registration",
    "fig11_identities",
    "fig12_variants",
    "fig13_poisson_steps",
    "fig16_redubbing",
)


def test_figures_are_drawn_and_the_missing_network_is_named(drawn_store: Callable[..., Path], tmp_path: Path) -> None:
    store, out = drawn_store(tmp_path / "store", 1), tmp_path / "figures"
    command = [sys.executable, str(BENCHMARKS / "figures.py"), "--data", str(store), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
    assert "fig15_redubbing_network is left out: the weights default have no paper_redubber" in result.stderr
    assert sorted(path.stem for path in out.iterdir()) == sorted(DRAWN)
    soft, sharp = np.vsplit(load_photo(out / "fig07_blur.png")[20:], 2)  # below the titles
    assert (
        np.abs(np.diff(soft.astype(float), axis=1)).mean() < 0.9 * np.abs(np.diff(sharp.astype(float), axis=1)).mean()
    )


def test_a_missing_store_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "figures.py"), "--data", str(tmp_path / "none"), "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "none" in result.stderr
