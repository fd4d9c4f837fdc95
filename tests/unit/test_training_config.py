"""What a training is told: presets, files, and what is wrong with them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from speech2vid.errors import ConfigError
from speech2vid.training.config import (
    MouthLandmarksTaskConfig,
    TrainConfig,
    WarpTalkerTaskConfig,
    load_config,
    preset_names,
)
from speech2vid.training.loop import learning_rate


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_read_and_be_stored_as_json(name: str) -> None:
    config = load_config(name)
    for task, settings in config.tasks.items():
        assert type(settings).from_dict(json.loads(json.dumps(settings.to_dict()))) == settings, task


def test_the_presets_the_documents_name_are_there() -> None:
    assert {"default", "paper", "compact-upsample", "toy"} <= set(preset_names())


def test_paper_trains_as_the_paper_says() -> None:
    (paper_talker,) = load_config("paper").tasks.values()
    assert (paper_talker.optimiser, paper_talker.learning_rate, paper_talker.epochs) == ("sgd", 1e-5, 20)
    assert learning_rate(paper_talker, 0, 1000) == learning_rate(paper_talker, 999, 1000) == 1e-5


def test_tasks_keep_their_order_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[audio_to_mouth]\n[warp_talker]\nlearning_rate = 1\n[warp_talker.network]\nwidth = 8\n"
        "[mouth_landmarks]\nwidth = 4\n"
    )
    config = load_config(str(file))
    assert list(config.tasks) == ["mouth_landmarks", "warp_talker", "audio_to_mouth"]
    assert config.warp_talker is not None
    assert config.warp_talker.network.width == 8
    assert type(config.warp_talker.learning_rate) is float


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[warp_talkr]\n", "warp_talker"),
        ("[mouth_landmarks]\n[warp_talker]\nlerning_rate = 1e-3\n", "learning_rate"),
        ("[mouth_landmarks]\n[warp_talker.network]\nwidht = 3\n", "width"),
        ('[mouth_landmarks]\noptimiser = "adam"\n', "adamw"),
        ('[mouth_landmarks]\nsteps = "many"\n', "int"),
        ("[mouth_landmarks]\n[warp_talker]\nnetwork = 3\n", "table"),
        ("[warp_talker]\n", "mouth_landmarks"),
        ("", "at least one table"),
        ("[mouth_landmarks]\nbatch = 8\naccumulate = 3\n", "equal parts"),
        ("[mouth_landmarks]\nbatch = 0\n", "1 or more"),
        ("[mouth_landmarks]\nepochs = 0\n", "above 0"),
        ("[reader\n", "TOML"),
    ],
)
def test_a_wrong_file_says_what_and_names_the_nearest(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(str(file))
    assert says in str(error.value)
    assert "wrong.toml" in str(error.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="compact-upsample"):
        load_config("papper")


def test_warp_talker_trains_without_landmark_network() -> None:
    config = TrainConfig(warp_talker=WarpTalkerTaskConfig(features=0.0, landmarks=0.0))
    assert list(config.tasks) == ["warp_talker"]


def test_the_rate_warms_up_holds_and_falls() -> None:
    config = MouthLandmarksTaskConfig(learning_rate=2.0, warmup=10, decay=0.5)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9:51] == [2.0] * 42
    assert all(later < earlier for earlier, later in pairwise(rates[50:]))
    assert rates[-1] < 0.01
