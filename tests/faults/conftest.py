"""What the fault suite shares: cases in processes of their own, and commands run as a person runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speech2vid.cli.program import program


@pytest.fixture(scope="session", autouse=True)
def libraries() -> None:
    """Load what the cases need once, before the first fork."""
    import av  # noqa: F401
    import c2pa  # noqa: F401
    import cv2  # noqa: F401
    import PIL.Image

    PIL.Image.init()


@pytest.fixture
def clean_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the system for this test alone; empty again at its end, or the test fails."""
    folder = tmp_path / "system-temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert not list(folder.iterdir()), "temporary files were left behind"


@pytest.fixture(scope="session")
def run() -> Callable[..., object]:
    """Run a command in this process and hold it to the rules for failures: ``run("talk", …, code=1)``."""

    def run(*words: object, code: int | tuple[int, ...] = 1):
        codes = (code,) if isinstance(code, int) else code
        result = CliRunner().invoke(program, [os.fspath(w) if isinstance(w, os.PathLike) else str(w) for w in words])
        said = f"{' '.join(map(str, words))!r}: {result.exit_code}\n{result.stdout}\n{result.stderr}"
        assert result.exit_code in codes, said
        assert "Traceback" not in result.stderr, said
        assert "this is a defect" not in result.stderr, said
        if result.exit_code == 1:
            errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
            hints = [line for line in result.stderr.splitlines() if line.startswith("hint: ")]
            assert len(errors) == 1, said
            assert len(hints) == 1, said
        return result

    return run


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory, photo: Path, second: Path) -> dict[str, bytes]:
    """A small good file of each kind, by suffix: pictures, recordings, videos with and without audio."""
    import av
    import PIL.Image

    from speech2vid.media import VideoWriter, load_photo

    folder = tmp_path_factory.mktemp("samples")
    image = PIL.Image.fromarray(load_photo(photo)).resize((128, 128))
    frames = [np.roll(np.asarray(image), step, axis=1) for step in range(25)]
    for suffix in ("mp4", "mkv"):
        with VideoWriter(folder / f"a.{suffix}", 128, 128, audio_source=second, preset="ultrafast") as writer:
            for frame in frames:
                writer.write(frame)
    for suffix, codec in (("avi", "mpeg4"), ("mpegts", "mpeg2video"), ("webm", "libvpx"), ("flv", "flv1")):
        with av.open(str(folder / f"a.{suffix}"), "w", format=suffix) as output:
            stream = output.add_stream(codec, rate=25)
            stream.width = stream.height = 128
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            output.mux(stream.encode(None))
    (folder / "a.wav").write_bytes(second.read_bytes())
    for suffix, codec in (("mp3", "mp3"), ("flac", "flac"), ("ipod", "aac")):
        with av.open(str(second)) as source, av.open(str(folder / f"a.{suffix}"), "w", format=suffix) as output:
            stream = output.add_stream(codec, rate=44_100, layout="mono")
            for frame in source.decode(audio=0):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    for suffix in ("jpg", "png", "webp", "gif", "tiff", "bmp"):
        image.save(folder / f"a.{suffix}")
    return {path.suffix[1:]: path.read_bytes() for path in folder.iterdir()}
