"""Options as records: the same values are refused in Python and on the command line, and flags follow from fields."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from speech2vid import RedubOptions, TalkOptions, redub, talk
from speech2vid.cli.program import program
from speech2vid.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (TalkOptions, {"crf": 52}, "crf cannot be 52"),
        (TalkOptions, {"crf": -1}, "crf cannot be -1"),
        (TalkOptions, {"crf": True}, "crf cannot be True"),
        (TalkOptions, {"crf": "18"}, "crf cannot be '18'"),
        (TalkOptions, {"silence": "loud"}, "silence cannot be 'loud'"),
        (TalkOptions, {"max_size_px": 10}, "max_size_px cannot be 10"),
        (TalkOptions, {"face_index": -1}, "face_index cannot be -1"),
        (TalkOptions, {"crop": 1}, "crop cannot be 1"),
        (TalkOptions, {"weights": 3}, "weights cannot be 3"),
        (RedubOptions, {"blend": "glue"}, "blend cannot be 'glue'"),
        (RedubOptions, {"region": "upper"}, "region cannot be 'upper'"),
        (RedubOptions, {"length": "long"}, "length cannot be 'long'"),
        (RedubOptions, {"sharpen_area": "eyes"}, "sharpen_area cannot be 'eyes'"),
        (TalkOptions, {"silense": "hold"}, "there is no option 'silense'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(kind: type, settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        kind.of(None, settings)


def test_keywords_go_before_the_record() -> None:
    options = TalkOptions.of(TalkOptions(crf=30, crop=True), {"crf": 20, "weights": Path("w")})
    assert (options.crf, options.crop, options.weights) == (20, True, Path("w"))
    with pytest.raises(FrozenInstanceError):
        options.crf = 3  # type: ignore[misc]


def test_python_refuses_before_it_reads_anything(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="crf cannot be 99"):
        talk(tmp_path / "no.jpg", tmp_path / "no.wav", tmp_path / "a.mp4", crf=99)
    with pytest.raises(ConfigError, match="did you mean 'region'"):
        redub(tmp_path / "no.mp4", tmp_path / "no.wav", tmp_path / "a.mp4", regoin="face")


@pytest.mark.parametrize(("command", "kind"), [("talk", TalkOptions), ("redub", RedubOptions)])
def test_each_option_is_a_flag_with_its_help(command: str, kind: type) -> None:
    shown = CliRunner().invoke(program, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    for each in fields(kind):
        flag = each.metadata["flag"]
        if flag.name != "":
            assert (flag.name or "--" + each.name.replace("_", "-")) in shown
            assert flag.help.split(":")[0].split(".")[0][:20] in shown
