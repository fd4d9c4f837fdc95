"""``evaluate``: the figures are right on clips whose truth is known, wrong audio is seen, and the report is whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speech2vid.audio.windows import frame_count
from speech2vid.constants import SAMPLES_PER_FRAME
from speech2vid.data.records import Track
from speech2vid.data.store import SampleStore
from speech2vid.errors import ConfigError, DataError, OutputError, WeightsError
from speech2vid.evaluation import Evaluation, evaluate, evaluate_tracks
from speech2vid.evaluation.generation import Generator, TalkerSpeaker
from speech2vid.evaluation.metrics import Scorers, Truth, embed_still
from speech2vid.evaluation.mouth_metrics import best_lag, measure_landmarks
from speech2vid.evaluation.perceptual import PerceptualMetric
from speech2vid.evaluation.runner import Runner, stills_for
from speech2vid.evaluation.scoring import score_speaker
from speech2vid.faces import PAPER, Still, align, box_of_landmarks, landmarks
from speech2vid.inference.talkers.base import load_talker
from speech2vid.inference.talkers.warp import WarpNetworks
from speech2vid.media import load_audio, load_photo
from speech2vid.types import Waveform

FRAMES = 30
FILES = {"metrics.json", "table.md", "clips.tsv", "report.html"}


@pytest.fixture(scope="module", autouse=True)
def one_box() -> Iterator[None]:
    """Landmarks of one box a frame instead of five, in this process: a fifth of the time, and no test minds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmarks, "STEADY_SHIFTS", landmarks.STEADY_SHIFTS[:1])
        yield


@pytest.fixture(scope="module")
def networks(drawn_weights: Path) -> WarpNetworks:
    return load_talker(drawn_weights, threads=1)


@pytest.fixture(scope="module")
def tracks(drawn_tracks, networks: WarpNetworks, photo: Path, speech: Path) -> list[Track]:
    """Two people, two clips each: the demo's photo and its mirror image, with mouths that follow the weights' rule."""
    (template,) = drawn_tracks(1, 1, frames=FRAMES)
    audio = load_audio(speech)
    assert frame_count(len(audio)) > 5 * FRAMES
    generated = []
    for person, image in (("ann", load_photo(photo)), ("bea", load_photo(photo)[:, ::-1].copy())):
        face = align(image, PAPER.find(image)[0].landmarks)
        still = Still(face.image, replace(face, transform=np.eye(2, 3)), 0.0, 0.0)
        speaker = TalkerSpeaker([still], networks)
        for number in range(2):
            key = f"{person}-{number}"
            start = (20 + FRAMES * len(generated)) * SAMPLES_PER_FRAME
            own = audio[start : start + FRAMES * SAMPLES_PER_FRAME]
            record = replace(template.record, key=key, speaker=person, split="val", frames=FRAMES)
            track = replace(template, record=record, audio=_int16(own))
            frames = speaker.says(track)
            landmarks = measure_landmarks(frames, box_of_landmarks(face.landmarks))
            generated.append(replace(track, frames=frames, landmarks=landmarks, source_landmarks=landmarks))
    return generated


@pytest.fixture(scope="module")
def runner(networks: WarpNetworks) -> Runner:
    judge = PerceptualMetric.where_possible()
    assert judge is not None
    return Runner((Generator(networks),), Scorers(embed=judge.embed))  # fast; the clips are too short for sync


@pytest.fixture(scope="module")
def evaluation(tracks: list[Track], runner: Runner) -> Evaluation:
    return evaluate_tracks(tracks, runner, figures=False)


def _int16(wave: Waveform) -> np.ndarray:
    return np.rint(wave * 32767).astype(np.int16)


@pytest.mark.parametrize("column", ["five_stills", "one_still"])
def test_the_true_audio_is_told_from_another_and_from_a_still(evaluation: Evaluation, column: str) -> None:
    rows = evaluation.summaries[column].rows
    assert rows["generated"]["opening_correlation"].value > 0.8
    assert rows["target_motion"]["opening_correlation"].value > 0.8
    assert rows["other_audio"]["opening_correlation"].value < 0.5
    assert rows["best_still"]["opening_correlation"].value == 0.0
    assert rows["best_still"]["opening_std_ratio"].value == pytest.approx(0.0, abs=1e-6)
    assert 0.6 < rows["generated"]["opening_std_ratio"].value < 1.4
    assert rows["generated"]["gain_over_other_audio"].value > 0.05
    assert rows["generated"]["mouth_error"].value < rows["other_audio"]["mouth_error"].value
    assert evaluation.summaries[column].best_lag_frames("generated") == 0


