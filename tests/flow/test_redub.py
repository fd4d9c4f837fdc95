"""A video and new audio become a video in which only the mouth is new."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import PIL.Image
import pytest

from speech2vid.inference import track_cache
from speech2vid.inference.redub import RedubResult, redub
from speech2vid.inference.talk import talk
from speech2vid.inference.video_tracks import VideoTracks, find_tracks
from speech2vid.media import MediaFile, RawVideoReader, VideoReader, VideoWriter, load_photo, read_synthetic_metadata

FaceClip = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder  # type: ignore[misc]


@pytest.fixture(scope="module")
def clip(face_clip: FaceClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.2 s of a face at 30 pictures a second, of which the middle shows none."""
    path = tmp_path_factory.mktemp("redub") / "clip.mp4"
    return face_clip(path, frames=36, hidden=range(14, 20), rate_hz=30)


@pytest.fixture(scope="module")
def generated(clip: Path, speech: Path) -> RedubResult:
    return redub(clip, speech, clip.with_name("out.mp4"), length="video", crf=4)


def test_times_size_and_number_of_frames_are_those_of_the_source(clip: Path, generated: RedubResult) -> None:
    assert generated.frames == 36
    assert _times(generated.outfile) == _times(clip)
    assert RawVideoReader(generated.outfile).format == RawVideoReader(clip).format
    assert read_synthetic_metadata(generated.outfile)["command"] == "redub"  # type: ignore[index]
    assert not generated.notes


def test_the_mouth_is_new_and_the_rest_is_as_it_was(clip: Path, generated: RedubResult) -> None:
    changes = []
    for before, after in zip(RawVideoReader(clip), RawVideoReader(generated.outfile), strict=True):
        difference = abs(before.planes[0].astype(int) - after.planes[0])
        assert difference[:60].mean() < 1.0  # the upper half of the face
        assert difference[:, :20].mean() < 1.0
        changes.append(difference[90:150, 60:140].mean())
    assert max(changes[14:20]) < 1.0, "pictures without a face"
    assert np.mean(changes[:12]) > 1.5
    assert np.mean(changes[24:]) > 1.5


