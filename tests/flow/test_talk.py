"""Photo and audio in, video out, with weights that follow loudness by geometry alone: the whole path, no training."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

import speech2vid
from speech2vid.audio.vad import waveform_activity
from speech2vid.cli.program import program
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.faces import aligned_track, choose_face, lip_opening
from speech2vid.inference.audio_stream import drive_of
from speech2vid.inference.talkers.base import load_talker
from speech2vid.media import VideoReader, load_audio, load_photo, probe, read_synthetic_metadata
from speech2vid.runtime.voice_activity import voice_detector


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """2.2 s of speech, 1.2 s of digital silence, 1.1 s of speech, at the speech's own rate."""
    path = tmp_path_factory.mktemp("sound") / "pause.wav"
    with wave.open(str(speech)) as source, wave.open(str(path), "wb") as target:
        rate = source.getframerate()
        target.setparams(source.getparams())
        target.writeframes(source.readframes(round(2.2 * rate)))
        target.writeframes(bytes(round(1.2 * rate) * source.getsampwidth() * source.getnchannels()))
        target.writeframes(source.readframes(round(1.1 * rate)))
    return path


@pytest.fixture(scope="module")
def generated(
    tmp_path_factory: pytest.TempPathFactory, photo: Path, audio: Path, drawn_weights: Path
) -> tuple[Path, dict[str, object]]:
    """The video and what the command says of it."""
    outfile = tmp_path_factory.mktemp("made") / "talk.mp4"
    words = ["--face", photo, "--audio", audio, "--outfile", outfile, "--weights", drawn_weights, "--json"]
    result = CliRunner().invoke(program, ["talk", *map(str, words)])
    assert result.exit_code == 0, result.output
    return outfile, json.loads(result.stdout)


def test_the_video_is_what_was_asked_for(generated: tuple[Path, dict[str, object]], audio: Path) -> None:
    outfile, record = generated
    info = probe(outfile)
    assert (info.width_px, info.height_px) == (512, 512)
    assert (info.video_codec, info.pixel_format, info.audio_codec) == ("h264", "yuv420p", "aac")
    assert abs(info.duration_s - probe(audio).duration_s) <= 0.04
    assert info.audio_rate_hz == probe(audio).audio_rate_hz
    with av.open(str(outfile)) as container:
        assert sum(1 for _ in container.decode(video=0)) == record["frames"] == round(4.5 * 25)
    content = outfile.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads
    mark = read_synthetic_metadata(outfile)
    assert mark is not None
    assert mark["synthetic"] is True


def test_the_record_accounts_for_the_work(generated: tuple[Path, dict[str, object]]) -> None:
    _, record = generated
    assert record["seconds"] == pytest.approx(record["frames"] / 25)  # type: ignore[operator]
    stages = record["stage_seconds"]
    assert isinstance(stages, dict)
    assert set(stages) == {"decode", "front_end", "network", "blend", "encode"}
    assert all(seconds > 0 for seconds in stages.values())
    assert record["fps_end_to_end"] > 0  # type: ignore[operator]
    assert record["notes"] == []


def test_the_mouth_moves_with_the_audio_and_rests_in_silence(
    generated: tuple[Path, dict[str, object]], audio: Path, drawn_weights: Path
) -> None:
    images = [frame.image for frame in VideoReader(generated[0])]
    start = choose_face(images[0], "made").box
    opening = lip_opening(np.stack([tracked.aligned.landmarks for tracked in aligned_track(images, start)]))
    waveform = load_audio(audio)
    moved = np.concatenate(list(drive_of([waveform], load_talker(drawn_weights).audio_stream())))
    requested = moved[:, 18, 1]  # the inner lower lip
    assert np.corrcoef(opening, requested)[0, 1] > 0.8
    silent = waveform_activity(waveform, voice_detector())[: len(opening)] == 0
    assert silent[67:74].all()
    assert opening[silent].std() < 0.2 * opening[~silent].std()  # encoding alone changes what landmarks say of teeth
    assert opening[silent].mean() < opening[~silent].mean() - 0.5 * opening[~silent].std()


