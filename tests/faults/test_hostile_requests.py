"""The endpoint under fire: damaged uploads, clients that vanish, crowds, a full disk, the end of the server."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from fuzzing import damaged
from started import started

from processes import eventually

pytest.importorskip("starlette")
pytest.importorskip("websockets")

import httpx
import uvicorn
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from speech2vid.app.server import Server, endpoint_app
from speech2vid.app.settings import Limits
from speech2vid.media import read_synthetic_metadata

LIMITS = Limits(max_upload_mb=1, max_seconds=5)
SHORT_S = 0.3


@pytest.fixture(scope="module")
def good(photo: Path, cut_speech: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A photo, 0.3 s and two minutes of audio."""
    folder = tmp_path_factory.mktemp("good")
    encoded = io.BytesIO()
    with PIL.Image.open(photo) as image:
        image.convert("RGB").resize((256, 256)).save(encoded, "jpeg")
    long = cut_speech(folder / "long.wav", 120)
    return {
        "face": encoded.getvalue(),
        "audio": cut_speech(folder / "short.wav", SHORT_S).read_bytes(),
        "long": long.read_bytes(),
    }


@pytest.fixture(scope="module")
def server(drawn_weights: Path) -> Server:
    return Server(LIMITS, weights=drawn_weights)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(endpoint_app(server), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def nothing_left(server: Server, clean_temp: Path) -> Iterator[None]:
    """No file of a job is left with the server, nor in the system's temporary folder."""
    yield
    assert not [path for path in server.storage.root.rglob("*") if path.is_file() and path.name != ".lock"]


def jobs_in(folder: Path) -> list[Path]:
    """Folders of the jobs of the server whose temporary folder this is."""
    return list(folder.glob("speech2vid-app-*/made/*/*/*"))


def at_work(folder: Path) -> list[Path]:
    """Videos that are being written."""
    return list(folder.glob("speech2vid-app-*/made/*/*/*/.talk*"))


def png_of(width: int, height: int) -> bytes:
    """The header of a picture of this size, and no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@dataclass
class Form:
    """What is posted: the good files, but for …"""

    parts: dict[str, bytes | None] = field(default_factory=dict)
    name: str = "me"
    fields: dict[str, str] = field(default_factory=dict)
    more: list[tuple[str, tuple[str, bytes]]] = field(default_factory=list)

    def files(self, good: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
        given = {name: self.parts.get(name, good[name]) for name in ("face", "audio")}
        return [(name, (self.name, content)) for name, content in given.items() if content is not None] + self.more


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
HOSTILE = {
    "no photo in it": Form({"face": b""}),
    "no audio in it": Form({"audio": b""}),
    "audio as the photo": Form({"face": b"RIFF\x24\0\0\0WAVEfmt "}),
    "a picture as the audio": Form({"audio": png_of(8, 8)}),
    "a picture that wants the memory": Form({"face": png_of(60_000, 60_000)}),
    "a picture of no size": Form({"face": png_of(0, 0)}),
    "a list of other files as the audio": Form({"audio": PLAYLIST}),
    "a list of other files as the photo": Form({"face": PLAYLIST}),
    "a script as the photo": Form({"face": b"%!PS-Adobe-3.0\n(/etc/passwd) run\n"}),
    "too many files": Form(more=[("face", ("b", b"x"))]),
    "a file where a field belongs": Form(more=[("silence", ("b", b"hold"))]),
    "a field of another type": Form(fields={"crop": "[" * 900}),
    "an unknown field": Form(fields={"outfile": "/etc/passwd"}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_form_is_refused_in_words(
    what: str, client: TestClient, good: dict[str, bytes], nothing_left: None
) -> None:
    form = HOSTILE[what]
    answer = client.post("/talk", files=form.files(good), data=form.fields)
    is_refusal(answer)


@pytest.mark.parametrize(
    "name", ["../../../../evil.png", "/etc/passwd", "-i.png", "a\0b", "ä" * 300, "|id", "%03d", "."]
)
def test_a_name_is_only_a_name(
    name: str, client: TestClient, good: dict[str, bytes], clean_temp: Path, nothing_left: None
) -> None:
    """Names of uploads go nowhere: a bad photo is refused for its content, whatever it is called."""
    answer = client.post("/talk", files=Form({"face": b"no picture"}, name=name).files(good))
    is_refusal(answer)
    assert not list(clean_temp.parent.rglob("evil*"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"face": "/etc/passwd"}'),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=photo; filename=a\r\n\r\nhal",
        ),
        ("multipart/form-data; boundary=x", b"\xff" * 5000),
        ("application/x-www-form-urlencoded", b"face=x&audio=y&" + b"a=b&" * 5000),
    ],
    ids=["json", "no boundary", "empty", "cut short", "no form", "many fields"],
)
def test_what_is_no_form_is_refused_in_words(client: TestClient, kind: str, body: bytes, nothing_left: None) -> None:
    is_refusal(client.post("/talk", content=body, headers={"content-type": kind}))


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.slow) for n in range(4, 60))])
def test_damaged_files(seed: int, client: TestClient, good: dict[str, bytes], nothing_left: None) -> None:
    name = ("face", "audio")[seed % 2]
    answer = client.post("/talk", files=Form({name: damaged(good[name], seed)}).files(good))
    if answer.status_code != 200:  # the damage may not matter
        is_refusal(answer)


def is_refusal(answer: httpx.Response) -> None:
    """A sentence of the client's own doing, without anything of the machine's files."""
    assert 400 <= answer.status_code < 500, answer.text
    said = answer.json()
    assert set(said) == {"error", "hint"}
    assert said["error"]
    for secret in ("/tmp", "speech2vid-", "Traceback", "/etc/passwd/", "site-packages"):
        assert secret not in answer.text


@pytest.mark.parametrize(
    "messages",
    [["{" * 100_000], ['{"quality": NaN}'], ['{"max_size_px": 1e999}'], ["{}", png_of(60_000, 60_000)], ["{}", b""]],
    ids=["deep", "no number", "endless", "large", "empty"],
)
def test_live_refuses_in_words(client: TestClient, messages: list[str | bytes], nothing_left: None) -> None:
    with client.websocket_connect("/live") as connection:
        for message in messages:
            (connection.send_text if isinstance(message, str) else connection.send_bytes)(message)  # type: ignore[operator]
        assert connection.receive_json()["type"] == "error"
        with pytest.raises(WebSocketDisconnect) as closed:
            connection.receive_json()
        assert closed.value.code == 1008


@contextmanager
def running(limits: Limits, weights: Path) -> Iterator[int]:
    """A real server in a thread; gives its port."""
    app = endpoint_app(Server(limits, weights=weights))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def body_of(photo: bytes, audio: bytes) -> bytes:
    parts = [
        b'--cut\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n' % each
        for each in ((b"face", photo), (b"audio", audio))
    ]
    return b"".join(parts) + b"--cut--\r\n"


def begin(port: int, body: bytes, share: float = 1.0) -> http.client.HTTPConnection:
    """Send (a part of) a request and do not wait for the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/talk")
    connection.putheader("Content-Type", "multipart/form-data; boundary=cut")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: int(share * len(body))])
    return connection


