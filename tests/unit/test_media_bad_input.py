"""Files that are not what they should be: one line that names the file, a hint, and no other exception."""

from __future__ import annotations

import os
from fractions import Fraction

import pytest

from speech2vid.errors import MediaError
from speech2vid.media import VideoReader, load_audio, probe, read_synthetic_metadata

READERS = {"probe": probe, "video": VideoReader, "audio": load_audio, "mark": read_synthetic_metadata}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.wav", b"This is a letter, not a recording.\n" * 50, "not a media file"),
        ("text.mp4", b"This is a letter, not a video.\n" * 50, "not a media file"),
        ("noise.mp4", bytes(range(256)) * 40, "not a media file"),
        ("empty.wav", b"", "is empty"),
        ("head.wav", b"RIFF\x24\x00\x00\x00WAVE", "head.wav"),
        ("zeros.mp4", bytes(4096), "not a media file"),
    ],
)
def test_wrong_content(tmp_path, reader, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message) as error:
        READERS[reader](tmp_path / name)
    assert name in error.value.message
    assert "\n" not in error.value.message
    assert error.value.hint


@pytest.mark.parametrize("reader", READERS)
def test_missing_and_folder(tmp_path, reader):
    with pytest.raises(MediaError, match="does not exist"):
        READERS[reader](tmp_path / "no.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        READERS[reader](tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_mp4_cut_before_its_index(tmp_path, make_clip, reader):
    path = make_clip(tmp_path / "a.mp4", [3600 * k for k in range(20)], Fraction(1, 90_000))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(MediaError, match=r"a\.mp4 is not a media file"):
        READERS[reader](path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(MediaError, match="cannot be read"):
        load_audio(tmp_path / "a.wav")


def test_audio_file_as_video(speech):
    with pytest.raises(MediaError, match="no video stream"):
        VideoReader(speech)
