"""``talk``, ``redub``, ``TalkStream``, ``sync``, ``people`` and ``verify`` from Python, without files."""

from __future__ import annotations

import io
import logging
import pickle
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest

import speech2vid
from speech2vid import ConfigError, FaceError, MediaError, OutputError, TalkStream, make_identity, redub, talk
from speech2vid.inference.talkers.base import Talker
from speech2vid.media import containers, load_photo

CROPPED: dict[str, Any] = {"crop": True, "max_size_px": 160}


@pytest.fixture(scope="module")
def talker() -> Talker:
    return speech2vid.load_talker()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, cut_speech: Callable[..., Path]) -> Path:
    """0.6 s of speech."""
    return cut_speech(tmp_path_factory.mktemp("spoken") / "spoken.wav", 0.6)


@pytest.fixture(scope="module")
def samples(spoken: Path) -> tuple[np.ndarray, int]:
    """The same, as int16 and its rate."""
    with wave.open(str(spoken)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


@pytest.fixture(scope="module")
def expected(photo: Path, spoken: Path, talker: Talker, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The video that paths give."""
    path = tmp_path_factory.mktemp("expected") / "a.mp4"
    talk(photo, spoken, path, talker=talker, **CROPPED)
    return path.read_bytes()


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No output file and no temporary file may be created."""

    def refuse(*args: Any, **settings: Any) -> None:
        pytest.fail("a file was created")

    monkeypatch.setattr(containers, "PendingFile", refuse)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)


def decoded(video: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(video)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


FACES: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "list": lambda path: [path],
    "bytes": lambda path: path.read_bytes(),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "open file": lambda path: path.open("rb"),
    "array": load_photo,
    "Pillow image": PIL.Image.open,
}


@pytest.mark.usefixtures("no_files")
@pytest.mark.parametrize("form", FACES)
def test_every_form_of_a_face_gives_the_same_video(
    form: str, photo: Path, spoken: Path, talker: Talker, expected: bytes
) -> None:
    assert talk(FACES[form](photo), spoken, talker=talker, **CROPPED) == expected


@pytest.mark.usefixtures("no_files")
def test_every_form_of_audio_gives_the_same_video(
    photo: Path, spoken: Path, samples: tuple[np.ndarray, int], talker: Talker, expected: bytes
) -> None:
    identity = make_identity(photo, talker, **CROPPED)
    values, rate_hz = samples
    floats = values.astype(np.float64) / 32768
    forms: list[Any] = [spoken.read_bytes(), io.BytesIO(spoken.read_bytes()), (values, rate_hz)]
    forms += [(floats, rate_hz), (floats.astype(np.float32)[:, None], np.int64(rate_hz))]
    for form in forms:
        assert talk(identity, form) == expected


@pytest.mark.usefixtures("no_files")
def test_output_goes_into_a_file_object_in_one_piece(
    photo: Path, spoken: Path, talker: Talker, expected: bytes
) -> None:
    class OneWrite(io.BytesIO):
        writes = 0

        def write(self, block: Any) -> int:
            self.writes += 1
            return super().write(block)

    target = OneWrite()
    result = talk(photo, spoken, target, talker=talker, **CROPPED)
    assert (target.getvalue(), target.writes) == (expected, 1)
    assert result.frames == len(decoded(expected)) == 15

    def stop(done: int, total: int | None) -> None:
        raise RuntimeError("stop")

    unwritten = OneWrite()
    with pytest.raises(RuntimeError, match="stop"):
        talk(photo, spoken, unwritten, talker=talker, progress=stop, **CROPPED)
    assert unwritten.writes == 0


def test_result_can_be_used_as_the_path(photo: Path, spoken: Path, talker: Talker, tmp_path: Path) -> None:
    result = talk(photo, spoken, str(tmp_path / "a.mkv"), talker=talker, **CROPPED)
    assert Path(result) == result.outfile == tmp_path / "a.mkv"
    assert Path(result).read_bytes()


@pytest.mark.usefixtures("no_files")
def test_frames_are_those_of_the_stream_and_of_the_video(
    photo: Path, spoken: Path, talker: Talker, expected: bytes
) -> None:
    identity = make_identity(photo, talker, **CROPPED)
    calls: list[int] = []
    frames = list(talk(identity, spoken, frames=True, progress=lambda done, total: calls.append(done)))
    assert frames[0].shape == identity.canvas.shape
    assert frames[0].dtype == np.uint8
    assert calls == list(range(1, 16))
    for shown, encoded in zip(frames, decoded(expected), strict=True):
        assert np.abs(shown.astype(int) - encoded).mean() < 4  # H.264 and 4:2:0
    stream = TalkStream(identity, rate_hz=22_050)
    with wave.open(str(spoken)) as file:
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        assert file.getframerate() == 22_050
    pushed = [frame for part in np.array_split(values, 7) for frame in stream.push(part)] + stream.flush()
    assert len(pushed) == len(frames)
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(pushed, frames, strict=True)) <= 2


