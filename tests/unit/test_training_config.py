"""Training configuration: presets, files, overrides, and their errors."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from speech2vid.errors import ConfigError
from speech2vid.training.config import TrainConfig, load_config, preset_names
from speech2vid.training.loop import lr_factor
from speech2vid.training.tasks import TASKS
from speech2vid.training.tasks.mouth_landmarks import MouthLandmarksTaskConfig
from speech2vid.training.tasks.warp_talker import WarpTalkerTaskConfig


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_read_and_be_stored_as_json(name: str) -> None:
    config = load_config(name)
    for task, settings in config.tasks.items():
        assert type(settings).from_dict(json.loads(json.dumps(settings.to_dict()))) == settings, task


def test_the_presets_the_documents_name_are_there() -> None:
    assert {"default", "evening", "paper", "paper-recipe", "compact-upsample", "toy"} <= set(preset_names())


def test_paper_trains_as_the_paper_says() -> None:
    identity, talker = load_config("paper").tasks.values()
    assert (talker.optimiser, talker.learning_rate, talker.epochs, talker.reduction) == ("sgd", 1e-5, 20, "sum")
    assert lr_factor(talker, 0, 1000) == lr_factor(talker, 999, 1000) == 1.0
    assert talker.identity_init == "identity"
    assert identity.network.size == talker.network.size == "paper"


def test_tasks_come_in_the_order_of_the_registry(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[audio_to_mouth]\n[warp_talker]\nlearning_rate = 1\n"
        "[warp_talker.network]\nwidth = 8\n[mouth_landmarks]\nwidth = 4\n"
    )
    config = load_config(str(file))
    assert list(config.tasks) == ["mouth_landmarks", "warp_talker", "audio_to_mouth"]
    warp_talker = config.tasks["warp_talker"]
    assert isinstance(warp_talker, WarpTalkerTaskConfig)
    assert warp_talker.network.width == 8
    assert type(warp_talker.learning_rate) is float


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[warp_talkr]\n", "did you mean 'warp_talker'"),
        ("[mouth_landmarks]\n[warp_talker]\nlerning_rate = 1e-3\n", "learning_rate"),
        ("[mouth_landmarks]\n[warp_talker.network]\nwidht = 3\n", "width"),
        ('[mouth_landmarks]\noptimiser = "adam"\n', "adamw"),
        ('[mouth_landmarks]\nsteps = "many"\n', "int"),
        ("[mouth_landmarks]\n[warp_talker]\nnetwork = 3\n", "table"),
        ("[warp_talker]\n", "task warp_talker needs task mouth_landmarks"),
        ('[paper_talker]\nidentity_init = "identity"\n', "add a table [identity]"),
        ('[paper_talker]\naudio_init = "audio_encoder"\n', "add a table [audio_encoder]"),
        ("[paper_talker]\nkeypoints = 1\n", "add a table [mouth_landmarks]"),
        ("sync = 3\n", "make it a table"),
        ("", "at least one table"),
        ("[mouth_landmarks]\nbatch = 8\naccumulate = 3\n", "equal parts"),
        ("[mouth_landmarks]\nbatch = 0\n", "1 or more"),
        ("[mouth_landmarks]\nepochs = 0\n", "above 0"),
        ("[mouth_landmarks\n", "TOML"),
    ],
)
def test_a_wrong_file_says_what_and_names_the_nearest(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(str(file))
    assert says in str(error.value)
    assert "wrong.toml" in str(error.value)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="compact-upsample"):
        load_config("papper")


def test_warp_talker_needs_no_landmark_network_without_its_losses() -> None:
    config = TrainConfig({"warp_talker": WarpTalkerTaskConfig(features=0.0, landmarks=0.0)})
    assert list(config.tasks) == ["warp_talker"]


def test_the_rate_warms_up_holds_and_falls() -> None:
    config = MouthLandmarksTaskConfig(learning_rate=2.0, warmup=10, decay=0.5)
    rates = [lr_factor(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:51] == [1.0] * 42
    assert all(later < earlier for earlier, later in pairwise(rates[50:]))
    assert rates[-1] < 0.01


def test_overrides_are_typed_and_reach_nested_tables() -> None:
    overrides = [
        "warp_talker.steps=2000",
        "warp_talker.l1 = 2",
        "warp_talker.network.width=8",
        "audio_to_mouth.start=a.b",
    ]
    config = load_config("default", "talker", [*overrides, "warp_talker.optimiser=sgd", "warp_talker.batch=4"])
    talker = config.tasks["warp_talker"]
    assert isinstance(talker, WarpTalkerTaskConfig)
    assert (talker.steps, talker.l1, talker.network.width, talker.optimiser, talker.batch) == (2000, 2.0, 8, "sgd", 4)
    assert config.tasks["audio_to_mouth"].start == "a.b"
    assert config.tasks["mouth_landmarks"] == load_config("default").tasks["mouth_landmarks"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("warp_talker.stesp=3", "did you mean 'steps'?"),
        ("warp_talkr.steps=3", "did you mean 'warp_talker'?"),
        ("sync.steps=3", "the config does not train sync"),
        ("warp_talker.steps=many", "give a value of type int"),
        ("warp_talker.optimiser=adam", "did you mean 'adamw'?"),
        ("warp_talker.network.widht=8", "did you mean 'width'?"),
        ("warp_talker.steps.more=8", "steps is no table"),
        ("warp_talker.steps", "TASK.KEY=VALUE"),
        ("steps=3", "TASK.KEY=VALUE"),
        ("warp_talker.=3", "TASK.KEY=VALUE"),
        ("=", "TASK.KEY=VALUE"),
    ],
)
def test_a_wrong_override_says_why(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("default", "talker", ["warp_talker.steps=5", override])
    assert says in str(error.value)


def test_every_batch_is_checked_against_the_number_of_processes() -> None:
    config = load_config("default", "talker", ["audio_to_mouth.batch=6"])
    config.check_processes(2)
    with pytest.raises(ConfigError, match=r"audio_to_mouth.batch = 6 cannot be divided among 4.*--set .*batch=8"):
        config.check_processes(4)
    parts = load_config("default", "talker", ["warp_talker.accumulate=4"])
    with pytest.raises(ConfigError, match=r"warp_talker\.batch = 8 in 4 parts"):
        parts.check_processes(4)


@pytest.mark.parametrize("name", preset_names())
def test_four_processes_can_train_every_preset(name: str) -> None:
    load_config(name).check_processes(4)


def test_task_names_are_those_of_their_classes() -> None:
    assert all(name == task.name for name, task in TASKS.items())
    assert len({task.Config for task in TASKS.values()}) == len(TASKS)
