"""The one table of networks: every name in it exists, and network, graphs, task and talker agree."""

from __future__ import annotations

from importlib import metadata

import pytest

from speech2vid.errors import ConfigError
from speech2vid.inference.talkers import Talker, load_talker
from speech2vid.models.config import NetworkConfig
from speech2vid.runtime.registry import ARCHITECTURES, TALKERS, TALKERS_GROUP, talker_class


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_network_graphs_and_task_agree(name: str) -> None:
    each = ARCHITECTURES[name]
    network = each.network_class()
    assert network.architecture == name
    if each.task:
        assert each.task_class().architecture == each.task_class().name == name
    assert issubclass(each.config_class(), NetworkConfig)
    config = {"generation": "audio"} if name == "paper_redubber" else {}
    built = network(each.config_class().from_dict(config)).eval()
    assert tuple(graph.name for graph in built.graphs()) == each.graphs


def test_each_talker_is_one_and_is_served_by_a_network() -> None:
    for name in TALKERS:
        assert issubclass(talker_class(name), Talker)
        assert talker_class(name).name == name
    assert {each.talker for each in ARCHITECTURES.values() if each.talker} == set(TALKERS)


def test_an_entry_point_is_a_name_for_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("mine", TALKERS["paper"], TALKERS_GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == TALKERS_GROUP else [])
    assert talker_class("mine") is talker_class("paper")


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        ("nobody", "there is no generator 'nobody'"),
        ("no_such_module:Talker", "cannot be imported"),
        ("speech2vid.errors:Nobody", "cannot be imported"),
        ("speech2vid.errors:ConfigError", "is not a Talker"),
    ],
)
def test_what_is_no_talker_is_refused(generator: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_talker(generator=generator)
