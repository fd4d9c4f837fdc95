"""Every request passes here: who asks, whether that path exists for them, and which names they get to see.

Gradio trusts whoever knows a file's path or a tab's name. The gate does not: a browser gets a cookie, and only its own
uploads, results and tabs exist for it. Routes that the page does not use do not exist for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import ClientDisconnect

from speech2vid.app.jobs import Visitor
from speech2vid.app.settings import MEGABYTE, Limits
from speech2vid.app.storage import SHOWN, Storage
from speech2vid.app.upload_timeout import Message, Receive, with_upload_timeout

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "speech2vid"
API = "/gradio_api"
FILE, UPLOAD, JOIN = f"{API}/file=", f"{API}/upload", f"{API}/queue/join"
POSTS = (UPLOAD, JOIN, f"{API}/run/predict", f"{API}/cancel", f"{API}/reset")
READ_FOLDERS = ("/assets/", "/static/")  # Gradio's own, the same for everybody
READS = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
API_READS = (f"{API}/startup-events", f"{API}/queue/data", f"{API}/upload_progress")
HEARTBEAT = f"{API}/heartbeat/"
MAX_BODY_BYTES = 256_000  # of anything but an upload
TABS = 10_000
NO_ROOM = "There is no room for more files at the moment. Try again in a few minutes."
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: blob: ws: wss:; "
        b"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class Refused(Exception):
    """A request that is answered with a sentence instead of being passed on."""

    def __init__(self, status: int, sentence: str = "Not found.") -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class AccessControl:
    """ASGI middleware.

    Args:
        app: Gradio and the page's own routes.
        storage: whose files are whose.
        limits: sizes.
        opened: called with whoever opens a page.
        closed: called with whoever closes one, or vanishes.
        sockets: paths of WebSockets; for browsers that have opened the page.
    """

    def __init__(
        self,
        app: App,
        storage: Storage,
        limits: Limits,
        *,
        opened: Callable[[Visitor], None] = lambda visitor: None,
        closed: Callable[[Visitor], None] = lambda visitor: None,
        sockets: tuple[str, ...] = (),
    ) -> None:
        self._app, self._storage, self._limits, self._sockets = app, storage, limits, sockets
        self._opened, self._closed = opened, closed
        self._tabs: OrderedDict[str, str] = OrderedDict()  # tab → owner
        root = str(storage.root)
        self._real = tuple(dict.fromkeys(text.encode() for text in (root, quote(root), json.dumps(root)[1:-1])))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        owner, is_new = _owner_of(scope)
        scope = {**scope, "headers": _headers_for(scope, owner)}
        try:
            if scope["type"] == "websocket":
                self._require(scope["path"] in self._sockets and not is_new)
                await self._app(scope, receive, send)
                return
            scope, receive = await self._admit(scope, receive, owner)
        except Refused as refused:
            if scope["type"] == "http":
                await _Answer(self, scope, send, owner, is_new).refuse(refused)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(self, scope, send, owner, is_new)
        if scope["path"].startswith(HEARTBEAT):
            await self._stay(scope, receive, answer, Visitor(owner, scope["path"][len(HEARTBEAT) :]))
        else:
            with contextlib.suppress(ClientDisconnect):
                await self._app(scope, receive, answer)

    async def _stay(self, scope: Scope, receive: Receive, send: Send, visitor: Visitor) -> None:
        """A page is open as long as its heartbeat is. Gradio alone does not notice the end."""

        async def silence() -> Message:
            return await asyncio.Future()

        self._opened(visitor)
        beating = asyncio.ensure_future(self._app(scope, silence, send))
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._closed(visitor)
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await beating

    async def _admit(self, scope: Scope, receive: Receive, owner: str) -> tuple[Scope, Receive]:
        """The request as Gradio shall see it."""
        path, method = scope["path"], scope["method"]
        if method == "POST":
            self._require(path.rstrip("/") in POSTS)
            if path.rstrip("/") == UPLOAD:
                self._check_size(scope)
                return scope, with_upload_timeout(receive, self._limits.pause_s, lambda: {"type": "http.disconnect"})
            return scope, await self._checked_body(scope, receive, owner)
        self._require(method in ("GET", "HEAD"))
        if path.startswith(FILE):
            real = self._real_path(path[len(FILE) :], owner)
            return {**scope, "path": FILE + real, "raw_path": quote(FILE + real, safe="/=").encode()}, receive
        if path.startswith(HEARTBEAT):
            self._own_tab(path[len(HEARTBEAT) :], owner)
        elif path.startswith(f"{API}/queue/data"):
            (tab,) = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
            self._own_tab(tab, owner)
        else:
            self._require(path in READS or path in API_READS or path.startswith(READ_FOLDERS))
        return scope, receive

    def _check_size(self, scope: Scope) -> None:
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            raise Refused(411, "The size of the upload is not known.")
        limit = self._limits.max_upload_mb
        if int(length) > self._limits.max_upload_bytes + MEGABYTE:
            raise Refused(413, f"The file is too large: this page takes up to {limit:g} MB. Cut it or make it smaller.")
        if self._storage.stored_bytes() + int(length) > self._limits.max_stored_mb * MEGABYTE:
            raise Refused(507, NO_ROOM)

    async def _checked_body(self, scope: Scope, receive: Receive, owner: str) -> Receive:
        """Read a JSON body; tabs and files named in it must be the sender's."""
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "The request was broken off.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                raise Refused(413, "The request is too large.")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(400, "The request cannot be read.") from None
        if isinstance(content, dict) and "session_hash" in content:
            self._own_tab(content["session_hash"], owner)
        body = json.dumps(self._with_real_paths(content, owner)).encode()
        scope["headers"] = [
            *((name, value) for name, value in scope["headers"] if name != b"content-length"),
            (b"content-length", str(len(body)).encode()),
        ]
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay

    def _with_real_paths(self, content: Any, owner: str) -> Any:
        if isinstance(content, list):
            return [self._with_real_paths(each, owner) for each in content]
        if not isinstance(content, dict):
            return content
        changed = {key: self._with_real_paths(value, owner) for key, value in content.items()}
        if changed.get("path") is not None:
            changed["path"] = self._real_path(changed["path"], owner)
            changed["url"] = None  # Gradio would fetch or decode what stands there
        elif "url" in changed:
            raise Refused(400, "A file without a path.")
        return changed

    def _real_path(self, shown: object, owner: str) -> str:
        """Where a file is that its owner calls ``/storage/…``."""
        if not isinstance(shown, str) or not shown.startswith(f"{SHOWN}/") or "\0" in shown:
            raise Refused(404)
        real = self._storage.root / shown[len(SHOWN) + 1 :]
        self._require(self._storage.may_read(owner, real))
        return str(real)

    def _own_tab(self, tab: object, owner: str) -> None:
        """A tab belongs to the first who names it."""
        self._require(isinstance(tab, str) and re.fullmatch(r"[A-Za-z0-9_-]{4,64}", tab) is not None)
        assert isinstance(tab, str)
        self._require(self._tabs.setdefault(tab, owner) == owner)
        self._tabs.move_to_end(tab)
        if len(self._tabs) > TABS:
            self._tabs.popitem(last=False)

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise Refused(404)

    def hide(self, body: bytes) -> bytes:
        """The same without the real place of the private folder."""
        for real in self._real:
            body = body.replace(real, SHOWN.encode())
        return body

    def record_uploads(self, body: bytes, owner: str) -> None:
        """Gradio's answer to an upload is the list of files it wrote."""
        for path in json.loads(body):
            self._storage.record_upload(owner, Path(path))

    def busy_sentence(self) -> str:
        return f"The page is busy: {self._limits.waiting} jobs are waiting already. Try again in a few minutes."


