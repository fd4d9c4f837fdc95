"""What ``prepare`` promises: a reason for what is left out, the same bytes always, carrying on after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from processes import eventually
from speech2vid.audio.windows import windows
from speech2vid.data.prepare import prepare
from speech2vid.data.records import Track
from speech2vid.data.report import PrepareReport
from speech2vid.data.shards import MEMBERS
from speech2vid.data.store import SampleStore
from speech2vid.errors import DataError, OutputError
from speech2vid.faces.align import context_from_face, warp
from speech2vid.geometry import invert
from speech2vid.media import load_audio

OUTCOMES = {
    "ann/1.mp4": (1, {}),
    "ann/2.mp4": (1, {}),
    "ann/3.mp4": (0, {"duplicate": 1}),
    "ben/hidden.mp4": (2, {"no_face": 1}),
    "ben/glimpse.mp4": (1, {"no_face": 1, "too_short": 1}),
    "broken/empty.mp4": (0, {"unreadable": 1}),
    "broken/text.mp4": (0, {"unreadable": 1}),
    "broken/cut.mp4": (0, {"unreadable": 1}),
    "broken/mute.mp4": (0, {"no_audio": 1}),
    "broken/silent.mp4": (0, {"silent": 1}),
    "broken/sound.mp4": (0, {"no_video": 1}),
    "broken/slow.mp4": (0, {"low_frame_rate": 1}),
    "broken/nobody.mp4": (0, {"no_face": 1}),
    "broken/short.mp4": (0, {"too_short": 1}),
}


@pytest.fixture(scope="session")
def videos(face_clip: Callable[..., Path], speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good videos and one of each bad kind."""
    folder = tmp_path_factory.mktemp("videos")
    face_clip(folder / "ann/1.mp4", frames=30)
    face_clip(folder / "ann/2.mp4", frames=40, shift_px=5)
    shutil.copy(folder / "ann/1.mp4", folder / "ann/3.mp4")
    face_clip(folder / "ben/hidden.mp4", frames=75, hidden=range(30, 40), shift_px=-5)
    face_clip(folder / "ben/glimpse.mp4", frames=50, hidden=range(5, 20), shift_px=8)
    silence = folder / "silence.wav"
    subprocess_free_silence(silence)
    face_clip(folder / "broken/mute.mp4", audio=None)
    face_clip(folder / "broken/silent.mp4", audio=silence)
    face_clip(folder / "broken/slow.mp4", frames=8, rate_hz=5)
    face_clip(folder / "broken/nobody.mp4", hidden=range(30))
    face_clip(folder / "broken/short.mp4", frames=10)
    silence.unlink()
    (folder / "broken/empty.mp4").touch()
    (folder / "broken/text.mp4").write_text("not a video")
    whole = (folder / "ann/2.mp4").read_bytes()
    (folder / "broken/cut.mp4").write_bytes(whole[:2000])
    shutil.copy(speech, folder / "broken/sound.mp4")
    return folder


def subprocess_free_silence(path: Path) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 40_000))


@pytest.fixture(scope="session")
def generated(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PrepareReport]:
    """A store and the report of the run that made it."""
    out = tmp_path_factory.mktemp("made") / "store"
    return out, prepare([videos], out, shard_bytes=300_000, sync="off")


