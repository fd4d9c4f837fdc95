"""The endpoint: videos by POST, pictures by WebSocket, refusals in words, nothing left of those who hang up."""

from __future__ import annotations

import io
import json
import struct
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from processes import eventually
from speech2vid.constants import SAMPLE_RATE_HZ
from speech2vid.media import load_audio, probe, read_synthetic_metadata, synthetic_metadata_text

pytest.importorskip("starlette")
pytest.importorskip("websockets")

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from speech2vid import TalkStream
from speech2vid.app.server import Server, endpoint_app
from speech2vid.app.settings import Limits


@pytest.fixture(scope="module")
def small_photo(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("endpoint") / "small.png"
    with PIL.Image.open(photo) as image:
        image.convert("RGB").resize((256, 256)).save(path)
    return path


@pytest.fixture(scope="module")
def pcm(speech: Path) -> bytes:
    """1.3 s of speech as a client sends it."""
    return (load_audio(speech)[: int(1.3 * SAMPLE_RATE_HZ)] * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def wav(pcm: bytes) -> bytes:
    return wav_of(pcm)


def wav_of(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE_HZ)
        audio.writeframes(pcm)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(drawn_weights: Path) -> Server:
    return Server(Limits(max_upload_mb=1, max_seconds=3, streams=1), weights=drawn_weights)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(endpoint_app(server, hosts=("testserver",)), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def nothing_left(server: Server) -> Iterator[Path]:
    """The folder of the server's jobs; nothing may be left in it."""
    yield server.storage.root / "made"
    assert not [path for path in server.storage.root.rglob("*") if path.is_file() and path.name != ".lock"]


def post(client: TestClient, photo: Path, audio: bytes, **fields: str) -> Any:
    files = {"face": ("me.png", photo.read_bytes()), "audio": ("me.wav", audio)}
    return client.post("/talk", files=files, data=fields)


def test_post_gives_a_marked_video(
    client: TestClient, small_photo: Path, wav: bytes, tmp_path: Path, nothing_left: Path
) -> None:
    answer = post(client, small_photo, wav, silence="follow", crop="false")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4"), answer.text
    path = tmp_path / "got.mp4"
    path.write_bytes(answer.content)
    info = probe(path)
    assert (info.width_px, info.has_audio) == (256, True)
    assert info.duration_s == pytest.approx(1.3, abs=0.05)
    assert (read_synthetic_metadata(path) or {})["command"] == "talk"
    assert client.get("/health").json()["version"]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"audio": b"RIFF, but no audio"}, 422, "the audio file"),
        ({"face": b"no picture"}, 422, "the face"),
        ({"silence": "loud"}, 422, "silence cannot be 'loud'"),
        ({"quality": "3"}, 422, "no setting 'quality'"),
        ({"audio": None}, 400, "no file 'audio'"),
        ({"audio": bytes(1_100_000)}, 413, "larger than 1 MB"),
    ],
    ids=["audio", "face", "silence", "quality", "missing", "large"],
)
def test_refusals_in_words(
    client: TestClient,
    small_photo: Path,
    wav: bytes,
    nothing_left: Path,
    change: dict[str, Any],
    status: int,
    says: str,
) -> None:
    given = {"face": small_photo.read_bytes(), "audio": wav, **change}
    files = {name: (name, given[name]) for name in ("face", "audio") if given[name] is not None}
    answer = client.post("/talk", files=files, data={k: v for k, v in given.items() if isinstance(v, str)})
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]
    assert "/" not in answer.json()["error"].replace("multipart/form-data", "")


def test_a_face_must_be_there(client: TestClient, wav: bytes, tmp_path: Path, nothing_left: Path) -> None:
    blank = tmp_path / "blank.png"
    PIL.Image.new("RGB", (256, 256), "grey").save(blank)
    answer = post(client, blank, wav)
    assert answer.status_code == 422
    assert "the face" in answer.json()["error"]


def test_too_long_a_audio_is_stopped(client: TestClient, small_photo: Path, pcm: bytes, nothing_left: Path) -> None:
    answer = post(client, small_photo, wav_of(pcm * 4))
    assert answer.status_code == 413
    assert answer.json()["error"] == "the audio file is too long: 5 s, and this server takes up to 3 s"


def test_only_from_here(client: TestClient) -> None:
    assert client.get("/health", headers={"Origin": "http://elsewhere.example"}).status_code == 403
    assert client.get("/health", headers={"Origin": "http://testserver"}).status_code == 200
    assert client.get("/health", headers={"Host": "elsewhere.example"}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/live", headers={"Origin": "http://elsewhere.example"}),
    ):
        pass


