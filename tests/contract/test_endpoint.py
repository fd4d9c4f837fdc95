"""The endpoint's verbs, its jobs by id, its guards, and a crash in the middle of a job."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image
import pytest

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

from starlette.testclient import TestClient

from speech2vid.app import webhooks
from speech2vid.app.forms import SERVER_OPTIONS
from speech2vid.app.server import Server, endpoint_app
from speech2vid.app.settings import Limits
from speech2vid.inference.options import RedubOptions, TalkOptions
from speech2vid.media import probe, read_synthetic_metadata

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Server:
    return Server(Limits(max_seconds=200, waiting=2))


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(endpoint_app(server), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def portrait(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("endpoint") / "me.jpg"
    PIL.Image.open(photo).convert("RGB").crop((80, 0, 380, 300)).save(path)
    return path


@pytest.fixture(scope="module")
def minutes(cut_speech: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that keeps a worker busy until the job is cancelled."""
    return cut_speech(tmp_path_factory.mktemp("audio") / "long.wav", 180)


@pytest.fixture(autouse=True)
def nothing_left(server: Server) -> Iterator[None]:
    yield
    assert not [path for path in server.storage.root.rglob("*") if path.is_file() and path.name != ".lock"]


def post(client: TestClient, path: str, files: dict[str, Path], **fields: str) -> Any:
    return client.post(path, files=[(name, file.read_bytes()) for name, file in files.items()], data=fields)


def begin(client: TestClient, files: dict[str, Path]) -> str:
    """Submit a job of ``/talk``; return its address."""
    answer = post(client, "/talk?wait=false", files)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    return str(answer.headers["location"])


def state_of(client: TestClient, job: str, until: Callable[[JSON], object]) -> JSON:
    """The state of a job as soon as a condition holds."""
    while True:
        status: JSON = client.get(job).json()
        if until(status):
            return status
        time.sleep(0.05)


def ended(status: JSON) -> bool:
    return status["state"] not in ("waiting", "running")


def advances(status: JSON) -> bool:
    assert not ended(status), status
    return bool(status.get("done"))


def test_a_job_is_looked_at_fetched_and_deleted(
    client: TestClient, portrait: Path, short_speech: Path, tmp_path: Path
) -> None:
    job = begin(client, {"face": portrait, "audio": short_speech})
    status = state_of(client, job, ended)
    assert (status["state"], status["verb"], status["result"]["frames"]) == ("done", "talk", 30), status
    for _ in range(2):
        answer = client.get(f"{job}/result")
        assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "got.mp4").write_bytes(answer.content)
    assert read_synthetic_metadata(tmp_path / "got.mp4") is not None
    assert client.delete(job).status_code == 204
    for answer in (client.get(job), client.get(f"{job}/result"), client.delete(job)):
        assert answer.status_code == 404
        assert "no such job" in answer.json()["error"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_costs_one_job(
    client: TestClient, portrait: Path, minutes: Path, short_speech: Path, number: signal.Signals
) -> None:
    job = begin(client, {"face": portrait, "audio": minutes})
    state_of(client, job, advances)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, number)
    status = state_of(client, job, ended)
    assert status["state"] == "failed"
    assert f"ended unexpectedly ({number.name})" in status["error"]
    assert status["hint"]
    assert client.get(f"{job}/result").status_code == 500
    assert client.get("/health").status_code == 200
    assert post(client, "/talk", {"face": portrait, "audio": short_speech}).status_code == 200
    client.delete(job)


def test_jobs_wait_in_order_and_are_cancelled(client: TestClient, portrait: Path, minutes: Path) -> None:
    files = {"face": portrait, "audio": minutes}
    first, second, third = (begin(client, files) for _ in range(3))
    state_of(client, first, advances)
    assert [client.get(job).json()["before"] for job in (second, third)] == [1, 2]
    assert client.get(f"{first}/result").status_code == 409
    full = post(client, "/talk", files)
    assert (full.status_code, full.headers["retry-after"]) == (503, "30")
    assert "2 jobs are waiting already" in full.json()["error"]
    assert client.delete(second).status_code == 204
    assert client.get(third).json()["before"] == 1
    assert client.delete(first).status_code == 204
    state_of(client, third, advances)
    assert client.delete(third).status_code == 204


