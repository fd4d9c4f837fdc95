"""A media file must never make us open another file, an address or a device."""

from __future__ import annotations

import gc
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from fuzzing import read_everything
from sandbox import run

from speech2vid.errors import MediaError
from speech2vid.media import VideoReader, VideoWriter, load_audio, load_photo, probe, read_synthetic_metadata

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>"
)
LISTS: dict[str, Callable[[str], str]] = {
    "a.m3u8": HLS.format,
    "hls.mp4": HLS.format,
    "concat.mp4": lambda target: f"ffconcat version 1.0\nfile {target}\n",
    "concat.txt": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "a.mpd": DASH.format,
    "a.sdp": lambda target: SDP.format(5004),
    "a.asx": lambda target: f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "a.pls": lambda target: f"[playlist]\nFile1={target}\n",
    "a.ram": lambda target: target + "\n",
    "a.ism": lambda target: f'<SmoothStreamingMedia><StreamIndex Url="{target}"/></SmoothStreamingMedia>',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_files_are_not_followed(name: str, samples: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "other.ts").write_bytes(samples["mpegts"])
    (tmp_path / name).write_text(LISTS[name]("other.ts"))
    with pytest.raises(MediaError, match="not a media file") as caught:
        probe(tmp_path / name)
    assert name in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", LISTS)
def test_no_address_is_asked(name: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        (tmp_path / name).write_text(LISTS[name](f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"))
        assert run(lambda: read_everything(tmp_path / name)).kind == "error"
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_pattern_in_a_name_is_a_name(samples: dict[str, bytes], tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"f{number:03d}.png").write_bytes(samples["png"])
    pattern = tmp_path / "f%03d.png"
    with pytest.raises(MediaError, match="does not exist"):
        probe(pattern)
    pattern.write_bytes(samples["png"])
    with pytest.raises(MediaError):
        probe(pattern)
    assert load_photo(pattern).shape == (128, 128, 3)


NAMES = (
    "-rf",
    "--help",
    "-",
    "a b",
    "näme 名前 🎤",
    "new\nline",
    "tab\there",
    "quote'\"`$(touch x);&|",
    "%d%03d%s%n",
    "concat:a|b",
    "http:",
    "file:",
    "subfile,,start,0,end,9,,:x",
    "[0:v]",
    "back\\slash",
    "*?[]{}",
    ".dot",
    "x" * 240,
    "\udcff not UTF-8",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names(name: str, samples: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working folder, so that the name itself is what the libraries are given."""
    monkeypatch.chdir(tmp_path)
    for suffix in ("jpg", "wav", "mp4"):
        Path(f"{name}.{suffix}").write_bytes(samples[suffix])
    before = sorted(os.listdir(b"."))
    assert load_photo(f"{name}.jpg").shape == (128, 128, 3)
    assert load_audio(f"{name}.wav").size == 16_000
    assert probe(f"{name}.mp4").has_video
    outfile = Path(f"{name[:200]}.mkv")
    with VideoWriter(outfile, 128, 128, audio_source=f"{name}.wav", preset="ultrafast") as writer:
        for frame in VideoReader(f"{name}.mp4"):
            writer.write(frame.image)
    assert read_synthetic_metadata(outfile) is not None
    assert sorted(os.listdir(b".")) == sorted([*before, os.fsencode(outfile)])


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "file:a.mp4", "pipe:0", "data:,x", "lavfi:testsrc", "-"]
)
def test_protocols_are_not_files(name: str, samples: dict[str, bytes], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for each in ("a.mp4", "b.mp4"):
        Path(each).write_bytes(samples["mp4"])
    with pytest.raises(MediaError, match="does not exist"):
        probe(name)


def test_a_name_that_is_too_long_and_one_with_a_zero(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 5000 + ".mp4"), Path("a\0b.mp4")):
        for read in (probe, load_audio, load_photo):
            with pytest.raises(MediaError):
                read(path)


def test_garbage_of_the_parent_does_not_hang_a_case(samples: dict[str, bytes], tmp_path: Path) -> None:
    class Cycle:
        def __init__(self, *held: object) -> None:
            self.held = (self, *held)

    (tmp_path / "a.mp4").write_bytes(samples["mp4"])
    container = av.open(str(tmp_path / "a.mp4"))
    stream = container.streams.video[0]
    stream.thread_type, stream.codec_context.thread_count = "AUTO", 4
    next(container.decode(stream))
    gc.disable()
    try:
        Cycle(container, stream)
        del container, stream
        assert run(gc.collect, timeout_s=20).kind == "done"
    finally:
        gc.enable()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom", "/dev/stdin", "/proc/self/mem"])
def test_devices_are_refused(device: str) -> None:
    for read in (probe, load_photo, load_audio):
        end = run(lambda read=read: read(Path(device)), extra_mb=200)
        assert end.kind == "error", (device, end)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    end = run(lambda: probe(tmp_path / "a.mp4"))
    assert (end.kind, "a device or a pipe" in end.said) == ("error", True)


def test_links(samples: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(samples["mp4"])
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert probe(tmp_path / "link.mp4").has_video
    for name in ("dangling.mp4", "loop.mp4"):
        with pytest.raises(MediaError):
            probe(tmp_path / name)
    shutil.rmtree(tmp_path)
