"""The endpoint for programs: ``POST /talk`` for whole videos, the WebSocket ``/live`` for pictures as audio comes in.

``POST /talk`` takes a form (multipart/form-data) with the files ``face`` and ``audio`` and, if wanted, the fields
``silence`` and ``crop``; the answer is the video (video/mp4), or ``{"error": …, "hint": …}`` with a status of 400 and
more. ``GET /health`` answers ``{"version": …}``. For ``/live`` see :mod:`speech2vid.app.live`.

There are no accounts. Requests that a browser sends from another site's page are refused by their Origin header.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from speech2vid import __version__
from speech2vid.app.error_messages import is_full
from speech2vid.app.live import INTERNAL_ERROR, TRY_LATER, UNACCEPTABLE, converse, read_settings
from speech2vid.app.upload_timeout import with_upload_timeout
from speech2vid.constants import FRAME_RATE_HZ
from speech2vid.errors import Speech2VidError
from speech2vid.inference import TalkerNetworks
from speech2vid.inference import talk as make_video

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2  # whether the client is still there
MEGABYTE = 1_000_000
FILES, FIELDS = ("face", "audio"), ("silence", "crop")
UNEXPECTED = "something went wrong that has nothing to do with the request"


@dataclass(frozen=True)
class EndpointLimits:
    """What one endpoint takes.

    Attributes:
        max_upload_mb: of one request, photo and audio together.
        max_seconds: of audio in one request of ``/talk``.
        max_live_s: that one client of ``/live`` may stay.
        streams: clients of ``/live`` at the same time.
        jobs: requests of ``/talk`` at work at the same time.
        waiting: further ones that wait for their turn.
        pause_s: an upload of which nothing has come for so long is given up.
    """

    max_upload_mb: float = 100
    max_seconds: float = 300
    max_live_s: float = 3600
    streams: int = 2
    jobs: int = 1
    waiting: int = 8
    pause_s: float = 30


def create(
    limits: EndpointLimits | None = None,
    *,
    device: str = "auto",
    weights: Path | None = None,
    hosts: tuple[str, ...] | None = None,
) -> Starlette:
    """The endpoint as an ASGI application.

    Args:
        limits: numbers.
        device, weights: as :func:`speech2vid.talk`.
        hosts: names under which it may be called; None for any.

    Raises:
        WeightsError, ConfigError.
    """
    job_queue = _Endpoint(limits or EndpointLimits(), device, weights)
    routes = [
        Route("/health", job_queue.health, methods=["GET"]),
        Route("/talk", job_queue.talk, methods=["POST"]),
        WebSocketRoute("/live", job_queue.live),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: _refusal,
        Speech2VidError: _failure,
        ClientDisconnect: _nobody,
        Exception: _surprise,
    }
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(_SameSite, hosts=hosts)])


class _Endpoint:
    """Counts who is at work, and does it in threads."""

    def __init__(self, limits: EndpointLimits, device: str, weights: Path | None) -> None:
        self._limits = limits
        self._networks = TalkerNetworks(weights, device)
        self._jobs = asyncio.Semaphore(limits.jobs)
        self._line = self._streams = 0

    async def health(self, request: Request) -> Response:
        return JSONResponse({"version": __version__})

    async def talk(self, request: Request) -> Response:
        self._check_size(request.headers)
        if self._line >= self._limits.jobs + self._limits.waiting:
            raise HTTPException(503, f"{self._line} requests are at work or waiting already", {"Retry-After": "30"})
        self._line += 1
        try:
            return await self._talk(request)
        finally:
            self._line -= 1

    async def _talk(self, request: Request) -> Response:
        folder = Path(tempfile.mkdtemp(prefix="speech2vid-"))
        try:
            upload = Request(request.scope, with_upload_timeout(request.receive, self._limits.pause_s, self._too_slow))
            async with upload.form(max_files=2, max_fields=4, max_part_size=1000) as form:
                fields = {key: value for key, value in form.items() if isinstance(value, str)}
                settings = read_settings(_as_json(fields), FIELDS)
                given = {name: await asyncio.to_thread(_keep, form.get(name), folder / name) for name in FILES}
            async with self._turn(request):
                await self._unless_gone(request, given, folder / "talk.mp4", settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _Video(folder / "talk.mp4", media_type="video/mp4", filename="talk.mp4")

    @contextlib.asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """Wait for those who came before; who hangs up meanwhile makes room for others."""
        turn = asyncio.ensure_future(self._jobs.acquire())
        try:
            await _unless_disconnected(request, turn)
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._jobs.release()
            turn.cancel()

    async def _unless_gone(self, request: Request, given: dict[str, Path], out: Path, settings: dict[str, Any]) -> None:
        """Make the video; stop when the client hangs up, or the audio does not end."""
        stopped = threading.Event()
        most = round(self._limits.max_seconds * FRAME_RATE_HZ)

        def progress(done: int, total: int | None) -> None:
            if stopped.is_set():
                raise _Gone
            if max(done, total or 0) > most:
                raise HTTPException(413, f"the audio is longer than {self._limits.max_seconds:g} s")

        options = {key: settings[key] for key in FIELDS}
        options |= {"networks": self._networks, "progress": progress}
        job = asyncio.get_running_loop().run_in_executor(None, _make, given, out, options)
        try:
            await _unless_disconnected(request, job)
        finally:
            stopped.set()
            while not job.done():  # its files may be removed only then, even where the server ends meanwhile
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({job})
            failure = job.exception()
        if failure is not None:
            raise failure

    async def live(self, socket: WebSocket) -> None:
        await socket.accept()
        if self._streams >= self._limits.streams:
            await _hang_up(socket, TRY_LATER, f"{self._streams} streams are running already", "try again later")
            return
        self._streams += 1
        try:
            async with asyncio.timeout(self._limits.max_live_s):
                await converse(socket, self._networks)
            await socket.close()
        except WebSocketDisconnect:
            pass
        except Speech2VidError as error:
            await _hang_up(socket, UNACCEPTABLE, error.message, error.hint)
        except TimeoutError:
            await _hang_up(socket, UNACCEPTABLE, "nothing was sent for too long, or the stream took too long", "")
        except Exception as error:
            log.exception("live")
            await _hang_up(socket, INTERNAL_ERROR, UNEXPECTED, f"the server's log says more ({type(error).__name__})")
        finally:
            self._streams -= 1

    def _too_slow(self) -> NoReturn:
        raise HTTPException(408, f"nothing has come for {self._limits.pause_s:g} s")

    def _check_size(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise HTTPException(411, "the size of the request is not known")
        if int(length) > self._limits.max_upload_mb * MEGABYTE:
            raise HTTPException(413, f"the request is larger than {self._limits.max_upload_mb:g} MB")


async def _unless_disconnected(request: Request, waited_for: asyncio.Future[Any]) -> None:
    """Wait; raise ``ClientDisconnect`` when the client hangs up."""
    while not (await asyncio.wait({waited_for}, timeout=LOOK_EVERY_S))[0]:
        if await request.is_disconnected():
            raise ClientDisconnect


class _Gone(Exception):
    """The client has hung up: raised inside the work to end it."""


class _Video(FileResponse):
    """A file that is removed, with its folder, when it has been sent or nobody takes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


