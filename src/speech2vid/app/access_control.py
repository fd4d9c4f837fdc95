"""Access control: which request may reach the page or the endpoint, and whose files it may name.

Gradio trusts whoever knows a file's path or a tab's name. ``PageAccess`` does not: a browser gets a cookie, and only
its own uploads, results and tabs exist for it. Routes that the page does not use do not exist for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speech2vid.app.settings import MEGABYTE, Limits
from speech2vid.app.storage import SHOWN, Storage, Visitor

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
HEADERS = {
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: "
    "blob: ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
DOCS, DOCS_FILES = "/docs", "/docs-files"  # of the endpoint
OPEN_READS = ("/health", DOCS, "/openapi.json")  # of the endpoint, without its token
POLICY_VIOLATION = 1008  # RFC 6455


def with_upload_timeout(receive: Receive, pause_s: float, otherwise: Callable[[], Message]) -> Receive:
    """Wrap ``receive``; where nothing comes for ``pause_s`` seconds, return or raise as ``otherwise`` does."""

    async def received() -> Message:
        try:
            async with asyncio.timeout(pause_s):
                return await receive()
        except TimeoutError:
            return otherwise()

    return received


def is_foreign(headers: Headers) -> bool:
    """Return whether a browser sends this from a page of another site."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


class EndpointAccess:
    """ASGI middleware of the endpoint: host names, other sites' pages, the bearer token.

    Args:
        app: the endpoint.
        hosts: names under which it may be called; None for any.
        token: required of every request but for health and documentation; None for no token.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] | None, token: str | None) -> None:
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname if re.fullmatch(r"[\w.:\[\]-]*", host) else None
        if self._hosts is not None and name not in self._hosts:
            hint = "start it with --trusted-hosts followed by that name"
            return _refuse(403, f"this server does not answer to the host name {host[:80]!r}", hint)
        if is_foreign(headers):
            return _refuse(403, "the request comes from a page of another site", "send it from a program")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if self._token is not None and path not in OPEN_READS and not path.startswith(f"{DOCS_FILES}/"):
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
                answer = _refuse(401, "the token is missing or wrong", "send the header Authorization: Bearer TOKEN")
                answer.headers["www-authenticate"] = "Bearer"
                return answer
        return None


def _refuse(status: int, error: str, hint: str) -> JSONResponse:
    return JSONResponse({"error": error, "hint": hint}, status)


class Refused(Exception):
    """A request of the page that is answered with a sentence instead of being passed on."""

    def __init__(self, status: int, sentence: str = "Not found.") -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class PageAccess:
    """ASGI middleware of the page.

    Args:
        app: Gradio and the page's own routes.
        storage: knows the owners of files.
        limits: sizes.
        opened: called with the visitor who opens a page.
        closed: called with the visitor who closes one, or vanishes.
        sockets: paths of WebSockets; for browsers that have opened the page.
        endpoint: path below which requests are not the page's; None for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        storage: Storage,
        limits: Limits,
        *,
        opened: Callable[[Visitor], None],
        closed: Callable[[Visitor], None],
        sockets: tuple[str, ...] = (),
        endpoint: str | None = None,
    ) -> None:
        self._app, self._storage, self._limits, self._sockets = app, storage, limits, sockets
        self._opened, self._closed, self._endpoint = opened, closed, endpoint
        self._tabs: OrderedDict[str, str] = OrderedDict()  # tab → owner
        root = str(storage.root)
        self._real = tuple(dict.fromkeys(text.encode() for text in (root, quote(root), json.dumps(root)[1:-1])))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (self._endpoint and scope["path"].startswith(f"{self._endpoint}/")):
            await self._app(scope, receive, send)
            return
        cookie = HTTPConnection(scope).cookies.get(COOKIE, "")
        is_known = re.fullmatch(r"[\w-]{43}", cookie, re.ASCII) is not None
        owner = cookie if is_known else secrets.token_urlsafe(32)
        headers = MutableHeaders(scope=scope)
        del headers["accept-encoding"]  # answers are rewritten
        headers["cookie"] = f"{COOKIE}={owner}"
        try:
            if scope["type"] == "websocket":
                _require(scope["path"] in self._sockets and is_known and not is_foreign(headers))
                await self._app(scope, receive, send)
                return
            scope, receive = await self._admit(scope, receive, owner)
        except Refused as refused:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            else:
                answer = JSONResponse({"detail": refused.sentence}, refused.status)
                await answer(scope, receive, _Answer(self, "", send, owner, is_known))
            return
        answering = _Answer(self, scope["path"], send, owner, is_known)
        if scope["path"].startswith(HEARTBEAT):
            await self._stay(scope, receive, answering, Visitor(owner, scope["path"].removeprefix(HEARTBEAT)))
        else:
            with contextlib.suppress(ClientDisconnect):
                await self._app(scope, receive, answering)

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
        """Return the request as Gradio shall see it."""
        path, method = scope["path"], scope["method"]
        if method == "POST":
            _require(path.rstrip("/") in POSTS)
            if path.rstrip("/") == UPLOAD:
                self._check_size(scope)
                return scope, with_upload_timeout(receive, self._limits.pause_s, lambda: {"type": "http.disconnect"})
            return scope, await self._checked_body(scope, receive, owner)
        _require(method in ("GET", "HEAD"))
        if path.startswith(FILE):
            real = self._real_path(path[len(FILE) :], owner)
            return {**scope, "path": FILE + real, "raw_path": quote(FILE + real, safe="/=").encode()}, receive
        if path.startswith(HEARTBEAT):
            self._own_tab(path[len(HEARTBEAT) :], owner)
        elif path.startswith(f"{API}/queue/data"):
            (tab,) = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
            self._own_tab(tab, owner)
        else:
            _require(path in READS or path in API_READS or path.startswith(READ_FOLDERS))
        return scope, receive

    def _check_size(self, scope: Scope) -> None:
        length = Headers(scope=scope).get("content-length", "")
        if not length.isdigit():
            raise Refused(411, "The size of the upload is not known.")
        limit = self._limits.max_upload_mb
        if int(length) > self._limits.max_upload_bytes + MEGABYTE:
            raise Refused(413, f"The file is too large: this page takes up to {limit:g} MB. Cut it or make it smaller.")
        if self._storage.stored_bytes() + int(length) > self._limits.max_stored_mb * MEGABYTE:
            raise Refused(507, NO_ROOM)

    async def _checked_body(self, scope: Scope, receive: Receive, owner: str) -> Receive:
        """Read a JSON body; tabs and files named in it must be the sender's."""
        body, more = b"", True
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
        MutableHeaders(scope=scope)["content-length"] = str(len(body))
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
            changed["url"] = None  # Gradio would fetch or decode it
        elif "url" in changed:
            raise Refused(400, "A file without a path.")
        return changed

    def _real_path(self, shown: object, owner: str) -> str:
        """Return the path of a file that its owner calls ``/private/…``."""
        if not isinstance(shown, str) or not shown.startswith(f"{SHOWN}/") or "\0" in shown:
            raise Refused(404)
        real = self._storage.root / shown[len(SHOWN) + 1 :]
        _require(self._storage.may_read(owner, real))
        return str(real)

    def _own_tab(self, tab: object, owner: str) -> None:
        """Require that a tab is the owner's: it belongs to the first who names it."""
        _require(isinstance(tab, str) and re.fullmatch(r"[A-Za-z0-9_-]{4,64}", tab) is not None)
        assert isinstance(tab, str)
        _require(self._tabs.setdefault(tab, owner) == owner)
        self._tabs.move_to_end(tab)
        if len(self._tabs) > TABS:
            self._tabs.popitem(last=False)

    def hide(self, body: bytes) -> bytes:
        """Return the same without the real path of the server's folder."""
        for real in self._real:
            body = body.replace(real, SHOWN.encode())
        return body

    def rewritten(self, route: str, status: int, body: bytes, owner: str) -> tuple[int, bytes]:
        """Return status and body of an answer of Gradio as the browser shall see them; uploads get an owner."""
        if route == UPLOAD and status == 200:  # the body is the list of files that were written
            body = json.dumps([str(self._storage.take_upload(owner, Path(path))) for path in json.loads(body)]).encode()
        if route == UPLOAD and status == 500:  # a bad form is 400: this is the disk
            status, body = 507, json.dumps({"detail": NO_ROOM}).encode()
        if route == JOIN and status == 503:
            waiting = f"{self._limits.waiting} jobs are waiting already"
            body = json.dumps({"detail": f"The server is busy: {waiting}. Try again in a few minutes."}).encode()
        return status, self.hide(body)