def test_frames_report_mistakes_at_once_and_can_be_closed_early(photo: Path, spoken: Path, talker: Talker) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        talk(photo, "missing.wav", frames=True, talker=talker)
    with pytest.raises(ConfigError, match="frames=True cannot be combined with outfile"):
        talk(photo, spoken, "a.mp4", frames=True, talker=talker)  # type: ignore[call-overload]
    frames = talk(photo, spoken, frames=True, talker=talker, label=True, **CROPPED)
    first = next(frames)
    plain = next(talk(photo, spoken, frames=True, talker=talker, **CROPPED))
    assert (first != plain).any(), "the label is drawn"
    frames.close()
    assert list(frames) == []


def test_notes_go_to_the_log_without_a_result(photo: Path, talker: Talker, caplog: pytest.LogCaptureFixture) -> None:
    silence = np.zeros(8000, np.int16), 16_000
    with caplog.at_level(logging.WARNING, "speech2vid"):
        assert talk(photo, silence, talker=talker, **CROPPED)
        list(talk(photo, silence, talker=talker, frames=True, **CROPPED))
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "no speech was heard in <audio>: the mouth stays closed"
    ]


# An identity


def test_identity_brings_its_talker_and_refuses_another(photo: Path, spoken: Path, talker: Talker) -> None:
    identity = make_identity(str(photo), talker, **CROPPED)
    assert identity.talker is talker
    assert make_identity(identity) is identity
    with pytest.raises(ConfigError, match="prepared by another talker"):
        talk(identity, spoken, talker=speech2vid.load_talker())
    with pytest.raises(ConfigError, match="crop has no effect on an identity"):
        talk(identity, spoken, crop=True)
    with pytest.raises(ConfigError, match="landmarks has no effect"):
        TalkStream.of(identity, landmarks="mesh")


def test_pickled_identity_leaves_its_networks_behind(
    photo: Path, spoken: Path, talker: Talker, expected: bytes
) -> None:
    identity = pickle.loads(pickle.dumps(make_identity(photo, talker, **CROPPED)))
    assert identity.talker is None
    with pytest.raises(ConfigError, match="the identity has no talker"):
        TalkStream(identity)
    assert talk(identity, spoken, talker=talker) == expected