def test_five_stills_have_their_mean_and_first_beside_them(evaluation: Evaluation) -> None:
    rows = evaluation.summaries["five_stills"].rows
    assert rows["mean_still"]["sharpness_ratio"].value < rows["best_still"]["sharpness_ratio"].value
    assert rows["best_still"]["mouth_error"].value <= rows["first_still"]["mouth_error"].value
    assert not {"mean_still", "first_still"} & evaluation.summaries["one_still"].rows.keys()


def test_the_truth_is_without_error_and_as_sharp_as_itself(evaluation: Evaluation) -> None:
    truth = evaluation.summaries["one_still"].rows["truth"]
    assert truth["mouth_error"].value == truth["mse"].value == truth["lmd_mouth_px"].value == 0.0
    assert truth["opening_correlation"].value > 0.9
    for name in ("opening_std_ratio", "sharpness_ratio", "jitter_ratio"):
        assert truth[name].value == 1.0


def test_generated_faces_are_the_person_of_the_photo(evaluation: Evaluation) -> None:
    for summary in evaluation.summaries.values():
        assert summary.rows["generated"]["identity_distance"].value < 0.35


def test_a_silent_audio_gives_a_mouth_that_rests(evaluation: Evaluation) -> None:
    for summary in evaluation.summaries.values():
        assert summary.silence["silence"]["movement_ratio"].value < 0.1


def test_audio_that_is_three_frames_early_is_seen(tracks: list[Track], runner: Runner) -> None:
    early = replace(tracks[0], audio=np.roll(tracks[0].audio, -3 * SAMPLES_PER_FRAME))
    truth, other = (Truth.of(track, runner.scorers) for track in (early, tracks[2]))
    stills = stills_for(early, "one_still", seed=0)
    speaker, photo = runner.generators[0].speaker(stills), embed_still(stills[0], runner.scorers.embed)
    rows = score_speaker(speaker, truth, other, runner.scorers, photo)
    assert best_lag(rows["generated"].lag_curve) == -3
    assert rows["generated"].values["opening_correlation"] < 0.6
    assert best_lag(rows["target_motion"].lag_curve) == 0


def test_the_report_is_whole(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path / "a" / "b")
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == FILES
    texts = {name: (tmp_path / "a" / "b" / name).read_text() for name in FILES}
    record = json.loads(texts["metrics.json"])
    assert record["metrics"]["five_stills"]["generated"]["opening_correlation"]["clips"] == 4
    assert len(record["metrics"]["one_still"]["generated"]["lag_curve"]) == 21
    assert record["settings"]["clips"] == 4
    assert len(texts["clips.tsv"].splitlines()) == 1 + 4 * (8 + 6)
    assert "| lip opening: correlation ↑ |" in texts["table.md"]


@pytest.fixture(scope="module")
def store(drawn_store: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_store(tmp_path_factory.mktemp("evaluated") / "store", clips=1)


@pytest.fixture(scope="module")
def compared(
    speech2vid: Callable[..., Any],
    store: Path,
    drawn_weights: Path,
    paper_weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], Path]:
    """Two sets of weights side by side, in two processes: what was printed, and the folder of the report."""
    out = tmp_path_factory.mktemp("compared") / "out"
    options = (
        "--weights",
        drawn_weights,
        "--weights",
        paper_weights / "talker",
        "--stills",
        "1",
        "--jobs",
        "2",
        "--json",
    )
    result = speech2vid("evaluate", "--data", store, "--out", out, *options, timeout_s=600)
    assert result.returncode == 0, result.stderr
    assert "2 of 2 clips are too short for retrieval" in result.stderr
    return json.loads(result.stdout), out


def test_command_line(compared: tuple[dict[str, Any], Path], drawn_weights: Path) -> None:
    record, out = compared
    assert set(record["metrics"]) == {"one_still"}
    assert record["settings"]["clips"] == 2
    assert json.loads((out / "metrics.json").read_text())["metrics"] == record["metrics"]
    assert record["report"] == str(out / "report.html")
    assert {path.name for path in out.iterdir()} == FILES