class _Answer:
    """Passes an answer on: with the cookie, with headers, and without real paths."""

    def __init__(self, access: PageAccess, path: str, send: Send, owner: str, is_known: bool) -> None:
        self._access, self._path, self._send, self._owner, self._is_known = access, path, send, owner, is_known
        self._start: Message = {}
        self._held: bytes | None = None
        self._hidden = not path.startswith((FILE, *READ_FOLDERS))

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers.update(HEADERS)
            if not self._is_known:
                headers.append("set-cookie", f"{COOKIE}={self._owner}; Path=/; HttpOnly; SameSite=Strict")
            if self._path.startswith(FILE):
                headers["cache-control"] = "private, no-store"
            self._start = {**message, "headers": headers.raw}
            if self._hidden and headers.get("content-type", "").startswith(
                ("application/json", "text/html", "text/plain")
            ):
                self._held = b""  # its length may change
            else:
                await self._send(self._start)
        elif self._held is None:
            body = message.get("body", b"")
            await self._send({**message, "body": self._access.hide(body) if self._hidden else body})
        else:
            self._held += message.get("body", b"")
            if not message.get("more_body", False):
                path, status = self._path.rstrip("/"), self._start["status"]
                status, body = self._access.rewritten(path, status, self._held, self._owner)
                headers = MutableHeaders(raw=self._start["headers"])
                headers["content-length"] = str(len(body))
                await self._send({**self._start, "status": status})
                await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _require(allowed: bool) -> None:
    if not allowed:
        raise Refused(404)