class _SameSite:
    """Refuses what a browser sends from another site's page, and names that are not the server's."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            foreign = origin is not None and urlsplit(origin).netloc != host
            unknown = self._hosts is not None and urlsplit(f"//{host}").hostname not in self._hosts
            if foreign or unknown:
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": UNACCEPTABLE})
                else:
                    await JSONResponse({"error": "not from here", "hint": ""}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _make(given: dict[str, Path], out: Path, options: dict[str, Any]) -> None:
    try:
        make_video(given["face"], given["audio"], out, **options)
    except Speech2VidError as error:
        message = error.message
        for name, path in given.items():
            message = message.replace(str(path), f"the {name}")
        if str(out.parent) in message:
            raise RuntimeError(message) from error  # not the client's fault
        raise type(error)(message, error.hint) from error


def _keep(upload: object, path: Path) -> Path:
    if not isinstance(upload, UploadFile):
        raise HTTPException(400, f"the form has no file {path.name!r}")
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    return path


def _as_json(fields: dict[str, str]) -> str:
    """Form fields as the settings of a live client: only ``target`` and ``false`` are not text."""
    return json.dumps({key: {"true": True, "false": False}.get(text, text) for key, text in fields.items()})


async def _hang_up(socket: WebSocket, code: int, message: str, hint: str) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it may be gone meanwhile
        await socket.send_json({"type": "error", "message": message, "hint": hint})
        await socket.close(code)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail, "hint": ""}, error.status_code, error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    assert isinstance(error, Speech2VidError)
    return JSONResponse({"error": error.message, "hint": error.hint}, 422)


async def _nobody(request: Request, error: Exception) -> Response:
    """For a client that has hung up: it will not read it."""
    return Response(status_code=400)


async def _surprise(request: Request, error: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    if is_full(error):
        return JSONResponse({"error": "the server has no room for the video", "hint": "try again later"}, 507)
    return JSONResponse({"error": UNEXPECTED, "hint": "the server's log says more"}, 500)
