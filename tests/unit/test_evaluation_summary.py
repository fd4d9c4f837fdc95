"""Values of clips → figures: each over the clips that have it, never over what is not a number."""

from __future__ import annotations

import json

import numpy as np
import pytest

from speech2vid.evaluation.metrics import Scores
from speech2vid.evaluation.report import clip_table, markdown
from speech2vid.evaluation.summary import ClipScores, row_of, split_row, summarise, tabulate


def values(**more: float) -> dict[str, float]:
    own = {"mse": 4.0, "mouth_error": 8.0, "sharpness": 1.0, "target_sharpness": 2.0}
    return own | {"jitter_px": 0.0, "target_jitter_px": 0.0} | more


def clip(key: str, **rows: dict[str, float]) -> ClipScores:
    scores = {row: Scores(each, np.linspace(0, 1, 21)) for row, each in rows.items()}
    return ClipScores(key, key[0], 30, key, scores, {})


def test_each_metric_counts_the_clips_that_have_it() -> None:
    table = summarise([("a", values(mse=2.0)), ("a", values(mse=4.0, retrieval_accuracy=0.5)), ("b", values(mse=6.0))])
    assert (table["mse"].value, table["mse"].clips, table["mse"].speakers) == (4.0, 3, 2)
    assert table["mse"].low <= 4.0 <= table["mse"].high
    assert (table["retrieval_accuracy"].value, table["retrieval_accuracy"].clips) == (0.5, 1)
    assert table["sharpness_ratio"].value == 0.5
    assert "ssim" not in table  # no clip has it
    assert "jitter_ratio" not in table  # nothing moves: there is no ratio


def test_windows_are_pooled_and_clips_averaged() -> None:
    short = values(retrieval_accuracy=1.0, retrieval_correct=2.0, retrieval_windows=2.0)
    long = values(retrieval_accuracy=0.5, retrieval_correct=9.0, retrieval_windows=18.0)
    table = summarise([("a", short), ("b", long)])
    assert table["retrieval_accuracy"].value == 0.75
    assert table["retrieval_accuracy_windows"].value == pytest.approx(11 / 20)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="ssim"):
        summarise([("a", values(ssim=0.5)), ("b", values(ssim=bad))])


def test_gains_are_against_the_same_weights_other_audio() -> None:
    rows = {
        "truth": values(mouth_error=0.0),
        row_of("generated", "x", False): values(mouth_error=9.0),
        row_of("generated", "y", False): values(mouth_error=6.0),
        row_of("other_audio", "x", False): values(mouth_error=10.0),
        row_of("other_audio", "y", False): values(mouth_error=8.0),
        "best_still": values(mouth_error=12.0),
    }
    table = tabulate([clip("a1", **rows), clip("b1", **rows)]).rows
    assert table["generated: x"]["gain_over_other_audio"].value == pytest.approx(0.1)
    assert table["generated: y"]["gain_over_other_audio"].value == pytest.approx(0.25)
    assert table["generated: y"]["gain_over_best_still"].value == pytest.approx(0.5)
    assert "gain_over_best_still" not in table["truth"]


def test_rows_of_one_generator_have_no_name() -> None:
    assert split_row(row_of("generated", "warp", True)) == ("generated", "")
    assert split_row(row_of("generated", "a, sharpened", False)) == ("generated", "a, sharpened")


def test_scores_survive_being_written_down() -> None:
    before = clip("a1", truth=values(mse=1 / 3))
    after = ClipScores.from_dict(json.loads(json.dumps(before.to_dict())))
    assert after.rows["truth"].values == before.rows["truth"].values
    np.testing.assert_array_equal(after.rows["truth"].lag_curve, before.rows["truth"].lag_curve)
    assert tabulate([after]).to_dict() == tabulate([before]).to_dict()


def test_tables_name_what_few_clips_have() -> None:
    clips = [clip("a1", truth=values(retrieval_accuracy=1.0)), clip("b1", truth=values())]
    text = markdown({"clips": 2, "too_short_for_sync": ["b1"]}, {"one_still": tabulate(clips)})
    assert "too short for sync: b1" in text
    assert "100.0 % [100.0, 100.0] (100.0) n=1" in text
    lines = clip_table({"one_still": clips}).splitlines()
    assert lines[0].split("\t")[-1] == "retrieval_accuracy"
    assert lines[2].split("\t")[-1] == ""  # not 0, not nan
