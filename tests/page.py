"""The page in a process of its own, and a client that speaks to it as the browser's script does."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from processes import start

UPRIGHT = "Upright faces"  # the choice of detector and landmarks


@dataclass
class Page:
    """A running page."""

    url: str
    folder: Path  # the temporary folder that it was given
    process: subprocess.Popen[str]

    @property
    def storage(self) -> Path:
        """Its private folder."""
        (found,) = self.folder.glob("speech2vid-app-*")
        return found

    def generated(self) -> list[Path]:
        """Files of jobs, done or not."""
        found = os.walk(self.storage / "made")  # which goes on where a folder is removed meanwhile
        return [
            Path(folder) / name for folder, _, names in found for name in names if "uploads" not in Path(folder).parts
        ]

    def workers(self) -> list[int]:
        """Its worker processes, from Linux's own list."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == self.process.pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


SERVE = """
import contextlib
from speech2vid.app.settings import Limits
from speech2vid.app.server import serve
with contextlib.suppress(KeyboardInterrupt):
    serve("127.0.0.1", 0, Limits({limits}), page=True, {options}, ready=lambda url: print(url, flush=True))
"""


@contextlib.contextmanager
def running_page(folder: Path, limits: str = "", options: str = "endpoint=False") -> Iterator[Page]:
    """Serve the page on a free port, with temporary files in ``folder``."""
    log = folder / "page.log"
    with log.open("w") as errors:
        process = start(
            [sys.executable, "-c", SERVE.format(limits=limits, options=options)],
            env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    page = Page("", folder, process)
    try:
        page.url = process.stdout.readline().strip()
        assert page.url, log.read_text()
        yield page
    finally:
        page.stop()


@contextlib.contextmanager
def flawless_page(folder: Path, limits: str = "", options: str = "endpoint=False") -> Iterator[Page]:
    """The same; in the end it has nothing to report, and has removed every file."""
    with running_page(folder, limits, options) as page:
        yield page
    assert not list(folder.glob("speech2vid-app-*"))
    assert "Traceback" not in (folder / "page.log").read_text()


@dataclass
class Browser:
    """One visitor: a cookie, a tab, and the requests that the page's script sends."""

    page: Page
    tab: str = field(default_factory=lambda: secrets.token_hex(6))
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.page.url, timeout=60)
        answer = self.client.get("/config")
        answer.raise_for_status()
        self.functions = {each["api_name"]: each["id"] for each in answer.json()["dependencies"]}

    def upload(self, *files: Path) -> list[str]:
        """Shown paths of the uploaded files."""
        answer = self.client.post("/gradio_api/upload", files=[("files", (f.name, f.read_bytes())) for f in files])
        answer.raise_for_status()
        return list(answer.json())

    def join(self, function: str, *data: Any) -> httpx.Response:
        """Ask for work."""
        body = {"fn_index": self.functions[function], "data": list(data), "session_hash": self.tab}
        return self.client.post("/gradio_api/queue/join", json=body)

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the page says to this tab, until it has nothing more to say."""
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.tab}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    message = json.loads(line[5:])
                    yield message
                    if message["msg"] == "close_stream":
                        return

    def run(self, function: str, *data: Any) -> list[dict[str, Any]]:
        """Ask for work and wait for its end."""
        answer = self.join(function, *data)
        assert answer.status_code == 200, answer.text
        return list(self.messages())

    def close(self) -> None:
        self.client.close()


def talk(photo: str | None, audio: str | None, *, agreed: bool = True) -> tuple[Any, ...]:
    """What the tab Talk sends, in the order in which its components were made."""
    inputs = (UPRIGHT, file(photo), file(audio), None, None, agreed)
    still = "Only the mouth moves"
    # more photos, crop, motion, silence, weights, label
    options = (None, True, still, "Keep the mouth closed", "", False)
    return (*inputs, *options)


def last(messages: list[dict[str, Any]]) -> list[Any]:
    """What the tab shows in the end."""
    (done,) = [message for message in messages if message["msg"] == "process_completed"]
    assert done["success"], done
    return list(done["output"]["data"])


def file(path: str | None) -> dict[str, Any] | None:
    """A file as the page's script names it."""
    return None if path is None else {"path": path, "meta": {"_type": "gradio.FileData"}}