def is_well(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200


def test_clients_that_vanish(drawn_weights: Path, good: dict[str, bytes], clean_temp: Path) -> None:
    """Midway in the upload, in the work, while they wait for their turn, in the answer: each makes room."""
    limits = Limits(max_seconds=1e6, max_upload_mb=20, waiting=1)
    long, short = (body_of(good["face"], good[name]) for name in ("long", "audio"))
    with running(limits, drawn_weights) as port:
        uploading = begin(port, long, 0.5)
        assert eventually(lambda: jobs_in(clean_temp))
        uploading.close()
        assert eventually(lambda: not jobs_in(clean_temp))

        working = begin(port, long)
        assert eventually(lambda: at_work(clean_temp))
        for _ in range(3):  # one may wait: each makes room for the following one
            waiting = begin(port, short)
            assert eventually(lambda: len(jobs_in(clean_temp)) == 2)
            waiting.close()
            assert eventually(lambda: len(jobs_in(clean_temp)) == 1)
        working.close()
        assert eventually(lambda: not jobs_in(clean_temp))

        reading = begin(port, short)
        assert reading.getresponse().read(100)
        reading.close()
        assert eventually(lambda: not jobs_in(clean_temp))
        assert is_well(port)


def test_clients_that_stay_silent(drawn_weights: Path, good: dict[str, bytes], clean_temp: Path) -> None:
    """Half a request and no more: it is given up, and does not keep others out."""
    limits = Limits(waiting=1, pause_s=0.5)
    body = body_of(good["face"], good["audio"])
    with running(limits, drawn_weights) as port:
        silent = [begin(port, body, 0.5) for _ in range(2)]
        answers = [connection.getresponse() for connection in silent]
        assert [answer.status for answer in answers] == [408, 408]
        assert "nothing has come" in json.loads(answers[0].read())["error"]
        assert begin(port, body).getresponse().status == 200


def test_a_crowd(drawn_weights: Path, good: dict[str, bytes], clean_temp: Path) -> None:
    """One is at work, two wait, the others are told so; everybody gets an answer."""

    def post(_: int) -> tuple[int, str]:
        files = Form().files(good)
        answer = httpx.post(f"http://127.0.0.1:{port}/talk", files=files, timeout=120)
        return answer.status_code, answer.headers.get("retry-after", "")

    with running(Limits(waiting=2), drawn_weights) as port, ThreadPoolExecutor(24) as crowd:
        answers = list(crowd.map(post, range(24)))
        assert is_well(port)
    assert set(answers) <= {(200, ""), (503, "30")}
    assert answers.count((200, "")) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 1, 10_000, 30_000], ids=["enough", "nothing", "upload", "result"])
