"""What SOURCE may be: files, folders, globs, manifests; who speaks; which split."""

from __future__ import annotations

from pathlib import Path

import pytest

from speech2vid.data.sources import expand
from speech2vid.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ann/1.mp4", "ann/deep/2.MKV", "ben/3.mov", "4.mp4", "notes.txt", "ann/list.csv"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def test_folder_is_searched_for_videos_and_subfolders_are_speakers(folder: Path) -> None:
    found = {each.name: each.speaker for each in expand([folder])}
    assert found == {"ann/1.mp4": "ann", "ann/deep/2.MKV": "ann", "ben/3.mov": "ben", "4.mp4": ""}


def test_order_and_repetition_of_sources_do_not_matter(folder: Path) -> None:
    files = [folder / "4.mp4", folder / "ann/1.mp4"]
    assert expand(files) == expand([*reversed(files), files[0]])


def test_glob(folder: Path) -> None:
    assert [each.name for each in expand([f"{folder}/*/*.mp4"])] == ["ann/1.mp4"]
    assert [each.name for each in expand([f"{folder}/**/*.m*"])] == ["4.mp4", "ann/1.mp4", "ben/3.mov"]


def test_a_name_with_brackets_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "take [1].mp4").touch()
    assert [each.name for each in expand([tmp_path / "take [1].mp4"])] == ["take [1].mp4"]


def test_a_missing_file_is_kept_to_be_reported(tmp_path: Path) -> None:
    assert [each.name for each in expand([tmp_path / "gone.mp4"])] == ["gone.mp4"]


@pytest.mark.parametrize(("suffix", "comma"), [(".tsv", "\t"), (".csv", ",")])
def test_manifest(folder: Path, suffix: str, comma: str) -> None:
    manifest = folder / f"list{suffix}"
    lines = [("speaker", "path", "split", "fps"), ("A", "ann/1.mp4", "train", "25"), ("B", "4.mp4", "val-seen", "30")]
    manifest.write_text("".join(comma.join(line) + "\n" for line in lines))
    second, first = expand([manifest])
    assert (first.path, first.name, first.speaker, first.split) == (folder / "ann/1.mp4", "ann/1.mp4", "A", "train")
    assert (second.name, second.split) == ("4.mp4", "val-seen")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.mp4\n", "no column 'path'"),
        ("path\tspeaker\na.mp4\t\n", "line 2: 'speaker' is empty"),
        ("path\tsplit\na.mp4\t../x\n", "line 2: invalid split"),
        ("path\n", "no video was found"),
    ],
)
def test_bad_manifest_says_where(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(DataError, match=said):
        expand([tmp_path / "list.tsv"])


def test_nothing_found_names_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no video was found in .*empty"):
        expand([tmp_path / "empty"])


def test_split_by_speaker_holds_out_a_tenth_always_the_same(tmp_path: Path) -> None:
    rows = [f"{clip}.mp4\tspeaker {clip % 40}" for clip in range(120)]
    (tmp_path / "list.tsv").write_text("path\tspeaker\n" + "\n".join(rows))
    found = expand([tmp_path / "list.tsv"])
    by_split = {split: {each.speaker for each in found if each.split == split} for split in ("train", "val")}
    assert (len(by_split["train"]), len(by_split["val"])) == (36, 4)
    assert not by_split["train"] & by_split["val"]
    (tmp_path / "list.tsv").write_text("path\tspeaker\n" + "\n".join(reversed(rows)))
    assert expand([tmp_path / "list.tsv"]) == found


def test_one_speaker_is_for_training(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/a.mp4").touch()
    assert [each.split for each in expand([tmp_path])] == ["train"]


@pytest.mark.parametrize(
    ("name", "speaker", "split"),
    [
        ("mvlrs_v1/main/5535415699068794046/00001.mp4", "5535415699068794046", "train"),
        ("mvlrs_v1/main/5535496873950688380/00003.mp4", "5535496873950688380", "test"),
        ("lrs3/trainval/0Fi83BHQsMA/50001.mp4", "0Fi83BHQsMA", "train"),
        ("lrs3/test/0Fi83BHQsMA/00001.mp4", "0Fi83BHQsMA", "test"),
        ("vox2/dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "id00012", "train"),
        ("vox2/test/mp4/id00017/01dfn2spqyE/00001.mp4", "id00017", "test"),
        ("grid/s1/video/mpg_6000/bbaf2n.mpg", "s1", "train"),
        ("grid/s22/lwwy9s.mpg", "s22", "train"),
    ],
)
def test_known_collections_say_who_speaks(tmp_path: Path, name: str, speaker: str, split: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.touch()
    if "mvlrs" in name:
        (tmp_path / "mvlrs_v1/test.txt").write_text("5535496873950688380/00003 NF\n")
        (tmp_path / "mvlrs_v1/val.txt").write_text("5535423430009926848/00001\n")
    for source in (tmp_path, path.parent, path):
        (found,) = expand([source])
        assert (found.speaker, found.split) == (speaker, split)