class _Answer:
    """Passes the answer on: with the cookie, with headers, and without real paths."""

    def __init__(self, access_control: AccessControl, scope: Scope, send: Send, owner: str, is_new: bool) -> None:
        self._control, self._path, self._send, self._owner = access_control, scope["path"].rstrip("/"), send, owner
        self._start: Message = {}
        self._held: bytearray | None = None
        self._hidden = not scope["path"].startswith((FILE, *READ_FOLDERS))
        self._extra = list(HEADERS)
        if is_new:
            cookie = f"{COOKIE}={owner}; Path=/; HttpOnly; SameSite=Strict"
            self._extra.append((b"set-cookie", cookie.encode()))
        if scope["path"].startswith(FILE):
            self._extra.append((b"cache-control", b"private, no-store"))

    async def refuse(self, refused: Refused) -> None:
        body = json.dumps({"detail": refused.sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *self._extra]
        await self._send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            headers = [(name.lower(), value) for name, value in message.get("headers", [])]
            kind = dict(headers).get(b"content-type", b"")
            message["headers"] = [*headers, *self._extra]
            if self._hidden and kind.startswith((b"application/json", b"text/html", b"text/plain")):
                self._held = bytearray()  # its length may change
                return
        elif message["type"] == "http.response.body":
            if self._held is not None:
                self._held += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._release(bytes(self._held))
                return
            if self._hidden:
                message = {**message, "body": self._control.hide(message.get("body", b""))}
        await self._send(message)

    async def _release(self, body: bytes) -> None:
        status = self._start["status"]
        if self._path == UPLOAD and status == 200:
            self._control.record_uploads(body, self._owner)
        if self._path == UPLOAD and status == 500:  # a bad form is 400: this is the disk
            self._start["status"] = 507
            self._start["headers"] = [(b"content-type", b"application/json"), *self._extra]
            body = json.dumps({"detail": NO_ROOM}).encode()
        if self._path == JOIN and status == 503:
            body = json.dumps({"detail": self._control.busy_sentence()}).encode()
        body = self._control.hide(body)
        headers = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        self._start["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _owner_of(scope: Scope) -> tuple[str, bool]:
    """The browser's cookie, or a new one."""
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                morsel = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                continue
            if morsel is not None and re.fullmatch(r"[\w-]{43}", morsel.value, re.ASCII):
                return morsel.value, False
    return secrets.token_urlsafe(32), True


def _headers_for(scope: Scope, owner: str) -> list[tuple[bytes, bytes]]:
    """What Gradio sees: the owner's cookie alone, and nothing that asks for a compressed answer."""
    kept = [(name, value) for name, value in scope["headers"] if name not in (b"cookie", b"accept-encoding")]
    return [*kept, (b"cookie", f"{COOKIE}={owner}".encode())]