def test_a_full_disk(
    limit: int,
    drawn_weights: Path,
    good: dict[str, bytes],
    samples: dict[str, bytes],
    clean_temp: Path,
    tmp_path: Path,
) -> None:
    """Nothing of an upload, only some of it, or some of the result can be written."""
    form = Form({"audio": samples["mp3"]})  # a second, small beside the video that becomes of it
    assert max(map(len, (good["face"], samples["mp3"]))) < 30_000
    with started("serve", "--weights", drawn_weights, temp=clean_temp, limit_bytes=limit) as (_, url):
        for _ in range(2):
            answer = httpx.post(f"{url}/talk", files=form.files(good), timeout=120)
            if limit:
                assert answer.status_code == 507
                assert "no room" in answer.json()["error"]
            else:
                (tmp_path / "a.mp4").write_bytes(answer.content)
                assert read_synthetic_metadata(tmp_path / "a.mp4") is not None
        assert httpx.get(f"{url}/health").status_code == 200
        assert eventually(lambda: not jobs_in(clean_temp))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["idle", "upload", "work", "live"])
def test_the_end_of_the_server(
    moment: str, number: signal.Signals, drawn_weights: Path, good: dict[str, bytes], clean_temp: Path
) -> None:
    from websockets.sync.client import connect

    body = body_of(good["face"], good["long"])
    with started("serve", "--weights", drawn_weights, "--max-seconds", 10_000, temp=clean_temp) as (process, url):
        if moment == "live":
            client: Any = connect(f"{url.replace('http', 'ws')}/live")
            client.send("{}")
            client.send(good["face"])
            assert json.loads(client.recv())["type"] == "ready"
        elif moment != "idle":
            client = begin(int(url.rsplit(":", 1)[1]), body, 0.5 if moment == "upload" else 1.0)
            assert eventually(lambda: at_work(clean_temp) if moment == "work" else jobs_in(clean_temp))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (143 if number == signal.SIGTERM else 130), errors
        assert "Traceback" not in errors
        assert not list(clean_temp.iterdir())
