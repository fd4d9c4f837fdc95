"""The page on adding a metric, followed literally, and what ``--metric`` says about metrics that do not work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program
from speech2vid.data.records import Track
from speech2vid.errors import ConfigError
from speech2vid.evaluation import Metric
from speech2vid.evaluation.metric_records import load_metrics, metric_hashes
from speech2vid.evaluation.metrics import Scores
from speech2vid.evaluation.report import clip_table, markdown
from speech2vid.evaluation.report_page import page as report_page
from speech2vid.evaluation.summary import ClipScores, tabulate

BROKEN = """
from speech2vid.evaluation import Metric
def plain(generated, target, audio): return 1.0
NO_FUNCTION = Metric("a")
TAKEN = Metric("mse", measure=plain)
COLUMN = Metric("speaker", measure=plain)
TWICE = Metric("twice", measure=plain)
TWICE_TOO = Metric("twice", measure=plain)
"""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "how-to" / "add-a-metric.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds the page's module, and one of metrics that are refused; Python finds both."""
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    folder = tmp_path_factory.mktemp("own")
    (folder / "motion_metric.py").write_text(code, encoding="utf-8")
    (folder / "broken_metric.py").write_text(BROKEN, encoding="utf-8")
    (folder / "unreadable_metric.py").write_text("1 +", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="module")
def name(page: str, folder: Path) -> str:
    """The metric by the name that the page's commands give."""
    names = set(re.findall(r"--metric (\S+:\S+)", page))
    assert names == {"motion_metric:MOTION_ERROR"}
    return names.pop()


@pytest.fixture
def track(drawn_tracks: Callable[..., list[Track]]) -> Track:
    return drawn_tracks(1, tracks=1)[0]


def test_the_metric_of_the_page_measures_motion(name: str, track: Track) -> None:
    (metric,) = load_metrics([name])
    assert metric.heading == "motion error (0–255) ↓"
    assert metric.value_of(track.frames, track) == 0.0
    brighter = np.minimum(track.frames, 245) + np.arange(len(track), dtype=np.uint8).clip(0, 10)[:, None, None, None]
    assert metric.value_of(brighter, track) > 0


def test_an_entry_point_gives_a_metric_a_short_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("motion", name, "speech2vid.metrics")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == "speech2vid.metrics" else [])
    assert load_metrics(["motion"]) == load_metrics([name])
    with pytest.raises(ConfigError, match=r"there is no metric 'moton' .choose from: motion; or give module:name"):
        load_metrics(["moton"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nowhere:METRIC"], "the metric 'nowhere:METRIC' cannot be imported: No module named 'nowhere'"),
        (["broken_metric:NOTHING"], "cannot be imported: .* no attribute 'NOTHING'"),
        (["unreadable_metric:METRIC"], "cannot be imported: invalid syntax"),
        (["motion"], "there is no metric 'motion' .give module:name"),
        (["broken_metric:plain"], "is a value of type function, not a speech2vid.evaluation.Metric .*add-a-metric"),
        (["broken_metric:Metric"], "is a class Metric, not a"),
        (["broken_metric:NO_FUNCTION"], "has no function"),
        (["broken_metric:TAKEN"], "the name 'mse' of the metric 'broken_metric:TAKEN' is taken"),
        (["broken_metric:COLUMN"], "the name 'speaker' .* is taken"),
        (["broken_metric:TWICE", "broken_metric:TWICE_TOO"], "the name 'twice' .* is taken"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_metric_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_metrics(names)


@pytest.mark.parametrize(("field", "value"), [("name", "My Metric"), ("name", 3), ("better", "up")])
def test_invalid_fields_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(value))):
        replace(Metric("a"), **{field: value})  # type: ignore[arg-type]


def failing(*_: object) -> float:
    raise KeyError("lips")


def writing(generated: np.ndarray, *_: object) -> float:
    generated[:] = 0
    return 0.0


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (failing, "raised KeyError: 'lips'"),
        (writing, "raised ValueError: .*read-only"),
        (lambda *_: float("nan"), "returned nan"),
        (lambda *_: np.float32("inf"), "returned inf"),
        (lambda *_: np.zeros(3), "returned a value of type ndarray instead of a number"),
        (lambda *_: "0.5", "returned a value of type str instead of a number"),
    ],
)
def test_a_metric_that_fails_is_named_with_the_clip(measure: Callable[..., float], message: str, track: Track) -> None:
    with pytest.raises(ConfigError, match=f"the metric 'own', on the clip {track.record.key}, {message}"):
        Metric("own", measure=measure).value_of(track.frames, track)


def test_a_clip_without_a_value_is_left_out_of_the_metric_alone() -> None:
    metric = Metric("own", "own title", "s", share=True, measure=lambda *_: None)

    def clip(key: str, **own: float) -> ClipScores:
        values = {"mse": 4.0, "mouth_error": 8.0, **own}
        return ClipScores(key, key[0], 30, key, {"truth": Scores(values, np.zeros(21))}, {})

    clips = [clip("a1", own=0.25), clip("a2"), clip("b1", own=0.75)]
    summary = tabulate(clips, [metric])
    own = summary.rows["truth"]["own"]
    assert (own.value, own.clips, own.speakers) == (0.5, 2, 2)
    assert 0.25 <= own.low <= own.high <= 0.75
    settings = {"clips": 3}
    for text in (markdown(settings, {"one_still": summary}), report_page(settings, {"one_still": summary})):
        assert "own title (s)" in text
        assert "50.0 % [25.0, 75.0] (50.0) n=2" in text
    head, first, second, _ = (line.split("\t") for line in clip_table({"one_still": clips}).splitlines())
    assert (first[head.index("own")], second[head.index("own")]) == ("0.2500", "")


def test_a_metric_is_known_by_the_content_of_its_file(name: str, folder: Path) -> None:
    before = metric_hashes([name])
    assert before.keys() == {name}
    file = folder / "motion_metric.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "# changed\n", encoding="utf-8")
    assert metric_hashes([name]) != before  # a stopped run is not continued with it
    file.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_it_is_in_every_file_of_the_report(name: str, drawn_store: Callable[..., Path], tmp_path: Path) -> None:
    store, out = drawn_store(tmp_path / "store", clips=1), tmp_path / "out"
    words = ["evaluate", "--data", store, "--out", out, "--stills", "1", "--metric", name, "--jobs", "2", "--json"]
    result = CliRunner().invoke(program, list(map(str, words)))
    assert result.exit_code == 0, result.output
    record = json.loads((out / "metrics.json").read_text())
    assert record["settings"]["own_metrics"] == [name]
    rows = record["metrics"]["one_still"]
    assert rows["truth"]["motion_error"]["value"] == 0.0
    generated = rows["generated"]["motion_error"]
    assert 0 < generated["low"] <= generated["value"] <= generated["high"]
    assert generated["clips"] == 2
    for file in ("table.md", "report.html"):
        assert "motion error (0–255) ↓" in (out / file).read_text(encoding="utf-8")
    head, *lines = (line.split("\t") for line in (out / "clips.tsv").read_text().splitlines())
    values = {line[head.index("row")]: float(line[head.index("motion_error")]) for line in lines}
    assert values["truth"] == 0.0
    assert values["best_still"] > 0
