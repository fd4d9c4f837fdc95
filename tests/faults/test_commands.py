"""Every command with every kind of wrong input: one reason, one hint, exit code 1, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from speech2vid.media import VideoWriter

pytestmark = pytest.mark.usefixtures("clean_temp")
BEFORE = b"an older file"


def truncated(good: bytes) -> bytes:
    return good[: len(good) // 50]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, samples, photo, face_clip) -> dict[str, Path]:
    """One of each kind of wrong file, by what is wrong."""
    folder = tmp_path_factory.mktemp("inputs")
    content = {
        "zero bytes.mp4": b"",
        "truncated.mp4": truncated(samples["mp4"]),
        "text.mp4": b"not a video\n" * 100,
        "audio only.mp4": samples["ipod"],
        "picture.jpg": samples["jpg"],
        "wrong suffix.wav": samples["png"],
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
        "noise.mp4": np.random.default_rng(0).bytes(20_000),
        "huge box.mp4": struct.pack(">I4s", 1, b"ftyp") + b"\xff" * 100,
    }
    for name, blob in content.items():
        (folder / name).write_bytes(blob)
    (folder / "folder.mp4").mkdir()
    (folder / "dangling.mp4").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.mp4")
    with VideoWriter(folder / "no face.mp4", 96, 64, audio_source=_wav(folder, samples)) as writer:
        for _ in range(12):
            writer.write(np.full((64, 96, 3), 90, np.uint8))
    face_clip(folder / "no audio.mp4", frames=8, audio=None)
    paths = {path.name.split(".")[0]: path for path in folder.iterdir() if path.name != "a.wav"}
    return {**paths, "missing": folder / "missing.mp4", "device": Path("/dev/zero")}


def _wav(folder: Path, samples: dict[str, bytes]) -> Path:
    (folder / "a.wav").write_bytes(samples["wav"])
    return folder / "a.wav"


NO_MEDIA = (
    "zero bytes", "truncated", "text", "wrong suffix", "list", "noise", "huge box", "folder", "dangling", "pipe",
    "missing", "device",
)  # fmt: skip
KINDS = (*NO_MEDIA, "audio only", "picture", "no face", "no audio")
BAD_FACES = tuple(kind for kind in KINDS if kind not in ("picture", "no audio"))
BAD_AUDIO_FILES = (*NO_MEDIA, "picture", "no audio")


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A folder with an older output, which must be all that is in it afterwards."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(BEFORE)
    yield folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.mp4": BEFORE}


@pytest.mark.parametrize("kind", BAD_FACES)
def test_talk_face(kind: str, inputs, second, out, run) -> None:
    run("talk", "--face", inputs[kind], "--audio", second, "--outfile", out / "a.mp4")


@pytest.mark.parametrize("kind", BAD_AUDIO_FILES)
def test_talk_audio(kind: str, inputs, photo, out, run) -> None:
    run("talk", "--face", photo, "--audio", inputs[kind], "--outfile", out / "a.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no audio"])
def test_redub_video(kind: str, inputs, second, out, run) -> None:
    run("redub", "--no-cache", "--video", inputs[kind], "--audio", second, "--outfile", out / "a.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD_AUDIO_FILES)
def test_redub_audio(kind: str, inputs, out, run) -> None:
    words = ["--video", inputs["no audio"], "--audio", inputs[kind], "--outfile", out / "a.mp4"]
    run("redub", "--no-cache", *words)


@pytest.mark.parametrize("kind", KINDS)
def test_sync_and_its_fix(kind: str, inputs, out, run) -> None:
    run("sync", inputs[kind], "--fix", out / "a.mp4")


@pytest.mark.parametrize("kind", KINDS)
def test_verify(kind: str, inputs, run) -> None:
    marked = kind in ("no face", "no audio")  # written by our own writer
    run("verify", inputs[kind], code=0 if marked else 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_prepare_of_one(kind: str, inputs, tmp_path: Path, run) -> None:
    """A store without tracks is no success, and its report says why."""
    run("prepare", inputs[kind], "--out", tmp_path / "store")
    if kind == "folder":  # nothing in it: there is nothing to report
        assert not (tmp_path / "store").exists()
    else:
        assert inputs[kind].name in (tmp_path / "store" / "report.html").read_text()


@pytest.mark.slow
def test_prepare_of_all_names_each(inputs, tmp_path: Path, run) -> None:
    files = [path for kind, path in inputs.items() if kind in ("zero bytes", "truncated", "text", "noise", "no face")]
    result = run("prepare", *files, "--out", tmp_path / "store", "--json")
    assert '"tracks_kept": 0' in result.stdout
    assert not [path for path in (tmp_path / "store").rglob(".*") if path.is_file() and path.suffix == ".tar"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "missing", "text", "device", "zero bytes"])
@pytest.mark.parametrize("command", ["validate", "evaluate", "train"])
def test_what_is_no_store(command: str, kind: str, inputs, tmp_path: Path, run) -> None:
    pytest.importorskip("torch")
    path = inputs[kind]
    words = {
        "validate": ["validate", path],
        "evaluate": ["evaluate", "--data", path, "--out", tmp_path / "new"],
        "train": ["train", "talker", "--data", path, "--out", tmp_path / "new", "--config", "toy"],
    }
    run(*words[command])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "missing", "device", "folder", "zero bytes"])
def test_weights_that_are_none(kind: str, inputs, photo, second, out, tmp_path: Path, run) -> None:
    run("talk", "--face", photo, "--audio", second, "--outfile", out / "a.mp4", "--weights", inputs[kind])
    run("sync", inputs["no face"], "--weights", inputs[kind])
    words = ["--video", inputs["no audio"], "--audio", second, "--outfile", out / "a.mp4"]
    run("redub", "--no-cache", *words, "--weights", inputs[kind])
    pytest.importorskip("torch")
    run("export", "--out", tmp_path / "exported", "--weights", inputs[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "missing", "device", "folder", "zero bytes", "image"])
def test_configs_that_are_none(kind: str, inputs, drawn_store, tmp_path: Path, run) -> None:
    pytest.importorskip("torch")
    store = drawn_store(tmp_path / "store")
    run("train", "talker", "--data", store, "--out", tmp_path / "new", "--config", inputs[kind])
    assert not list((tmp_path / "new").rglob("*.safetensors"))


OUTFILES: dict[str, Callable[[Path], Path]] = {
    "unknown suffix": lambda out: out / "a.xyz",
    "no suffix": lambda out: out / "a",
    "a folder": lambda out: out,
    "in a missing folder": lambda out: out / "missing" / "a.mp4",
    "in a file": lambda out: out / "a.mp4" / "b.mp4",
    "a device": lambda out: Path("/dev/full.mp4") if os.geteuid() else Path("/proc/a.mp4"),
    "too long": lambda out: out / ("x" * 300 + ".mp4"),
}


@pytest.mark.slow
@pytest.mark.parametrize("where", OUTFILES)
@pytest.mark.parametrize("command", ["talk", "redub", "demo"])
def test_outputs_that_cannot_be(command: str, where: str, inputs, photo, second, out, run) -> None:
    outfile = OUTFILES[where](out)
    words = {
        "talk": ["talk", "--face", photo, "--audio", second, "--outfile", outfile],
        "redub": ["redub", "--no-cache", "--video", inputs["no audio"], "--audio", second, "--outfile", outfile],
        "demo": ["demo", "--outfile", outfile],
    }
    run(*words[command])


@pytest.mark.slow
def test_a_folder_that_may_not_be_written(inputs, photo, second, out, run, monkeypatch) -> None:
    """As the superuser may write anywhere, the refusal is made where files are created."""
    denied = PermissionError(13, "Permission denied")
    real = Path.open

    def refuse(self: Path, mode: str = "r", *rest, **options):
        if self.parent == out and set(mode) & set("wxa"):
            raise denied
        return real(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    for words in (
        ("talk", "--face", photo, "--audio", second),
        ("redub", "--no-cache", "--video", inputs["no audio"], "--audio", second),
    ):
        result = run(*words, "--outfile", out / "b.mp4")
        assert "Permission denied" in result.stderr
    with contextlib.suppress(OSError):
        out.chmod(0o755)
