"""The server: storage, workers and one job queue, shared by the page and the endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp

from speech2vid.app import api, job_functions
from speech2vid.app.access_control import PageAccess
from speech2vid.app.jobs import JobQueue
from speech2vid.app.live import MAX_MESSAGE_BYTES, LiveStreams
from speech2vid.app.metrics import Metrics
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage, Visitor
from speech2vid.app.workers import WorkerPool
from speech2vid.errors import OutputError

log = logging.getLogger(__name__)

LOCAL = ("127.0.0.1", "localhost", "::1")
LIVE, ENDPOINT = "/live", "/api"  # paths of the page's server
TIDY_EVERY_S = 1.0
GOODBYE_S = 2  # for requests that are in progress when the server is stopped
GRADIO_WAITING = 64  # events that Gradio itself holds back while all its threads are busy
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SHARE": "False",
}


class Server:
    """All that the page and the endpoint share.

    Args:
        limits: numbers.
        device, weights: as :func:`speech2vid.talk`.
    """

    def __init__(
        self, limits: Limits | None = None, *, device: str = "auto", weights: str | Path | None = None
    ) -> None:
        self.limits = limits = limits or Limits()
        functions = job_functions.JobFunctions(weights, device, limits.max_seconds)
        self.talker = partial(job_functions.talker, weights, device)
        self.storage = Storage()
        self.pool = WorkerPool(functions, size=limits.workers + 1, setup=functions.load)
        self.metrics = Metrics(self)
        self.queue = JobQueue(self.pool, limits, self.metrics.ended)
        self.live = LiveStreams(
            self.queue, self.storage, limits, self.talker, partial(job_functions.motion_network, weights, device)
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: ASGIApp) -> AsyncIterator[None]:
        """Start the workers and keep the storage tidy; stop every job and remove every file at the end."""
        self.pool.warm()
        tidying = asyncio.create_task(self._tidy())
        try:
            yield
        finally:
            tidying.cancel()
            self.queue.close()
            self.close()

    def close(self) -> None:
        """End the workers and remove every file. May be called twice."""
        self.pool.close()
        self.storage.close()

    def leave(self, visitor: Visitor) -> None:
        """A page was closed: its jobs stop, its files go a little later."""
        self.queue.cancel(visitor)
        self.storage.leave(visitor)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            try:
                self.queue.cancel_unattended(TIDY_EVERY_S)
                busy = {job.folder for job in self.queue.jobs}
                await asyncio.to_thread(self.storage.tidy, self.limits.grace_s, self.limits.keep_s, busy)
            except Exception:
                log.exception("tidying up the server's folder")


def endpoint_app(
    server: Server,
    *,
    hosts: tuple[str, ...] | None = None,
    token: str | None = None,
    webhook_hosts: tuple[str, ...] = (),
) -> ASGIApp:
    """Return the endpoint as an ASGI application; its lifespan is the server's. Arguments as ``api.create``."""
    return api.create(server, hosts=hosts, token=token, webhook_hosts=webhook_hosts, lifespan=server.lifespan)


def page_app(server: Server, *, endpoint: ASGIApp | None = None) -> ASGIApp:
    """Return the page as an ASGI application; its lifespan is the server's.

    Args:
        server: what it shows.
        endpoint: an endpoint of the same server, to be found below ``/api``.
    """
    os.environ.update(QUIET)  # before Gradio is imported: it reads them then
    os.environ["GRADIO_TEMP_DIR"] = str(server.storage.root)
    import fastapi
    import gradio as gr

    from speech2vid.app.ui import page
    from speech2vid.app.ui.job_panel import PageJobs

    blocks = page.build(PageJobs(server.queue, server.storage, server.limits))
    server.storage.publish_existing()
    blocks.queue(max_size=GRADIO_WAITING, api_open=False)
    parent = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=server.lifespan)
    parent.router.routes.append(WebSocketRoute(LIVE, server.live.__call__))
    if endpoint is not None:
        parent.mount(ENDPOINT, endpoint)
    app = gr.mount_gradio_app(
        parent,
        blocks,
        "/",
        allowed_paths=[],
        show_error=False,
        max_file_size=server.limits.max_upload_bytes,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=page.theme(),
        css=page.CSS,
        head=page.script(),
    )
    blocks.has_launched = True  # mounted pages lack it, and Gradio would then take any path for an upload
    return PageAccess(
        app,
        server.storage,
        server.limits,
        opened=server.storage.open,
        closed=server.leave,
        sockets=(LIVE,),
        endpoint=None if endpoint is None else ENDPOINT,
    )


def serve(
    host: str,
    port: int,
    limits: Limits | None = None,
    *,
    page: bool = False,
    endpoint: bool = False,
    trusted_hosts: tuple[str, ...] = (),
    token: str | None = None,
    webhook_hosts: tuple[str, ...] = (),
    device: str = "auto",
    weights: str | Path | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the page, the endpoint, or both, until Ctrl-C.

    Args:
        host: address to listen on; the endpoint at a local one answers to local and trusted names only.
        port: 0 for any free one.
        limits: numbers.
        page, endpoint: what to serve; next to a page the endpoint lies below ``/api``.
        trusted_hosts: host names under which the endpoint may be called; with some, no others at any address.
        token: bearer token that the endpoint requires.
        webhook_hosts: names of hosts to which the endpoint may report the end of a job.
        device, weights: as :func:`speech2vid.talk`.
        ready: called with the server's address when it answers.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
        WeightsError, ConfigError.
    """
    hosts = (*LOCAL, *trusted_hosts) if host in LOCAL or trusted_hosts else None
    with listen(host, port) as listener, contextlib.closing(Server(limits, device=device, weights=weights)) as server:
        if endpoint:
            server.talker()  # what is wrong with the weights is reported now
        if page:
            mounted = None
            if endpoint:
                mounted = api.create(server, hosts=hosts, token=token, webhook_hosts=webhook_hosts)
            app = page_app(server, endpoint=mounted)
        else:
            app = endpoint_app(server, hosts=hosts, token=token, webhook_hosts=webhook_hosts)
        run(app, listener, ready)


def run(app: ASGIApp, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve an ASGI application until Ctrl-C; ``ready`` is called with its address as soon as it answers."""
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        timeout_graceful_shutdown=GOODBYE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(is_no_farewell)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _Uvicorn(config, lambda: ready(url)).run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    """Says when it answers: before that it does not know Ctrl-C either, which would end it with a traceback."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def is_no_farewell(record: logging.LogRecord) -> bool:
    """Whether a line of the log is more than that connections were cut because the server ends."""
    cut: Any = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut and "timeout graceful shutdown exceeded" not in record.getMessage()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        hint = "choose another with --port, or 0 for any free one"
        raise OutputError(f"cannot listen on {host}, port {port}: {error.strerror}", hint) from error