@pytest.fixture(scope="module")
def programme(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots at 29.97 pictures a second: a face, a slide, two faces of which the left one is larger. No audio."""
    path = tmp_path_factory.mktemp("programme") / "programme.mp4"
    portrait = load_photo(photo)[:300, 60:360]
    near, far = (cv2.resize(portrait, (px, px), interpolation=cv2.INTER_AREA) for px in (200, 160))
    with VideoWriter(path, 400, 200, Fraction(30_000, 1001), crf=4, preset="ultrafast") as writer:
        for number in range(38):
            frame = np.full((200, 400, 3), (30, 60, 90), np.uint8)
            if number < 14:
                frame[:, 100 + number // 3 : 300 + number // 3] = near
            elif number < 22:
                frame[40:160, 60:340] = 220
                cv2.putText(frame, "Results", (110, 110), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (20, 20, 20), 3)
            else:
                frame[:, :200] = near
                frame[20:180, 220:380] = far
            writer.write(frame)
    return path


def test_only_the_speaker_changes_in_a_programme(programme: Path, speech: Path) -> None:
    result = redub(programme, speech, programme.with_name("out.mp4"), length="video", crf=4)
    assert _times(result.outfile) == _times(programme)
    assert any("cannot be heard which of 2 faces speaks" in note for note in result.notes)
    mouths, others = [], []
    for before, after in zip(RawVideoReader(programme), RawVideoReader(result.outfile), strict=True):
        difference = abs(before.planes[0].astype(int) - after.planes[0])
        mouths.append(difference[90:150, 60:140].mean())
        others.append(difference[:, 210:].mean())
    assert max(others[22:]) < 1.0, "the listener"
    assert max(others[14:22]) < 1.0, "the slide"
    assert max(mouths[14:22]) < 1.0
    assert np.mean(mouths[24:]) > 1.5, "the speaker"


@pytest.mark.slow
def test_who_speaks_is_heard_even_where_the_listener_is_larger(
    photo: Path, speech: Path, cut_speech: Callable[..., Path], tmp_path: Path
) -> None:
    portrait = tmp_path / "portrait.png"
    image = load_photo(photo)[:300, 60:360]
    PIL.Image.fromarray(image).save(portrait)
    audio = cut_speech(tmp_path / "sound.wav", 4.0)
    talk(portrait, audio, tmp_path / "talk.mp4", max_size_px=300)
    listener = cv2.resize(image, (240, 240), interpolation=cv2.INTER_AREA)
    with VideoWriter(tmp_path / "two.mp4", 440, 240, audio_source=audio, crf=4) as writer:
        for frame in VideoReader(tmp_path / "talk.mp4"):
            both = np.full((240, 440, 3), 90, np.uint8)
            both[20:220, :200] = cv2.resize(frame.image, (200, 200), interpolation=cv2.INTER_AREA)
            both[:, 200:] = listener
            writer.write(both)
    result = redub(tmp_path / "two.mp4", speech, tmp_path / "a.mp4", length="shortest", crf=4)
    assert not result.notes
    left, right = [], []
    for before, after in zip(RawVideoReader(tmp_path / "two.mp4"), RawVideoReader(result.outfile), strict=True):
        difference = abs(before.planes[0].astype(int) - after.planes[0])
        left.append(difference[110:170, 60:140].mean())
        right.append(difference[:, 210:].mean())
    assert max(right) < 1.0
    assert np.mean(left) > 1.5


def test_a_second_dub_uses_what_the_first_found_out(
    clip: Path, speech: Path, own_cache: Path, generated: RedubResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []

    def search(*arguments: Any) -> VideoTracks:
        searched.append(arguments)
        return find_tracks(*arguments)

    monkeypatch.setattr(track_cache, "find_tracks", search)
    kept = list((own_cache / "speech2vid" / "tracks").glob("*.npz"))
    assert kept
    again = redub(clip, speech, clip.with_name("again.mp4"), length="video", crf=4)
    assert not searched
    assert _distance(again.outfile, generated.outfile) < 0.2  # x264 on several threads is not exact to the bit
    for path in kept:
        path.write_bytes(path.read_bytes()[:-300])  # damaged: found out again
    thrice = redub(clip, speech, clip.with_name("thrice.mp4"), length="video", crf=4)
    assert len(searched) == 1
    assert _distance(thrice.outfile, generated.outfile) < 0.2


def test_a_longer_audio_plays_the_end_back_and_forth(
    face_clip: FaceClip, tmp_path: Path, cut_speech: Callable[..., Path]
) -> None:
    short = face_clip(tmp_path / "short.mp4", frames=12)
    audio = cut_speech(tmp_path / "sound.wav", 1.0)
    result = redub(short, audio, tmp_path / "a.mp4", crf=4)
    assert result.frames == 25
    frames = [frame.planes[0][:60].astype(int) for frame in RawVideoReader(result.outfile)]
    for forth, back in ((10, 12), (8, 14), (1, 21), (1, 23)):  # … 10 11 10 9 … 1 0 1 2 …
        assert abs(frames[forth] - frames[back]).mean() < 1.0
    assert abs(frames[5] - frames[11]).mean() > 2.0


def test_a_shorter_audio_ends_the_video_or_not(
    face_clip: FaceClip, tmp_path: Path, cut_speech: Callable[..., Path]
) -> None:
    video = face_clip(tmp_path / "video.mp4", frames=20)
    audio = cut_speech(tmp_path / "sound.wav", 0.4)
    assert redub(video, audio, tmp_path / "a.mp4").frames == 10
    assert redub(video, audio, tmp_path / "b.mp4", length="video").frames == 20
    assert redub(video, audio, tmp_path / "c.mp4", length="shortest").frames == 10


def _distance(a: Path, b: Path) -> float:
    """Mean difference of the grey levels of two videos."""
    pairs = zip(RawVideoReader(a), RawVideoReader(b), strict=True)
    return float(np.mean([abs(x.planes[0].astype(int) - y.planes[0]).mean() for x, y in pairs]))


def _times(path: Path) -> list[tuple[float, float]]:
    with MediaFile(path) as file, file.reading() as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        return sorted((float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets)


def test_the_video_is_opened_three_times_at_most(
    clip: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    really_open = av.open

    def counted(file: str, *args: Any, **options: Any) -> Any:
        opened.append(str(file))
        return really_open(file, *args, **options)

    monkeypatch.setattr(av, "open", counted)
    redub(clip, speech, tmp_path / "out.mp4", length="video", cache=False)
    assert 1 <= opened.count(str(clip)) <= 3