def test_a_face_is_chosen_by_its_index(client: TestClient, portrait: Path, short_speech: Path, tmp_path: Path) -> None:
    image = PIL.Image.open(portrait)
    both = PIL.Image.new("RGB", (600, 300))
    both.paste(image, (0, 0))
    both.paste(image, (300, 0))
    both.save(tmp_path / "two.png")
    found = post(client, "/people", {"face": tmp_path / "two.png"}).json()
    assert [person["face_index"] for person in found["people"]] == [0, 1]
    assert found["people"][0]["box"][2] <= 300 <= found["people"][1]["box"][0]
    files = {"face": tmp_path / "two.png", "audio": short_speech}
    unclear = post(client, "/talk", files)
    assert unclear.status_code == 422
    assert "face_index" in unclear.json()["hint"]
    assert "--" not in unclear.text
    assert post(client, "/talk", files, face_index="1").status_code == 200
    assert "face_index cannot be 'left'" in post(client, "/talk", files, face_index="left").json()["error"]


def test_a_video_is_redubbed_measured_and_searched(
    client: TestClient, face_clip: Callable[..., Path], short_speech: Path, tmp_path: Path
) -> None:
    video = face_clip(tmp_path / "clip.mp4", frames=40)
    answer = post(client, "/redub", {"video": video, "audio": short_speech}, length="video")
    assert answer.status_code == 200, answer.text
    (tmp_path / "got.mp4").write_bytes(answer.content)
    assert probe(tmp_path / "got.mp4").duration_s == pytest.approx(1.6, abs=0.05)
    found = post(client, "/people", {"video": video})
    assert len(found.json()["people"]) == 1, found.text
    measured = post(client, "/sync", {"video": video}).json()
    assert {"offset_frames", "offset_s", "confidence"} <= set(measured)
    if not measured["sure"]:
        refused = post(client, "/sync", {"video": video}, fix="true")
        assert refused.status_code == 422
        assert refused.json()["error"] == "the audio offset of the video file is not sure"


def test_the_form_says_which_file_it_needs(client: TestClient, portrait: Path, short_speech: Path) -> None:
    assert "no file 'audio'" in post(client, "/talk", {"face": portrait}).json()["error"]
    assert (
        "'video' or 'face'"
        in post(
            client,
            "/people",
            {},
        ).json()["error"]
    )
    assert "no file 'sound'" in post(client, "/talk", {"face": portrait, "sound": short_speech}).json()["error"]