def test_live_gives_the_images_of_the_stream(
    client: TestClient, small_photo: Path, pcm: bytes, drawn_weights: Path, nothing_left: Path
) -> None:
    frames: list[np.ndarray] = []
    with client.websocket_connect("/live") as socket:
        socket.send_text(json.dumps({"quality": 95, "max_size_px": 240}))
        socket.send_bytes(small_photo.read_bytes())
        ready = socket.receive_json()
        assert (ready["type"], ready["width_px"], ready["frame_rate_hz"]) == ("ready", 240, 25)
        for at in range(0, len(pcm), 3200):
            socket.send_bytes(pcm[at : at + 3200])
        socket.send_text('{"type": "end"}')
        while "bytes" in (message := socket.receive()):
            number, at_ms = struct.unpack("<II", message["bytes"][:8])
            assert (number, at_ms) == (len(frames), 40 * len(frames))
            assert synthetic_metadata_text({"command": "live"}).encode() in message["bytes"]
            frames.append(np.asarray(PIL.Image.open(io.BytesIO(message["bytes"][8:]))))
        assert json.loads(message["text"]) == {"type": "done", "frames": 32}
    assert len(frames) == 32
    stream = TalkStream.of(small_photo, max_size_px=240, weights=drawn_weights)
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    wanted = stream.push(samples) + stream.flush()
    assert np.abs(np.stack(frames).astype(int) - np.stack(wanted)).mean() < 3
    assert ready["latency_s"] == stream.latency_s


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([b"photo first"], "the first message is not text"),
        (["[1]"], "not a JSON object"),
        (['{"quality": true}'], "quality cannot be"),
        (["{}", "{}"], "the second message is not binary"),
        (["{}", b"no picture"], "the photo is not an image"),
        (["{}", None, b"\0\0\0"], "a message of 3 bytes is not audio"),
        (["{}", None, bytes(64_002)], "a message of 64002 bytes is not audio"),
        (["{}", None, "stop"], "not a JSON object"),
        (["{}", None, '{"type": "stop"}'], "is not a known message"),
    ],
    ids=["order", "list", "type", "no photo", "face", "odd", "long", "word", "object"],
)
def test_live_says_what_is_wrong_and_hangs_up(
    client: TestClient, small_photo: Path, nothing_left: Path, messages: list[str | bytes | None], says: str
) -> None:
    with client.websocket_connect("/live") as socket:
        for message in messages:
            if isinstance(message, str):
                socket.send_text(message)
            else:
                socket.send_bytes(small_photo.read_bytes() if message is None else message)
        answer = socket.receive_json()
        if answer["type"] == "ready":
            answer = socket.receive_json()
        assert answer["type"] == "error"
        assert says in answer["message"]
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
        assert closed.value.code == 1008


def test_one_stream_at_a_time_here(client: TestClient, small_photo: Path, nothing_left: Path) -> None:
    with client.websocket_connect("/live") as first:
        first.send_text("{}")
        first.send_bytes(small_photo.read_bytes())
        assert first.receive_json()["type"] == "ready"
        with client.websocket_connect("/live") as second:
            assert "1 streams are running already" in second.receive_json()["message"]
    with client.websocket_connect("/live") as third:  # the first has hung up
        third.send_text("[]")
        assert "not a JSON object" in third.receive_json()["message"]


def test_work_stops_for_who_hangs_up(small_photo: Path, drawn_weights: Path, pcm: bytes) -> None:
    """On a real server: a request for ten minutes of video, broken off; the next one is answered soon."""
    import http.client
    import socket

    import uvicorn

    ours = Server(Limits(max_seconds=1e6), weights=drawn_weights)
    jobs = ours.storage.root / "made"
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(endpoint_app(ours), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        files = {"face": small_photo.read_bytes(), "audio": wav_of(pcm * 460)}
        body = b"".join(
            b'--cut\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n' % (k.encode(), v)
            for k, v in files.items()
        )
        body += b"--cut--\r\n"
        connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1])
        connection.request("POST", "/talk", body, {"Content-Type": "multipart/form-data; boundary=cut"})
        assert eventually(lambda: list(jobs.rglob(".*.mp4"))), "the work has begun"
        connection.close()
        assert eventually(lambda: not list(jobs.glob("*/*/*")))
    finally:
        server.should_exit = True
        thread.join()