@pytest.fixture
def store(generated: tuple[Path, PrepareReport], tmp_path: Path) -> Path:
    """A copy of the store, elsewhere."""
    return Path(shutil.copytree(generated[0], tmp_path / "elsewhere"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_has_its_outcome(generated: tuple[Path, PrepareReport]) -> None:
    found = {entry.source: (entry.outcome.tracks, entry.outcome.dropped) for entry in generated[1].files}
    assert found == OUTCOMES
    assert all(entry.outcome.detail for entry in generated[1].skipped)


def test_a_track_ends_with_its_shot(generated: tuple[Path, PrepareReport]) -> None:
    """The face is gone from frame 30 to 40: another shot."""
    before, after = [entry for entry in generated[1].tracks if entry.source == "ben/hidden.mp4"]
    assert (before.start_s, before.frames) == (0, 30)
    assert round(after.start_s * 25) in range(40, 45)
    assert round(after.start_s * 25) + after.frames == 75


def test_report_adds_up(generated: tuple[Path, PrepareReport]) -> None:
    out, report = generated
    record = json.loads((out / "report.json").read_text())
    assert record == report.as_dict()
    assert record["tracks_kept"] == 5
    assert record["tracks_dropped"]["unreadable"] == 3
    assert record["tracks_dropped"]["too_short"] == 2
    frames = sum(entry.frames for entry in report.tracks)
    assert record["hours_kept"] == pytest.approx(frames / 25 / 3600, abs=1e-4)
    assert record["hours_in"] > record["hours_kept"]
    assert sum(split["tracks"] for split in record["splits"].values()) == 5
    assert {each["source"] for each in record["skipped"]} == {name for name, (kept, _) in OUTCOMES.items() if not kept}
    assert PrepareReport.read(out).as_dict() == record


def test_the_page_shows_what_the_report_says(generated: tuple[Path, PrepareReport]) -> None:
    out, report = generated
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 5
    assert all(entry.key in page for entry in report.tracks)
    assert all(name in page for name, (kept, _) in OUTCOMES.items() if not kept)
    assert "http" not in page  # needs nothing from elsewhere


def test_faces_with_context_show_the_same_face(generated: tuple[Path, PrepareReport]) -> None:
    """The middle of the 224 px face, shrunk, is the 112 px face."""
    for track in SampleStore(generated[0]).tracks("train", context=True):
        assert track.context.shape == (len(track), 224, 224, 3)
        back = invert(context_from_face())
        small = np.stack([warp(image, back) for image in track.context])
        inside = np.s_[:, 8:-8, 8:-8]
        error = np.mean((small[inside].astype(float) - track.frames[inside]) ** 2)
        still = np.mean((small[inside].astype(float) - np.roll(track.frames, 2, axis=1)[inside]) ** 2)
        assert error < 0.2 * still


def test_stages_are_timed(generated: tuple[Path, PrepareReport]) -> None:
    assert set(generated[1].stage_s) == {
        "probe",
        "decode",
        "shots",
        "faces",
        "registration",
        "audio",
        "sync",
        "speaker",
        "store",
    }
    assert generated[1].frames >= 30 + 40 + 65


def test_two_jobs_give_the_same_bytes_wherever_the_files_are(
    generated: tuple[Path, PrepareReport], videos: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(videos, tmp_path / "moved videos"))
    prepare([moved], tmp_path / "store", jobs=2, shard_bytes=300_000, sync="off")
    assert content(tmp_path / "store") == content(generated[0])
    assert not [
        name for name, data in content(generated[0]).items() if bytes(videos) in data or str(tmp_path).encode() in data
    ]


def test_run_again_works_on_nothing(store: Path, videos: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    report = prepare([videos], store, shard_bytes=300_000, sync="off")
    assert report.frames == 0
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.slow
def test_only_what_is_new_is_worked_on(generated: tuple[Path, PrepareReport], videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    for name in ("ann", "broken"):
        shutil.copytree(videos / name, tmp_path / "growing" / name)
    first = prepare([tmp_path / "growing"], out, shard_bytes=300_000, sync="off")
    shutil.copytree(videos / "ben", tmp_path / "growing" / "ben")
    second = prepare([tmp_path / "growing"], out, shard_bytes=300_000, sync="off")
    assert first.frames + second.frames == generated[1].frames
    assert min(first.frames, second.frames) > 0
    assert content(out) == content(generated[0])
    (tmp_path / "growing/ann/1.mp4").unlink()
    smaller = prepare([tmp_path / "growing"], out, shard_bytes=300_000, sync="off")
    assert smaller.frames == 0
    assert "ann/3.mp4" in {entry.source for entry in smaller.tracks}  # its copy takes its place


@pytest.mark.slow
@pytest.mark.promise
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_killed_at_any_moment_it_carries_on(
    generated: tuple[Path, PrepareReport], videos: Path, tmp_path: Path
) -> None:
    """Up to five kills, each after a time that is drawn at random, at whatever that hits, until the store is whole."""
    out = tmp_path / "store"
    arguments = "sys.argv[1:2], sys.argv[2], jobs=2, sync='off', shard_bytes=300_000"
    code = f"import sys; from speech2vid.data.prepare import prepare; prepare({arguments})"
    rng = np.random.default_rng()
    for number in range(5):
        done = len(list(out.glob(".work/*/*.json")))
        process = subprocess.Popen([sys.executable, "-c", code, videos, out], start_new_session=True)
        if not wait_for(process, out, done + int(rng.integers(0, 3))):
            assert number, "nothing was killed"
            break
        kill(process, float(rng.uniform(0, 0.5)))
        if (out / "manifest.tsv").exists():  # it was faster than the kill
            assert number, "nothing was killed"
            break
        with pytest.raises(DataError, match="not a complete sample store"):
            SampleStore(out)
    report = prepare([videos], out, shard_bytes=300_000, sync="off")
    assert report.frames < generated[1].frames
    assert content(out) == content(generated[0])


def wait_for(process: subprocess.Popen[bytes], out: Path, done: int) -> bool:
    """Wait until a preparation has finished ``done`` files; return False if it has finished all of them instead."""
    while not (out / ".work").exists() or len(list(out.glob(".work/*/*.json"))) < done:
        if process.poll() is not None:
            assert process.returncode == 0, "it failed"
            return False
        time.sleep(0.01)
    return True


def kill(process: subprocess.Popen[bytes], after_s: float) -> None:
    """Kill a preparation, and only its first process; the others must follow it."""
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert eventually(lambda: not group_alive(process.pid)), "a worker outlives its parent"


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.promise
def test_ray_gives_the_same_bytes_though_a_worker_is_killed(
    generated: tuple[Path, PrepareReport], videos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    killed: list[int] = []

    def kill_one(done: int, total: int | None) -> None:
        for process in Path("/proc").glob("[0-9]*") if done and not killed else ():
            with contextlib.suppress(OSError):
                if (process / "cmdline").read_bytes().startswith(b"ray::_call") and is_ours(int(process.name)):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
                    return

    prepare([videos], tmp_path / "store", jobs=2, engine="ray", shard_bytes=300_000, sync="off", on_progress=kill_one)
    assert killed
    assert content(tmp_path / "store") == content(generated[0])


def is_ours(process: int) -> bool:
    """Whether a process descends from this one."""
    while process > 1:
        if process == os.getpid():
            return True
        stat = Path(f"/proc/{process}/stat").read_text()
        process = int(stat.rpartition(")")[2].split()[1])
    return False


def test_a_store_that_cannot_be_written_is_an_error(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be created"):
        prepare([videos], tmp_path / "file", sync="off")


def test_shards_hold_nothing_but_names_and_content(generated: tuple[Path, PrepareReport]) -> None:
    out, report = generated
    assert len(report.shards) > len({entry.split for entry in report.tracks})  # several of a split
    for shard in report.shards:
        with tarfile.open(out / shard.name) as archive:
            infos = archive.getmembers()
        assert all((info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644) for info in infos)
        keys = [entry.key for entry in report.tracks if entry.shard == shard.name]
        assert {info.name for info in infos} == {f"{key}.{member}" for key in keys for member in MEMBERS}


def test_webdataset_reads_it(generated: tuple[Path, PrepareReport]) -> None:
    webdataset = pytest.importorskip("webdataset")
    out, report = generated
    shards = [str(out / shard.name) for shard in report.shards]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert {sample["__key__"] for sample in samples} == {entry.key for entry in report.tracks}
    assert all(sample["landmarks.npy"].shape == (sample["json"]["frames"], 68, 2) for sample in samples)


def all_tracks(path: Path) -> list[Track]:
    store = SampleStore(path)
    return [track for split in store.splits for track in store.load(split)]


def test_the_store_gives_what_was_seen_and_heard(generated: tuple[Path, PrepareReport], videos: Path) -> None:
    tracks = all_tracks(generated[0])
    assert len(tracks) == 5
    for track in tracks:
        count = len(track)
        assert track.frames.shape == (count, 112, 112, 3)
        assert track.landmarks.shape == track.source_landmarks.shape == (count, 68, 2)
        mapped = np.einsum("tij,tpj->tpi", track.transforms[:, :, :2], track.source_landmarks)
        assert mapped + track.transforms[:, None, :, 2] == pytest.approx(track.landmarks, abs=1e-3)
        whole = load_audio(videos / track.record.source)
        start = round(track.record.start_s * 25)
        heard = whole[start * 640 : (start + count) * 640]
        assert track.waveform[: len(heard)] == pytest.approx(heard, abs=1 / 32767)


def test_windows_at_the_ends_of_a_track_hear_what_is_around_it(
    generated: tuple[Path, PrepareReport], videos: Path
) -> None:
    (track,) = [
        each for each in all_tracks(generated[0]) if each.record.source == "ben/hidden.mp4" and each.record.start_s
    ]
    start, lead = round(track.record.start_s * 25), track.record.audio_lead_frames
    target = windows(load_audio(videos / "ben/hidden.mp4"))[start : start + 8]
    with_context = windows(track.audio_with_context)[lead : lead + 8]
    alone = windows(track.waveform)[:8]
    assert np.abs(with_context - target).mean() < 0.02 * np.abs(alone - target).mean()


def test_splits_never_share_a_speaker(generated: tuple[Path, PrepareReport]) -> None:
    store = SampleStore(generated[0])
    assert store.splits == ["train", "val"]
    assert not set(store.speakers("train")) & set(store.speakers("val"))


def test_without_images_the_rest_is_the_same(generated: tuple[Path, PrepareReport]) -> None:
    store = SampleStore(generated[0])
    for full, bare in zip(store.tracks("train"), store.tracks("train", jpegs=False), strict=True):
        assert bare.frames.shape == (0, 112, 112, 3)
        assert bare.record == full.record
        assert (bare.landmarks == full.landmarks).all()
        assert (bare.audio == full.audio).all()


def test_a_whole_store_is_valid(store: Path) -> None:
    SampleStore(store).validate()


def test_an_unknown_split_names_those_there_are(store: Path) -> None:
    with pytest.raises(DataError, match="'test'") as error:
        SampleStore(store).load("test")
    assert "train, val" in error.value.hint


def test_a_missing_and_a_short_shard_are_found_at_once(store: Path) -> None:
    shard = store / "train-000000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"train-000000.tar is damaged: it has \d+ bytes instead of"):
        SampleStore(store)
    shard.unlink()
    with pytest.raises(DataError, match=r"train-000000.tar is missing"):
        SampleStore(store)


@pytest.mark.parametrize("where", [0.0, 0.5])
def test_a_damaged_shard_is_named(store: Path, where: float) -> None:
    shard = store / "train-000000.tar"
    data = bytearray(shard.read_bytes())
    at = int(where * len(data))
    data[at : at + 600] = bytes(600)
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"train-000000\.tar"):
        SampleStore(store).validate()
    with pytest.raises(DataError, match="damaged"):
        SampleStore(store).load("train")


def test_a_damaged_manifest_and_another_format_are_errors(store: Path) -> None:
    report = json.loads((store / "report.json").read_text())
    (store / "report.json").write_text(json.dumps({**report, "format": "0"}))
    with pytest.raises(DataError, match="of format 0"):
        SampleStore(store)
    (store / "manifest.tsv").write_text("key\tnonsense\n")
    (store / "report.json").write_text(json.dumps(report))
    with pytest.raises(DataError, match="damaged"):
        SampleStore(store)
    with pytest.raises(DataError, match=r"no manifest\.tsv"):
        SampleStore(store / "nowhere")
