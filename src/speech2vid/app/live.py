"""Live streaming over a WebSocket: audio in, frames out.

1. The client sends a text message, a JSON object: ``{"silence": "hold", "motion": "still", "seed": 0, "crop": false,
   "face_index": null, "landmarks": "paper", "max_size_px": 512, "quality": 85}``; every key may be left out. Then one
   binary message: the photo, as a file (JPEG, PNG, WebP).
2. The server answers ``{"type": "ready", "width_px", "height_px", "frame_rate_hz", "sample_rate_hz", "latency_s"}``.
3. The client sends audio as it comes in: binary messages of 16-bit little-endian mono samples at 16 kHz, at most two
   seconds each. The server answers with a binary message for each frame that is now known: the frame's number and
   the millisecond at which it is shown, both unsigned 32-bit little-endian, then a JPEG.
4. The client sends the text ``{"type": "end"}``; the server sends the last frames, then ``{"type": "done",
   "frames"}``, and closes. Hanging up at any time is fine.

Every failure is reported as ``{"type": "error", "message", "hint"}`` before the server hangs up.

The photo, the only file that is decoded, is read in a worker. The stream itself runs in a thread of the server, which
saves two copies of every frame between processes, and so keeps its latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import struct
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from speech2vid.app.error_messages import without_paths
from speech2vid.app.jobs import GIVEN, JobQueue
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage, Visitor
from speech2vid.app.workers import Job
from speech2vid.constants import FRAME_RATE_HZ, SAMPLE_RATE_HZ, Landmarks
from speech2vid.errors import ConfigError, MediaError, Speech2VidError
from speech2vid.inference.head.samplers import MotionNetwork
from speech2vid.inference.options import Motion, Silence
from speech2vid.inference.stream import TalkStream
from speech2vid.inference.talkers.base import Talker
from speech2vid.media import synthetic_metadata_text
from speech2vid.types import Image, Waveform

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)

HEADER = struct.Struct("<II")  # number, milliseconds
MAX_MESSAGE_BYTES = 20_000_000  # the photo
MAX_MESSAGE_S = 2  # of audio in one message
NEXT_MESSAGE_S = 30.0  # longest pause before the next message
FULL_SCALE = 32768
GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR, TRY_LATER = 1001, 1008, 1011, 1013  # RFC 6455


class LiveSettings(BaseModel):
    """The settings of a client."""

    model_config = ConfigDict(extra="forbid", strict=True)

    silence: Silence = "hold"
    motion: Motion = "still"
    seed: Annotated[int, Field(ge=0)] = 0
    crop: bool = False
    face_index: Annotated[int | None, Field(ge=0)] = None
    landmarks: Landmarks = "paper"
    max_size_px: Annotated[int, Field(ge=64, le=1920)] = 512
    quality: Annotated[int, Field(ge=1, le=100)] = 85


class LiveStreams:
    """The live streams of a server.

    Args:
        queue, storage: for the photos.
        limits: numbers.
        talker: returns the talker.
        motion: returns the network that head motion is drawn from.

    Attributes:
        running: number of streams.
    """

    def __init__(
        self,
        queue: JobQueue,
        storage: Storage,
        limits: Limits,
        talker: Callable[[], Talker],
        motion: Callable[[], MotionNetwork],
    ) -> None:
        self._queue, self._storage, self._limits, self._talker, self._motion = queue, storage, limits, talker, motion
        self.running = 0

    async def __call__(self, socket: WebSocket) -> None:
        """Serve one client to its end."""
        await socket.accept()
        if self.running >= self._limits.streams:
            await _hang_up(socket, TRY_LATER, f"{self.running} streams are running already", "try again later")
            return
        self.running += 1
        try:
            async with asyncio.timeout(self._limits.max_live_s):
                await self._converse(socket)
            await socket.close()
        except WebSocketDisconnect:
            pass
        except Speech2VidError as error:
            await _hang_up(socket, POLICY_VIOLATION, error.message, error.hint)
        except TimeoutError:
            message = "nothing was sent for too long, or the stream took too long"
            await _hang_up(socket, POLICY_VIOLATION, message, "")
        except Exception as error:
            log.exception("live")
            hint = f"the server's log has the reason ({type(error).__name__})"
            await _hang_up(socket, INTERNAL_ERROR, "something went wrong in the server", hint)
        finally:
            self.running -= 1

    async def _converse(self, socket: WebSocket) -> None:
        settings = read_settings(LiveSettings, await _text(socket))
        stream = await self._open_stream(await _binary(socket), settings)
        width, height = stream.size_px
        facts = {"width_px": width, "height_px": height, "frame_rate_hz": FRAME_RATE_HZ}
        facts |= {"sample_rate_hz": SAMPLE_RATE_HZ}
        await socket.send_json({"type": "ready", **facts, "latency_s": stream.latency_s})
        sent = 0

        async def send(samples: Waveform | None) -> None:
            nonlocal sent
            for frame in await asyncio.to_thread(_frames, stream, samples, settings.quality):
                await socket.send_bytes(HEADER.pack(sent, 1000 * sent // FRAME_RATE_HZ) + frame)
                sent += 1

        while (message := await _next(socket)).get("bytes") is not None:
            await send(read_audio_message(message["bytes"]))
        if _object(message["text"]).get("type") != "end":
            raise ConfigError(f"{message['text'][:80]!r} is not a known message", 'send audio, or {"type": "end"}')
        await send(None)
        await socket.send_json({"type": "done", "frames": sent})

    async def _open_stream(self, photo: bytes, settings: LiveSettings) -> TalkStream:
        """Return a stream for the face in an image file."""
        folder = self._storage.new_folder(Visitor("live", "photos"))
        path = folder / GIVEN / "photo"
        try:
            path.parent.mkdir()
            path.write_bytes(photo)
            options = settings.model_dump(include={"crop", "max_size_px", "face_index", "landmarks"})
            identity = await self._queue.submit(Job("identity", {"face": path}, options), folder, quick=True).result()
        except Speech2VidError as error:
            message = without_paths(error.message, {path: "the photo"})
            raise type(error)(message, error.hint) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        talker = await asyncio.to_thread(self._talker)
        head = None
        if settings.motion != "still":
            motion = await asyncio.to_thread(self._motion)
            head = partial(motion.stream, settings.motion, settings.seed)
        return TalkStream(identity, talker, silence=settings.silence, head=head)


def read_settings(model: type[M], given: str | dict[str, str]) -> M:
    """Check settings, the JSON text of an object or the fields of a form.

    Raises:
        ConfigError: not an object, an unknown name, or an impossible value.
    """
    try:
        return model.model_validate(_object(given) if isinstance(given, str) else given)
    except ValidationError as error:
        (first, *_) = error.errors()
    name = ".".join(map(str, first["loc"]))[:40]
    if first["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        raise ConfigError(f"there is no setting {name!r}", f"there are {known}" if known else "leave it out")
    raise ConfigError(f"{name} cannot be {str(first['input'])[:40]!r}", first["msg"][0].lower() + first["msg"][1:])


def read_audio_message(message: bytes) -> Waveform:
    """16-bit little-endian samples → float32 in −1–1."""
    if len(message) % 2 or len(message) > 2 * MAX_MESSAGE_S * SAMPLE_RATE_HZ:
        raise MediaError(
            f"a message of {len(message)} bytes is not audio",
            f"send 16-bit samples at {SAMPLE_RATE_HZ} Hz, at most {MAX_MESSAGE_S} s at once",
        )
    return np.frombuffer(message, "<i2").astype(np.float32) / np.float32(FULL_SCALE)


def to_jpeg(frame: Image, quality: int, mark: bytes = synthetic_metadata_text({"command": "live"}).encode()) -> bytes:
    """Encode a frame as a JPEG whose comment says that it is synthetic."""
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
    message = dict(await asyncio.wait_for(socket.receive(), NEXT_MESSAGE_S))
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", GOING_AWAY))
    return message


async def _text(socket: WebSocket) -> str:
    text = (await _next(socket)).get("text")
    if text is None:
        raise ConfigError("the first message is not text", "send a JSON object with the settings, {} for the defaults")
    return str(text)


async def _binary(socket: WebSocket) -> bytes:
    data = (await _next(socket)).get("bytes")
    if data is None:
        raise ConfigError("the second message is not binary", "send the image file of the face")
    return bytes(data)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f"{text[:80]!r} is not a JSON object", "send one")
    return found


async def _hang_up(socket: WebSocket, code: int, message: str, hint: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it may be gone meanwhile
        await socket.send_json({"type": "error", "message": message, "hint": hint})
        await socket.close(code)