def test_outside_the_mouth_region_the_photo_stands_still(
    generated: tuple[Path, dict[str, object]], photo: Path
) -> None:
    image = load_photo(photo)
    face = choose_face(image, photo)
    frames = [frame.image.astype(int) for frame in VideoReader(generated[0])][::5]
    eyes = face.landmarks[36:48]
    left, top = (eyes.min(axis=0) - 10).astype(int)
    right, bottom = (eyes.max(axis=0) + 10).astype(int)
    for frame in frames:
        assert np.abs(frame[top:bottom, left:right] - image[top:bottom, left:right]).mean() < 4  # what the codec does
        assert np.abs(frame[300:] - image[300:]).mean() < 4
    chin = face.landmarks[57].astype(int)
    moved = np.stack([frame[chin[1] - 5 : chin[1] + 12, chin[0] - 12 : chin[0] + 12] for frame in frames])
    assert moved.std(axis=0).max() > 10


def test_crop_and_odd_sizes(photo: Path, audio: Path, drawn_weights: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.png"
    PIL.Image.fromarray(load_photo(photo)[:301, :333]).save(odd)
    whole = speech2vid.talk(odd, audio, tmp_path / "whole.mp4", weights=drawn_weights)
    cropped = speech2vid.talk([odd, odd], audio, tmp_path / "crop.mp4", crop=True, crf=30, weights=drawn_weights)
    assert isinstance(whole, speech2vid.TalkResult)
    assert whole.frames == cropped.frames == round(4.5 * 25)
    sizes = [probe(result.outfile) for result in (whole, cropped)]
    assert (sizes[0].width_px, sizes[0].height_px) == (334, 302)
    assert sizes[1].width_px == sizes[1].height_px < 200
    first = next(iter(VideoReader(cropped.outfile))).image
    assert choose_face(first, "crop").box.area > 0.3 * first.shape[0] * first.shape[1]


def test_one_result_however_threads_run(photo: Path, audio: Path, drawn_weights: Path, tmp_path: Path) -> None:
    def images(name: str) -> np.ndarray:
        speech2vid.talk(photo, audio, tmp_path / name, crop=True, crf=0, weights=drawn_weights)
        return np.stack([frame.image for frame in VideoReader(tmp_path / name)])

    assert np.array_equal(images("a.mkv"), images("b.mkv"))


def test_a_video_as_face_and_its_own_audio(
    generated: tuple[Path, dict[str, object]], drawn_weights: Path, tmp_path: Path
) -> None:
    result = speech2vid.talk(generated[0], generated[0], tmp_path / "again.mp4", weights=drawn_weights)
    assert result.frames == generated[1]["frames"]
    assert probe(result.outfile).width_px == 512


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, speech2vid; assert not {'numpy', 'cv2', 'av', 'onnxruntime'} & set(sys.modules); "
        "from speech2vid import talk; print(callable(talk), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "True False\n"
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        speech2vid.sing  # noqa: B018


@pytest.mark.slow
def test_memory_does_not_grow_with_the_audio(photo: Path, speech: Path, drawn_weights: Path, tmp_path: Path) -> None:
    waveform = load_audio(speech)
    code = (
        "import sys; from resource import RUSAGE_SELF, getrusage; from speech2vid import talk; "
        "talk(*sys.argv[1:4], crop=True, weights=sys.argv[4]); print(getrusage(RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for seconds in (8, 80):
        path = tmp_path / f"{seconds}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            samples = np.resize(waveform, seconds * SAMPLE_RATE_HZ)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        words = [photo, path, tmp_path / f"{seconds}.mp4", drawn_weights]
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
        )
        peaks.append(int(result.stdout))
    assert peaks[1] < 1.1 * peaks[0]
