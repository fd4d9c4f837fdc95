"""Audio in, pictures out, over a WebSocket: the conversation of one client.

1. The client sends a text message, a JSON object: ``{"silence": "hold", "crop": false, "max_size_px": 512, "quality":
   85}``; every key may be left out. Then one binary message: the photo, as a file (JPEG, PNG, WebP).
2. The server answers ``{"type": "ready", "width_px", "height_px", "frame_rate_hz", "sample_rate_hz", "latency_s"}``.
3. The client sends audio as it comes in: binary messages of 16-bit little-endian mono samples at 16 kHz, at most two
   seconds each. The server answers with a binary message for each picture that is now known: the picture's number and
   the millisecond at which it is shown, both unsigned 32-bit little-endian, then a JPEG.
4. The client sends the text ``{"type": "end"}``; the server sends the last pictures, then ``{"type": "done",
   "frames"}``, and closes. Hanging up at any time is fine.

Whatever goes wrong is said in ``{"type": "error", "message", "hint"}`` before the server hangs up.
"""

from __future__ import annotations

import asyncio
import json
import struct
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from speech2vid.constants import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from speech2vid.errors import ConfigError, MediaError, Speech2VidError
from speech2vid.inference import TalkerNetworks, TalkStream, make_identity
from speech2vid.media import is_photo, synthetic_metadata_text
from speech2vid.types import Image, Waveform

HEADER = struct.Struct("<II")  # number, milliseconds
MOST_BYTES = 20_000_000  # of one message: the photo
MOST_SECONDS = 2  # of audio in one message
PATIENCE_S = 30.0  # for the next message
FULL_SCALE = 32768
SETTINGS: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "silence": (str, lambda value: value in ("hold", "follow"), '"hold" or "follow"'),
    "crop": (bool, lambda value: True, "true or false"),
    "max_size_px": (int, lambda value: 64 <= value <= 1920, "a whole number from 64 to 1920"),
    "quality": (int, lambda value: 1 <= value <= 100, "a whole number from 1 to 100"),
}
DEFAULTS: dict[str, Any] = {"silence": "hold", "crop": False, "max_size_px": 512, "quality": 85}
GOING_AWAY, UNACCEPTABLE, INTERNAL_ERROR, TRY_LATER = 1001, 1008, 1011, 1013  # RFC 6455


async def converse(socket: WebSocket, networks: TalkerNetworks) -> None:
    """Serve one accepted client to its end; raises WebSocketDisconnect when it hangs up.

    Raises:
        Speech2VidError: what the client sent cannot be used.
        TimeoutError: it sent nothing for ``PATIENCE_S``.
    """
    settings = read_settings(await _text(socket))
    photo = await _binary(socket)
    stream = await asyncio.to_thread(open_stream, photo, settings, networks)
    width, height = stream.size_px
    facts = {"width_px": width, "height_px": height, "frame_rate_hz": FRAME_RATE_HZ, "sample_rate_hz": SAMPLE_RATE_HZ}
    await socket.send_json({"type": "ready", **facts, "latency_s": stream.latency_s})
    sent = 0

    async def send(frames: list[bytes]) -> None:
        nonlocal sent
        for frame in frames:
            await socket.send_bytes(HEADER.pack(sent, 1000 * sent // FRAME_RATE_HZ) + frame)
            sent += 1

    while (message := await _next(socket)).get("bytes") is not None:
        await send(await asyncio.to_thread(_frames, stream, read_audio_message(message["bytes"]), settings["quality"]))
    if _object(message["text"]).get("type") != "end":
        raise ConfigError(f"{message['text'][:80]!r} is not understood here", 'send audio, or {"type": "end"}')
    await send(await asyncio.to_thread(_frames, stream, None, settings["quality"]))
    await socket.send_json({"type": "done", "frames": sent})


def open_stream(photo: bytes, settings: dict[str, Any], networks: TalkerNetworks) -> TalkStream:
    """A stream for the face in a picture file."""
    with tempfile.TemporaryDirectory(prefix="speech2vid-") as folder:
        path = Path(folder) / "photo"
        path.write_bytes(photo)
        try:
            if not is_photo(path):
                raise MediaError(f"{path} is not an image that can be read", "send a JPEG, PNG or WebP file")
            identity = make_identity([path], networks, crop=settings["crop"], max_size_px=settings["max_size_px"])
        except Speech2VidError as error:
            raise type(error)(error.message.replace(str(path), "the photo"), error.hint) from error
    return TalkStream(identity, networks, silence=settings["silence"])


def read_settings(text: str, names: Collection[str] = tuple(SETTINGS)) -> dict[str, Any]:
    """The client's settings, a JSON object with some of ``names``, checked; what it leaves out is filled in."""
    given = _object(text)
    for name, value in given.items():
        if name not in names:
            raise ConfigError(f"there is no setting {name[:40]!r}", f"there are {', '.join(names)}")
        kind, fits, words = SETTINGS[name]
        if type(value) is not kind or not fits(value):
            raise ConfigError(f"{name} cannot be {str(value)[:40]!r}", f"give {words}")
    return {**DEFAULTS, **given}


def read_audio_message(message: bytes) -> Waveform:
    """16-bit little-endian samples → float32 in −1–1."""
    if len(message) % 2 or len(message) > 2 * MOST_SECONDS * SAMPLE_RATE_HZ:
        raise MediaError(
            f"a message of {len(message)} bytes is no audio",
            f"send 16-bit samples at {SAMPLE_RATE_HZ} Hz, at most {MOST_SECONDS} s at once",
        )
    return np.frombuffer(message, "<i2").astype(np.float32) / np.float32(FULL_SCALE)


def to_jpeg(frame: Image, quality: int, mark: bytes = synthetic_metadata_text({"command": "live"}).encode()) -> bytes:
    """A JPEG whose comment says that it is synthetic."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    jpeg = encoded.tobytes()
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(mark) + 2) + mark + jpeg[2:]


def _frames(stream: TalkStream, samples: Waveform | None, quality: int) -> list[bytes]:
    """JPEGs for the next samples; for None those of the end."""
    frames = stream.flush() if samples is None else stream.push(samples)
    return [to_jpeg(frame, quality) for frame in frames]


async def _next(socket: WebSocket) -> dict[str, Any]:
    """The next message: ``text`` or ``bytes``."""
    message = dict(await asyncio.wait_for(socket.receive(), PATIENCE_S))
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", GOING_AWAY))
    return message


async def _text(socket: WebSocket) -> str:
    text = (await _next(socket)).get("text")
    if text is None:
        raise ConfigError(
            "the first message is not text", "send a JSON object with the settings, {} for the usual ones"
        )
    return str(text)


async def _binary(socket: WebSocket) -> bytes:
    data = (await _next(socket)).get("bytes")
    if data is None:
        raise ConfigError("the second message is not binary", "send the photo's file")
    return bytes(data)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{text[:80]!r} is not a JSON object", "send one")
    return found