def test_the_page_needs_no_other_file(compared: tuple[dict[str, Any], Path]) -> None:
    text = (compared[1] / "report.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 2 + 1 + 2  # clips, grid, clips re-dubbed
    assert text.count("data:video/mp4;base64,") == 2 + 2
    assert "<svg" in text
    assert "http" not in text


def test_several_weights_have_rows_of_their_own(compared: tuple[dict[str, Any], Path], drawn_weights: Path) -> None:
    record, _ = compared
    rows = record["metrics"]["one_still"]
    ours, paper = drawn_weights.name, "talker"
    assert record["settings"]["generators"] == [ours, paper]
    assert {f"generated: {ours}", f"generated: {paper}", f"target_motion: {ours}", f"other_audio: {paper}"} <= set(rows)
    assert f"target_motion: {paper}" not in rows  # the paper's talker has no mouth shapes
    assert rows[f"generated: {paper}"]["mse"]["value"] > rows[f"generated: {ours}"]["mse"]["value"]  # it is not trained
    assert rows["truth"]["mse"]["value"] == 0.0
    assert rows["chance"]["mse"]["value"] > rows["best_still"]["mse"]["value"]
    assert {f"silence: {ours}", f"silence: {paper}"} <= set(rows)


def test_clips_are_re_dubbed_by_every_method(compared: tuple[dict[str, Any], Path], drawn_weights: Path) -> None:
    section = (compared[1] / "report.html").read_text().partition("<h2>Re-dubbing</h2>")[2]
    assert section.count("<p>") == 2
    assert f"Made with {drawn_weights.name}." in section
    assert "not shown" not in section  # these weights have no blending network: that of the default set runs
    assert "speaker3-0 with the audio of speaker4-0" in section
    assert "speaker4-0 with the audio of speaker3-0" in section


def test_clips_too_short_for_sync_are_named_and_left_out(compared: tuple[dict[str, Any], Path]) -> None:
    record, _ = compared
    assert sorted(record["settings"]["too_short_for_sync"]) == ["speaker3-0", "speaker4-0"]
    assert "retrieval_accuracy" not in record["metrics"]["one_still"]["truth"]
    assert record["metrics"]["one_still"]["retrieval_chance"] == pytest.approx(3 / 31)


def test_a_run_that_is_stopped_leaves_no_report_and_carries_on(
    store: Path, drawn_weights: Path, runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["speech2vid.evaluation.evaluate"]
    monkeypatch.setattr(module, "open_runner", lambda choice: runner)
    monkeypatch.setattr(module, "EXAMPLES", 0)  # images are not the point
    out, steps = tmp_path / "out", []

    def stop(done: int, total: int | None) -> None:
        steps.append(done)
        if done == 2 + 1:  # the truths of two clips, and the scores of one
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(store, out, weights=drawn_weights, stills="1", progress=stop)
    assert [path.name for path in out.iterdir()] == [".unfinished.jsonl"]
    with (out / ".unfinished.jsonl").open("a") as file:
        file.write('{"key": "speaker4-0", "colu')  # it was killed while it wrote
    steps.clear()
    whole = evaluate(store, out, weights=drawn_weights, stills="1", progress=lambda done, _: steps.append(done))
    assert steps[0] == 1  # carried on after one
    assert {path.name for path in out.iterdir()} == FILES
    unbroken = evaluate_tracks(SampleStore(store).load("val"), runner, columns=["one_still"], figures=False)
    assert whole.to_dict()["metrics"] == unbroken.to_dict()["metrics"]


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"split": "test"}, DataError, "test"),
        ({"data": "missing"}, DataError, "missing"),
        ({"weights": "missing"}, WeightsError, "missing"),
        ({"stills": "3"}, ConfigError, "3"),
    ],
)
def test_bad_input_has_a_reason_and_writes_nothing(
    store: Path, drawn_weights: Path, tmp_path: Path, change: dict[str, str], error: type[Exception], reason: str
) -> None:
    settings = {"data": store, "weights": drawn_weights, "stills": "1"} | change
    with pytest.raises(error, match=reason):
        evaluate(settings.pop("data"), tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_has_a_reason(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        evaluation.write(tmp_path / "file")
