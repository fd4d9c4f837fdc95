"""The page without a browser: what it makes, what it refuses, what it keeps to itself, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from processes import eventually, start
from speech2vid.media import probe, read_synthetic_metadata

LIMITS = "max_upload_mb=2, max_seconds=3, waiting=3, unheard_s=4, grace_s=0.5"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """A photo that is not the page's own example, which everybody may see."""
    import PIL.Image

    path = tmp_path_factory.mktemp("photo") / "me.jpg"
    PIL.Image.open(photo).crop((80, 0, 380, 300)).save(path)
    return path


def no_leak(text: str) -> None:
    """Nothing of the machine's file system, and no traceback."""
    for secret in (
        tempfile.gettempdir(),
        str(Path.home()),
        sys.prefix,
        "speech2vid-app-",
        "Traceback",
        "site-packages",
    ):
        assert secret not in text or secret == "/", text


def test_a_photo_and_a_audio_become_a_video(
    pages: ModuleType, page: Any, browser: Any, photo: Path, short_speech: Path, tmp_path: Path
) -> None:
    shown = browser.upload(photo, short_speech)
    messages = browser.run("talk", *pages.talk(*shown))
    no_leak(json.dumps(messages))
    status, video, download, make, cancel = pages.last(messages)
    assert "1.2 s of video" in status
    assert video["value"]["path"] == download["value"]["path"]
    assert make["interactive"]
    assert not cancel["interactive"]

    answer = browser.client.get(video["value"]["url"].removeprefix(page.url))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "talk.mp4").write_bytes(answer.content)
    assert probe(tmp_path / "talk.mp4").duration_s == pytest.approx(1.2, abs=0.08)
    assert read_synthetic_metadata(tmp_path / "talk.mp4") is not None
    part = browser.client.get(f"/gradio_api/file={video['value']['path']}", headers={"range": "bytes=0-99"})
    assert part.content == answer.content[:100]

    other = pages.Browser(page)
    for path in (video["value"]["path"], shown[0]):
        assert other.client.get(f"/gradio_api/file={path}").status_code == 404
        assert other.join("look", pages.file(path), pages.UPRIGHT).status_code == 404
    assert other.client.get("/gradio_api/queue/data", params={"session_hash": browser.tab}).status_code == 404
    other.close()


def test_faces_are_found_and_numbered(pages: ModuleType, browser: Any, photo: Path, tmp_path: Path) -> None:
    import PIL.Image

    image = PIL.Image.open(photo)
    both = PIL.Image.new("RGB", (600, 300))
    both.paste(image, (0, 0))
    both.paste(image, (300, 0))
    both.save(tmp_path / "two.png")
    two = pages.file(browser.upload(tmp_path / "two.png")[0])
    preview, radio, message, _ = pages.last(browser.run("look", two, pages.UPRIGHT))
    assert preview["visible"]
    assert radio["visible"]
    assert [label for label, _ in radio["choices"]] == ["Face 1", "Face 2"]
    assert "2 faces were found" in message["value"]
    found = browser.client.get(f"/gradio_api/file={preview['value']['path']}")
    assert found.headers["content-type"] == "image/jpeg"


