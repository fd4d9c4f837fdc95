"""The page under fire: hostile uploads, uploads that break off, a full disk, the end of the server. See also
``contract/test_app.py``, for crowds and for visitors who vanish."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fuzzing import damaged
from started import started

from processes import eventually

pytestmark = pytest.mark.slow

LIMITS = "max_upload_mb=2, max_seconds=3, pause_s=1, grace_s=0.5"


@pytest.mark.parametrize("seed", range(24))
def test_damaged_files_get_a_sentence(
    seed: int, pages: ModuleType, browser: Any, samples: dict[str, bytes], tmp_path: Path
) -> None:
    """A sentence of the library, never one of what the page cannot explain."""
    kind = ("jpg", "png", "mp4", "mkv")[seed % 4]
    bad = tmp_path / f"me.{kind}"
    bad.write_bytes(damaged(samples[kind], seed))
    shown = pages.file(browser.upload(bad)[0])
    name = "look" if kind in ("jpg", "png") else ("look_video", "sync")[seed // 4 % 2]
    given = (shown,) if name == "sync" else (shown, pages.UPRIGHT)
    said = json.dumps(browser.run(name, *given))
    assert '"success": true' in said
    assert "cannot explain" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "name",
    ["../../../evil.jpg", "/etc/evil.jpg", "..", "a\0b.jpg", "ä" * 300 + ".jpg", "-rf.jpg", "%2e%2e%2fevil.jpg", ""],
)
def test_a_name_leads_nowhere(name: str, pages: ModuleType, page: Any, browser: Any, samples: dict[str, bytes]) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n--x--\r\n'
    content = body % (name.encode(), samples["jpg"])
    answer = browser.client.post(
        "/gradio_api/upload", content=content, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code < 500
    if answer.status_code == 200:
        for shown in answer.json():
            assert shown.startswith("/private/")
            assert (page.storage / shown.removeprefix("/private/")).resolve().is_relative_to(page.storage.resolve())
            assert '"success": true' in json.dumps(browser.run("look", pages.file(shown), pages.UPRIGHT))
    assert not list(page.folder.glob("evil*"))


@pytest.mark.parametrize("ending", ["hangs up", "stays silent"])
def test_half_an_upload_does_not_stay(ending: str, pages: ModuleType, page: Any, browser: Any) -> None:
    """It counts for the room that all visitors share."""
    port = int(page.url.rsplit(":", 1)[1])
    before = set(page.storage.iterdir())
    head = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 1000000\r\n\r\n"
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + bytes(400_000))
        assert eventually(lambda: set(page.storage.iterdir()) - before)
        (half,) = set(page.storage.iterdir()) - before
        if ending == "stays silent":
            connection.settimeout(20)
            connection.recv(1000)  # an answer, or the end
    time.sleep(0.5)
    os.utime(half, (time.time() - 61,) * 2)  # a minute passes
    assert eventually(lambda: not half.exists())
    assert browser.client.get("/").status_code == 200


def children_of(pid: int) -> list[int]:
    """Processes of a process, from Linux's own list."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_full_disk(pages: ModuleType, photo: Path, second: Path, tmp_path: Path) -> None:
    """First for the result, then for the upload: said in a sentence, nothing kept, and the page goes on."""
    import resource

    def let_files_grow(size: int) -> None:
        for pid in (page.process.pid, *children_of(page.process.pid)):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with pages.running_page(tmp_path, LIMITS) as page:
        visitor = pages.Browser(page)
        shown = visitor.upload(photo, second)
        let_files_grow(10_000)
        status = pages.last(visitor.run("talk", *pages.talk(*shown)))[0]
        assert "could not be written here" in status
        assert not page.generated()
        answer = visitor.client.post("/gradio_api/upload", files={"files": ("other.jpg", bytes(20_000))})
        assert answer.status_code == 507
        assert "no room" in answer.json()["detail"]
        visitor.close()
        let_files_grow(resource.RLIM_INFINITY)
        visitor = pages.Browser(page)
        status = pages.last(visitor.run("talk", *pages.talk(*visitor.upload(photo, second))))[0]
        assert "1.0 s of video" in status
        visitor.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_server_in_the_middle_of_a_job(
    number: signal.Signals, pages: ModuleType, photo: Path, cut_speech: Callable[..., Path], tmp_path: Path
) -> None:
    with started("app", temp=tmp_path) as (process, url):
        page = pages.Page(url, tmp_path, process)
        visitor = pages.Browser(page)
        minute = cut_speech(tmp_path / "minute.wav", 60)
        assert visitor.join("talk", *pages.talk(*visitor.upload(photo, minute))).status_code == 200
        messages = visitor.messages()
        while not [path for path in page.generated() if path.name.startswith(".")]:
            next(messages)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else 130), errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("speech2vid-app-*"))