def test_the_documentation_lists_every_request(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    paths = {f"{method} {path}" for path, methods in schema["paths"].items() for method in methods}
    verbs = {f"post /{verb}" for verb in ("talk", "redub", "sync", "people")}
    jobs = {"get /jobs/{id}", "get /jobs/{id}/result", "delete /jobs/{id}"}
    assert paths == verbs | jobs | {"get /health", "get /metrics"}
    form = schema["paths"]["/talk"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["face", "audio"]
    assert {"face_index", "silence", "crop", "label", "crf", "webhook"} <= set(form["properties"])
    redub = schema["paths"]["/redub"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for record, properties in ((TalkOptions, form["properties"]), (RedubOptions, redub)):
        offered = {each.name: each for each in fields(record) if each.name not in SERVER_OPTIONS}
        assert set(offered) <= set(properties)
        for name, option in offered.items():
            assert properties[name]["description"] == option.metadata["flag"].help
            assert properties[name].get("default") == option.default


def test_mistakes_of_http_are_answered_like_all_others(client: TestClient) -> None:
    answer = client.post("/talk?wait=perhaps")
    assert answer.status_code == 422
    assert answer.json()["error"] == "wait cannot be 'perhaps'"
    answer = client.put("/jobs/0")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")
    assert set(answer.json()) == {"error", "hint"}


def test_documentation_page_loads_nothing_from_other_servers(client: TestClient) -> None:
    page = client.get("/docs").text
    addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert any(address.endswith("swagger-ui-bundle.js") for address in addresses)
    for address in addresses:
        assert address.startswith("/"), address
        assert client.get(address).status_code == 200, address
    assert "http" not in page.replace("http-equiv", "")


def test_what_the_server_decides_cannot_be_set_by_a_form(
    client: TestClient, portrait: Path, short_speech: Path
) -> None:
    files = {"face": portrait, "audio": short_speech}
    for name in sorted(SERVER_OPTIONS - {"weights"}):
        assert f"there is no setting '{name}'" in post(client, "/talk", files, **{name: "x"}).json()["error"]
    assert "weights cannot be '/etc/passwd'" in post(client, "/talk", files, weights="/etc/passwd").json()["error"]
    assert "max_size_px cannot be '9999'" in post(client, "/talk", files, max_size_px="9999").json()["error"]
    assert post(client, "/talk", files, weights="default", max_size_px="128", landmarks="mesh").status_code == 200


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; refuses the first time, redirects at ``/elsewhere``."""

    posts: ClassVar[list[tuple[str, Any, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posts.append((self.path, self.headers, body))
        if self.path == "/elsewhere":
            self.send_response(307)
            self.send_header("Location", "/hook")
        else:
            self.send_response(500 if len(self.posts) == 1 else 204)
        self.end_headers()

    def log_message(self, *details: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a webhook."""
    monkeypatch.setattr(webhooks, "PAUSES_S", (0.0, 0.01, 0.01))
    Hook.posts.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()


def test_end_of_a_job_is_reported_to_an_allowed_webhook_and_signed(
    server: Server, client: TestClient, hook: str, portrait: Path, short_speech: Path
) -> None:
    files = {"face": portrait, "audio": short_speech}
    refused = post(client, "/talk?wait=false", files, webhook=hook)
    assert refused.status_code == 422
    assert "webhooks to '127.0.0.1' are not allowed" in refused.json()["error"]
    other = Server(Limits(max_seconds=200))
    with TestClient(
        endpoint_app(other, token="secret", webhook_hosts=("127.0.0.1",)), headers={"Authorization": "Bearer secret"}
    ) as listening:
        early = post(listening, "/talk", files, webhook=hook)
        assert early.json()["error"] == "a webhook needs wait=false"
        assert (
            "webhook cannot be 'file:"
            in post(listening, "/talk?wait=false", files, webhook="file:///etc/passwd").json()["error"]
        )
        answer = post(listening, "/talk?wait=false", files, webhook=f"{hook}/hook")
        assert answer.status_code == 202, answer.text
        while len(Hook.posts) < 2:
            time.sleep(0.05)
        (path, headers, body), again = Hook.posts
        assert path == "/hook"
        assert body == again[2], "a second attempt after the failure"
        status = json.loads(body)
        assert (status["id"], status["state"], status["result"]["frames"]) == (answer.json()["id"], "done", 30)
        signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        assert headers["X-Speech2vid-Signature"] == f"sha256={signature}"
        listening.delete(f"/jobs/{status['id']}")


def test_webhook_does_not_follow_redirects(hook: str) -> None:
    assert not webhooks.send(f"{hook}/elsewhere", {"id": "a"}, None)
    assert {path for path, _, _ in Hook.posts} == {"/elsewhere"}


def test_metrics_count_jobs_and_crashes(client: TestClient, portrait: Path, short_speech: Path) -> None:
    def value(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)

    done = 'speech2vid_jobs_total{outcome="done",verb="talk"}'
    before = value(done)
    assert post(client, "/talk", {"face": portrait, "audio": short_speech}).status_code == 200
    assert value(done) == before + 1
    assert value("speech2vid_jobs_running") == 0
    assert value("process_resident_memory_bytes") > 0


def test_the_token_and_the_host_names_are_checked() -> None:
    app = endpoint_app(Server(), hosts=("api.example",), token="secret")
    with TestClient(app, base_url="http://api.example") as client:
        assert client.get("/health").status_code == 200
        assert "bearer" in client.get("/openapi.json").json()["components"]["securitySchemes"]
        for given in ("", "Bearer wrong", "Basic secret", "Bearer sécret"):
            answer = client.get("/metrics", headers={"Authorization": given.encode()})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200
        answer = client.get("/health", headers={"Host": "other.example"})
        assert answer.status_code == 403
        assert "'other.example'" in answer.json()["error"]
        assert "--trusted-hosts" in answer.json()["hint"]