def test_everybody_in_a_video_is_found_and_it_is_looked_at_once(
    pages: ModuleType, browser: Any, photo: Path, short_speech: Path, tmp_path: Path
) -> None:
    import numpy as np
    import PIL.Image

    from speech2vid.media import VideoWriter

    image = np.asarray(PIL.Image.open(photo).convert("RGB").resize((200, 200)))
    with VideoWriter(tmp_path / "clip.mp4", 200, 200, audio_source=short_speech, preset="ultrafast") as writer:
        for _ in range(30):
            writer.write(image)
    video, audio = browser.upload(tmp_path / "clip.mp4", short_speech)
    messages = browser.run("look_video", pages.file(video), pages.UPRIGHT)
    no_leak(json.dumps(messages))
    assert re.search(r"Looking at the video: \d+ of \d+ frames", json.dumps(messages))
    preview, radio, message, _ = pages.last(messages)
    assert not preview["visible"], "one person is no choice"
    assert not radio["visible"]
    assert not message["visible"]
    inputs = [pages.UPRIGHT, pages.file(video), pages.file(audio), None, None, True]
    options = ["As long as the shorter", "Follow all audio", "By Poisson blending", "Lower half of the face", ""]
    messages = browser.run("redub", *inputs, *options)
    assert "Making the video: " in json.dumps(messages)
    assert "Looking at the video: " not in json.dumps(messages)
    status = pages.last(messages)[0]
    assert "1.2 s of video" in status
    assert "looked at beforehand is not counted" in status


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("photo.jpg", b"not an image", "Photo.jpg is not an image"),
        ("photo.png", b"", "Photo.png is empty"),
        ("<img src=x onerror=alert(1)>.jpg", b"\xff\xd8\xff", "is not an image"),
    ],
)
def test_a_bad_photo_gets_a_sentence(
    pages: ModuleType, browser: Any, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    messages = browser.run("look", pages.file(browser.upload(tmp_path / name)[0]), pages.UPRIGHT)
    no_leak(json.dumps(messages))
    message = pages.last(messages)[2]["value"]
    assert says in message
    assert "s2v-failure" in message
    assert "<img" not in message


def test_what_is_missing_is_said(pages: ModuleType, browser: Any, photo: Path, short_speech: Path) -> None:
    shown = browser.upload(photo, short_speech)
    for arguments, says in (
        (pages.talk(None, shown[1]), "no photo"),
        (pages.talk(shown[0], None), "no audio"),
        (pages.talk(*shown, agreed=False), "consent"),
    ):
        assert says in pages.last(browser.run("talk", *arguments))[0]


def test_a_audio_that_is_too_long_is_refused(pages: ModuleType, browser: Any, photo: Path, speech: Path) -> None:
    messages = browser.run("talk", *pages.talk(*browser.upload(photo, speech)))
    no_leak(json.dumps(messages))
    assert "Demo_speech.wav is too long: 9 s, and this server takes up to 3 s." in pages.last(messages)[0]


def test_a_header_that_lies_about_the_length_gains_nothing(
    pages: ModuleType, browser: Any, photo: Path, speech: Path, tmp_path: Path
) -> None:
    content = bytearray(speech.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"  # as recorders write that do not know the length yet
    (tmp_path / "lies.wav").write_bytes(content)
    messages = browser.run("talk", *pages.talk(*browser.upload(photo, tmp_path / "lies.wav")))
    assert "too long" in pages.last(messages)[0]


def test_uploads_have_a_limit(page: Any, browser: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    large.write_bytes(bytes(3_200_000))
    with large.open("rb") as file:
        answer = browser.client.post("/gradio_api/upload", files={"files": file})
    assert answer.status_code == 413
    assert "up to 2 MB" in answer.json()["detail"]
    large.write_bytes(bytes(2_100_000))
    assert browser.client.post("/gradio_api/upload", files={"files": large.read_bytes()}).status_code == 413
    unknown = browser.client.post(
        "/gradio_api/upload", content=iter([b"x"]), headers={"content-type": "multipart/form-data"}
    )
    assert unknown.status_code == 411
    huge = {"fn_index": 0, "data": ["x" * 300_000], "session_hash": browser.tab}
    assert browser.client.post("/gradio_api/queue/join", json=huge).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/private/../../../etc/passwd",
        "/private/%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "/private/.lock",
        "/private/made",
        "/private",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "C:/Windows/win.ini",
        "/private/x%00.jpg",
    ],
)
def test_no_other_file_is_served(pages: ModuleType, browser: Any, path: str) -> None:
    answer = browser.client.get(f"/gradio_api/file={path}")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not found."}
    assert browser.join("look", pages.file(path), pages.UPRIGHT).status_code == 404


def test_the_folders_own_name_is_not_a_key(page: Any, browser: Any, photo: Path) -> None:
    (shown,) = browser.upload(photo)
    assert browser.client.get(f"/gradio_api/file={shown}").status_code == 200
    real = shown.replace("/private", str(page.storage))
    assert Path(real).exists()
    assert browser.client.get(f"/gradio_api/file={real}").status_code == 404


def test_nothing_is_fetched_for_a_visitor(browser: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(1)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/x.jpg"
        for given in ({"path": address}, {"url": address}, {"path": None, "url": address}):
            data = [{**given, "meta": {"_type": "gradio.FileData"}}]
            body = {"fn_index": browser.functions["look"], "data": data, "session_hash": browser.tab}
            assert browser.client.post("/gradio_api/queue/join", json=body).status_code in (400, 404)
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize(
    "path",
    [
        "/docs",
        "/openapi.json",
        "/monitoring",
        "/login",
        "/gradio_api/info",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/deep_link?session_hash=tab12345",
        "/gradio_api/token",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/vibe-code",
    ],
)
def test_routes_that_the_page_does_not_use_do_not_exist(browser: Any, path: str) -> None:
    assert browser.client.get(path).status_code == 404
    assert browser.client.post(path, json={}).status_code == 404


def test_the_page_itself_tells_nothing_and_asks_nobody(page: Any, browser: Any) -> None:
    for path in ("/", "/config"):
        answer = browser.client.get(path)
        no_leak(answer.text)
        assert str(page.storage) not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    links = re.findall(r"""(?:src|href)=["'](?:https?:)?//([^/"']+)""", browser.client.get("/").text)
    assert not links
    fresh = browser.client.__class__(base_url=page.url).get("/")
    assert "HttpOnly" in fresh.headers["set-cookie"]
    assert "SameSite=Strict" in fresh.headers["set-cookie"]
    assert stat.S_IMODE(page.storage.stat().st_mode) == 0o700


def test_live_is_for_those_who_opened_the_page(page: Any, browser: Any, photo: Path) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    address = page.url.replace("http", "ws")
    mine = {"Cookie": f"speech2vid={browser.client.cookies['speech2vid']}"}
    for place, headers, origin in (
        ("/live", {}, None),
        ("/live", mine, "http://elsewhere.example"),
        ("/talk", mine, None),
    ):
        with pytest.raises(InvalidStatus):
            connect(address + place, additional_headers=headers, origin=origin)
    with connect(f"{address}/live", additional_headers=mine, origin=page.url) as socket:
        socket.send("{}")
        socket.send(photo.read_bytes())
        assert json.loads(socket.recv())["type"] == "ready"
        socket.send(bytes(2 * 16_000))
        image = socket.recv()
        assert isinstance(image, bytes)
        assert image[8:10] == b"\xff\xd8"


def begin(pages: ModuleType, browser: Any, photo: Path, audio: Path) -> Iterator[dict[str, Any]]:
    """Start a job; the messages from when it runs on."""
    assert browser.join("talk", *pages.talk(*browser.upload(photo, audio))).status_code == 200
    messages: Iterator[dict[str, Any]] = browser.messages()
    for message in messages:
        if message["msg"] == "process_generating":
            return messages
    raise AssertionError("it never ran")


@pytest.fixture(scope="module")
def three_seconds(tmp_path_factory: pytest.TempPathFactory, cut_speech: Callable[..., Path]) -> Path:
    return cut_speech(tmp_path_factory.mktemp("sound") / "three.wav", 2.9)


def test_cancel_stops_the_work_and_removes_what_was_begun(
    pages: ModuleType, page: Any, browser: Any, photo: Path, three_seconds: Path
) -> None:
    before = set(page.generated())
    messages = begin(pages, browser, photo, three_seconds)
    assert set(page.generated()) - before
    stop = {"fn_index": browser.functions["stop_talk"], "data": [], "session_hash": browser.tab}
    assert browser.client.post("/gradio_api/run/predict", json=stop).status_code == 200
    status, *_ = pages.last(list(messages))
    assert "Stopped." in status
    assert set(page.generated()) == before


def test_a_crash_costs_one_job_and_the_page_goes_on(
    pages: ModuleType, page: Any, browser: Any, photo: Path, three_seconds: Path, short_speech: Path
) -> None:
    """Two visitors: the job of one is killed, that of the other follows."""
    before = set(page.generated())
    messages = begin(pages, browser, photo, three_seconds)
    other = pages.Browser(page)
    assert other.join("talk", *pages.talk(*other.upload(photo, short_speech))).status_code == 200
    for pid in page.workers():
        os.kill(pid, signal.SIGSEGV)
    status, *_, make, cancel = pages.last(list(messages))
    no_leak(json.dumps(status))
    assert "ended unexpectedly (SIGSEGV)" in status
    assert make["interactive"]
    assert not cancel["interactive"]
    assert "1.2 s of video" in pages.last(list(other.messages()))[0]
    other.close()
    assert len(set(page.generated()) - before) == 1


def test_page_and_endpoint_share_one_queue(
    pages: ModuleType, photo: Path, three_seconds: Path, short_speech: Path, tmp_path: Path
) -> None:
    with pages.flawless_page(tmp_path, LIMITS, 'endpoint=True, token="secret"') as page:
        mine = {"Authorization": "Bearer secret"}
        with pages.httpx.Client(base_url=f"{page.url}/api", headers=mine, timeout=60) as client:
            visitor = pages.Browser(page)
            messages = begin(pages, visitor, photo, three_seconds)
            files = {"face": photo.read_bytes(), "audio": short_speech.read_bytes()}
            job = client.post("/talk?wait=false", files=files)
            assert job.status_code == 202, job.text
            assert job.headers["location"] == f"/api/jobs/{job.json()['id']}"
            assert job.json()["before"] == 1
            assert "s of video" in pages.last(list(messages))[0]
            assert eventually(lambda: client.get(f"/jobs/{job.json()['id']}").json()["state"] == "done", 120)
            assert client.get(f"/jobs/{job.json()['id']}/result").headers["content-type"] == "video/mp4"
            assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert client.get("/docs").status_code == 200
            assert visitor.client.get("/docs").status_code == 404, "the page's own routes stay closed"
            visitor.close()


def test_a_client_that_vanishes_takes_its_work_along(
    pages: ModuleType, page: Any, photo: Path, three_seconds: Path, short_speech: Path
) -> None:
    before = set(page.generated())
    gone = pages.Browser(page)
    messages = begin(pages, gone, photo, three_seconds)
    messages.close()  # type: ignore[attr-defined]
    gone.close()
    assert eventually(lambda: set(page.generated()) == before)
    following = pages.Browser(page)
    assert "1.2 s of video" in pages.last(following.run("talk", *pages.talk(*following.upload(photo, short_speech))))[0]
    following.close()


def test_a_closed_page_leaves_nothing(pages: ModuleType, page: Any, photo: Path, tmp_path: Path) -> None:
    before = {path for path in page.storage.rglob("*") if path.is_file()}
    visitor = pages.Browser(page)
    (tmp_path / "other.jpg").write_bytes(photo.read_bytes() + b" ")  # nobody else has the same
    (shown,) = visitor.upload(tmp_path / "other.jpg")
    mine = page.storage / shown.removeprefix("/private/")
    with visitor.client.stream("GET", f"/gradio_api/heartbeat/{visitor.tab}") as heartbeat:
        beats = heartbeat.iter_lines()  # dropping it would close the connection
        next(beats)
        pages.last(visitor.run("look", pages.file(shown), pages.UPRIGHT))
        assert {path for path in page.storage.rglob("*") if path.is_file()} - before
    assert eventually(lambda: not {path for path in page.generated() if path not in before} and not mine.exists())
    assert not mine.exists()
    visitor.close()


def test_a_hundred_at_once(pages: ModuleType, page: Any, photo: Path, short_speech: Path) -> None:
    """One runs, three wait, the others are told so; every one gets an answer, and the page goes on."""

    def visit(number: int) -> str:
        visitor = pages.Browser(page)
        try:
            shown = visitor.upload(photo, short_speech)
            answer = visitor.join("talk", *pages.talk(*shown))
            if answer.status_code != 200:
                assert answer.status_code == 503
                return str(answer.json()["detail"])
            return str(pages.last(list(visitor.messages()))[0])
        finally:
            visitor.close()

    with ThreadPoolExecutor(100) as crowd:
        answers = list(crowd.map(visit, range(100)))
    generated = [answer for answer in answers if "1.2 s of video" in answer]
    busy = [answer for answer in answers if "The server is busy" in answer]
    assert len(generated) >= 4
    assert len(generated) + len(busy) == 100
    no_leak("".join(answers))


def test_the_command_says_where_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    process = start(
        [sys.executable, "-c", "from speech2vid.cli import main; main()", "app", "--port", "0"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found, line
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60):
        pass
    (storage,) = tmp_path.glob("speech2vid-app-*")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not storage.exists()


def test_a_taken_port_and_a_missing_extra_are_said(
    speech2vid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = speech2vid("app", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1
    assert "cannot listen on 127.0.0.1" in result.stderr
    assert "--port" in result.stderr

    code = "import sys; sys.modules['gradio'] = None; from speech2vid.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "app"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert "pip install 'speech2vid[app]'" in result.stderr