# What is refused


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "crf": ({"crf": 99}, ConfigError, "crf cannot be 99"),
    "option": ({"silense": "hold"}, ConfigError, "there is no option 'silense'"),
    "grey array": ({"face": np.zeros((9, 9), np.uint8)}, ConfigError, r"array of shape \(9, 9\) and type uint8"),
    "float array": ({"face": np.zeros((9, 9, 3))}, ConfigError, "type float64"),
    "number": ({"face": 7}, ConfigError, "the face cannot be a value of type int"),
    "six faces": ({"face": ["a.jpg"] * 6}, ConfigError, "6 faces were given"),
    "empty": ({"face": b""}, MediaError, "<face> is empty"),
    "no image": ({"face": b"hello" * 99}, MediaError, "<face> is not an image or a video"),
    "text file": ({"audio": io.StringIO("hello")}, ConfigError, "gives text"),
    "no rate": ({"audio": np.zeros(9, np.int16)}, ConfigError, "without a sample rate"),
    "wrong order": ({"audio": (16_000, np.zeros(9, np.int16))}, ConfigError, "the sample rate cannot be"),
    "int32": ({"audio": (np.zeros(9, np.int32), 16_000)}, ConfigError, "type int32"),
    "no samples": ({"audio": (np.zeros(0, np.int16), 16_000)}, ConfigError, r"array of shape \(0,\)"),
    "NaN": ({"audio": (np.full(16_000, np.nan), 16_000)}, MediaError, "not finite"),
    "too short": ({"audio": (np.zeros(99, np.int16), 16_000)}, MediaError, "the audio of <audio> lasts 6 ms"),
    "output": ({"outfile": 7}, ConfigError, "the output cannot be a value of type int"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_with_a_sentence(case: str, photo: Path, spoken: Path, talker: Talker) -> None:
    given, kind, message = WRONG[case]
    arguments: dict[str, Any] = {"face": photo, "audio": spoken, "outfile": None, **given}
    with pytest.raises(kind, match=message):
        talk(**arguments, talker=talker)


def test_command_line_refuses_with_the_sentence_of_python(photo: Path, spoken: Path, tmp_path: Path) -> None:
    import sys

    command = [sys.executable, "-c", "from speech2vid.cli import main; main()", "talk", "--crf", "99"]
    command += ["--face", str(photo), "--audio", str(spoken), "--outfile", str(tmp_path / "a.mp4")]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    with pytest.raises(ConfigError) as caught:
        talk(photo, spoken, crf=99)
    assert shown.stderr == f"error: {caught.value.message}\nhint: {caught.value.hint}\n"
    assert shown.returncode == 2


def test_integers_stored_as_floats_are_scaled_in_a_recording_and_refused_in_a_stream(
    photo: Path, samples: tuple[np.ndarray, int], talker: Talker, expected: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    values, rate_hz = samples
    identity = make_identity(photo, talker, **CROPPED)
    video = talk(identity, (values.astype(np.float32), rate_hz))
    assert "were taken for integers of full scale 32768" in caplog.text
    assert all((a == b).all() for a, b in zip(decoded(video), decoded(expected), strict=True))
    stream = TalkStream(identity)
    with pytest.raises(ConfigError, match="far beyond ±1"):
        stream.push(values.astype(np.float32))
    with pytest.raises(ConfigError, match=r"shape \(2, 4\)"):
        stream.push(np.zeros((2, 4), np.float32))
    with pytest.raises(MediaError, match="not finite"):
        stream.push(np.full(4, np.inf, np.float32))


def test_every_error_class_and_option_record_is_exported() -> None:
    kinds = {name for name in vars(speech2vid.errors) if name.endswith(("Error", "Stopped"))}
    assert kinds <= set(speech2vid.__all__)
    assert {"TalkOptions", "RedubOptions", "sync", "people", "verify"} <= set(speech2vid.__all__)


# Video


@pytest.fixture(scope="module")
def clip(face_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.4 s of a face, with audio."""
    return face_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=60)


@pytest.mark.usefixtures("no_files")
def test_redub_without_files_gives_the_frames_of_paths(
    clip: Path, spoken: Path, samples: tuple[np.ndarray, int]
) -> None:
    settings: dict[str, Any] = {"cache": False, "length": "shortest", "redubber": speech2vid.load_redubber()}
    expected = list(redub(clip, spoken, frames=True, **settings))
    frames = list(redub(io.BytesIO(clip.read_bytes()), samples, frames=True, **settings))
    assert len(frames) == 15
    assert all((a == b).all() for a, b in zip(frames, expected, strict=True))
    video = redub(clip.read_bytes(), samples, **settings)
    for shown, encoded in zip(frames, decoded(video), strict=True):
        assert np.abs(shown.astype(int) - encoded).mean() < 4
    assert speech2vid.verify(video).verdict == "marked"


def test_redub_of_a_video_with_its_own_audio_knows_that_both_are_one(clip: Path) -> None:
    content = clip.read_bytes()
    frames = list(redub(content, content, frames=True, cache=False, length="video"))
    assert len(frames) == 60
    with pytest.raises(OutputError, match="is also an input"):
        redub(clip, clip, clip)


def test_people_of_a_photo_and_of_a_video(clip: Path, photo: Path, tmp_path: Path) -> None:
    (seen,) = speech2vid.people(photo.read_bytes())
    assert (seen.face_index, seen.spans_s) == (0, ())
    assert seen.box is not None
    (shown,) = speech2vid.people(clip.read_bytes(), cache=tmp_path)
    assert shown.face_index == 0
    assert shown.spans_s[0] == pytest.approx((0, 2.4), abs=0.05)
    assert shown.seconds == pytest.approx(2.4, abs=0.05)
    assert shown.image.ndim == 3
    assert list(tmp_path.glob("*.npz"))
    with pytest.raises(FaceError, match="no frontal face was found in <face>"):
        speech2vid.people(np.full((99, 99, 3), 90, np.uint8))


def test_sync_takes_bytes_and_gives_what_the_command_prints(clip: Path) -> None:
    found = speech2vid.sync(clip.read_bytes())
    assert found.to_dict() == speech2vid.sync(clip).to_dict()
    assert {"offset_frames", "offset_s", "confidence", "sure", "curve", "windows"} <= set(found.to_dict())
    target = io.BytesIO()
    if found.sure:
        speech2vid.sync(clip, target)
        assert len(decoded(target.getvalue())) == 60
    else:
        with pytest.raises(FaceError, match="a corrected video was not written"):
            speech2vid.sync(clip, target)
        assert target.getvalue() == b""


def test_signed_video_in_memory_verifies(
    photo: Path, spoken: Path, talker: Talker, make_pair: Any, tmp_path: Path
) -> None:
    pytest.importorskip("c2pa", reason="the extra `c2pa` is not installed")
    pair = make_pair(tmp_path)
    video = talk(photo, spoken, talker=talker, signer=speech2vid.Signer(pair.cert, pair.key), **CROPPED)
    assert speech2vid.verify(video, pair.root).verdict == "signed"
    changed = bytearray(video)
    changed[len(changed) // 2] ^= 1
    assert speech2vid.verify(bytes(changed), pair.root).verdict == "tampered"
