"""Job files of ``batch``: TOML and CSV give the same jobs, and every mistake names its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from speech2vid.errors import ConfigError
from speech2vid.inference.job_file import BatchJob, read_jobs
from speech2vid.inference.options import RedubOptions, TalkOptions

TOML = """
[defaults]
crf = 20
blend = "network"

[[talk]]
face = ["a.jpg", "b.jpg"]
audio = "a.wav"
outfile = "out/a.mp4"
crop = true

[[redub]]
video = "film.mp4"
audio = "b.wav"
outfile = "out/b.mp4"
crf = 23
face_index = 1
"""
CSV = """face,video,audio,outfile,crf,crop,blend,face_index
a.jpg; b.jpg,,a.wav,out/a.mp4,20,yes,,
,film.mp4,b.wav,out/b.mp4,23,,network,1
"""


def read(folder: Path, text: str, name: str = "jobs.toml") -> list[BatchJob]:
    (folder / name).write_text(text)
    return read_jobs(folder / name)


@pytest.mark.parametrize(("name", "text"), [("jobs.toml", TOML), ("jobs.csv", CSV), ("JOBS.CSV", "\ufeff" + CSV)])
def test_jobs_are_read(name: str, text: str, tmp_path: Path) -> None:
    talk, redub = read(tmp_path, text, name)
    assert (talk.command, talk.inputs) == ("talk", (tmp_path / "a.jpg", tmp_path / "b.jpg"))
    assert (talk.audio, talk.outfile) == (tmp_path / "a.wav", tmp_path / "out/a.mp4")
    assert talk.options == TalkOptions(crf=20, crop=True)
    assert (redub.command, redub.inputs, redub.audio) == ("redub", (tmp_path / "film.mp4",), tmp_path / "b.wav")
    assert redub.options == RedubOptions(crf=23, blend="network", face_index=1)
    assert name in redub.place


def test_paths_among_the_options_are_relative_to_the_file_and_sets_are_not(tmp_path: Path) -> None:
    job = '[[redub]]\nvideo = "v.mp4"\naudio = "a.wav"\noutfile = "o.mp4"\nidentity = "p.jpg"\nweights = '
    (own,) = read(tmp_path, job + '"mine"')
    assert (own.options.weights, own.options.identity) == (str(tmp_path / "mine"), str(tmp_path / "p.jpg"))
    (shipped,) = read(tmp_path, job + '"paper"')
    assert shipped.options.weights == "paper"


JOB = '[[talk]]\nface = "f.jpg"\naudio = "a.wav"\noutfile = "o.mp4"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no jobs"),
        ("talk = 1", "talk is not an array of tables"),
        ("[[sing]]\na = 1", "unexpected entry 'sing'"),
        ("[[talk]", "cannot be read"),
        ('[[talk]]\nface = "f.jpg"\naudio = "a.wav"', "no. 1: outfile is missing"),
        (JOB.replace('"f.jpg"', "[]"), "no. 1: face is missing"),
        (JOB.replace('"f.jpg"', "[1]"), "no. 1: face is invalid"),
        (JOB + 'blend = "network"', "no. 1: talk has no option 'blend'"),
        (JOB + "crf = 99", "no. 1: crf cannot be 99"),
        (JOB + JOB, "no. 2 and .* no. 1 write the same file"),
        (JOB + JOB.replace("o.mp4", "f.jpg"), "no. 1 reads .*f.jpg, which .* no. 2 writes"),
        ("[defaults]\nspeed = 2\n" + JOB, "has no option 'speed'"),
    ],
)
def test_a_mistake_in_toml_names_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "jobs.toml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("face,audio,outfile\n", "has no jobs"),
        ("face,audio,outfile\nf.jpg,a.wav\n", "line 2 has fewer cells"),
        ("face,audio,outfile\nf.jpg,a.wav,o.mp4,1\n", "line 2 has more cells"),
        ("face,audio,outfile,crf\nf.jpg,a.wav,o.mp4,high\n", "line 2: crf cannot be 'high'"),
        ("face,audio,outfile,crop\nf.jpg,a.wav,o.mp4,perhaps\n", "line 2: crop cannot be 'perhaps'"),
        ("command,face,audio,outfile\nsing,f.jpg,a.wav,o.mp4\n", "line 2: unknown command 'sing'"),
        ("face,audio,outfile\n,a.wav,o.mp4\n", "line 2: face is missing"),
    ],
)
def test_a_mistake_in_csv_names_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text, "jobs.csv")


def test_a_missing_job_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_jobs(tmp_path / "none.toml")
