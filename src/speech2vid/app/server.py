"""The page's server: files in a private folder, processes for the work, and the gate in front of it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from starlette.routing import WebSocketRoute

from speech2vid.app import job_functions
from speech2vid.app.access_control import AccessControl
from speech2vid.app.api import EndpointLimits, create
from speech2vid.app.jobs import JobQueue
from speech2vid.app.serving import listen, run
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage
from speech2vid.app.workers import WorkerPool

LIVE = "/live"
GRADIO_WAITING = 64  # events that Gradio itself holds back while all its threads are busy
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SHARE": "False",
}


@contextlib.contextmanager
def page_app(limits: Limits | None = None) -> Iterator[AccessControl]:
    """The page as an ASGI application. Leaving the block stops every job and removes every file."""
    limits = limits or Limits()
    storage = Storage()
    pool = WorkerPool(job_s=limits.job_s, unheard_s=limits.unheard_s, get_ready=job_functions.get_ready)
    job_queue = JobQueue(storage, pool, limits)
    try:
        os.environ.update(QUIET)  # before Gradio is imported: it looks at them then
        os.environ["GRADIO_TEMP_DIR"] = str(storage.root)
        job_queue.pool.warm(limits.jobs + 1)
        yield AccessControl(
            _gradio_app(job_queue), storage, limits, opened=job_queue.enter, closed=job_queue.leave, sockets=(LIVE,)
        )
    finally:
        job_queue.close()


def serve(
    host: str, port: int, limits: Limits | None = None, *, ready: Callable[[str], None] = lambda url: None
) -> None:
    """Show the page until Ctrl-C.

    Args:
        host: address to listen on.
        port: 0 for a free one.
        limits: numbers.
        ready: called with the page's address when it can be opened.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
    """
    with listen(host, port) as listener, page_app(limits) as app:
        run(app, listener, ready)


class _Live:
    """The WebSocket of the tab Live; the networks are loaded when somebody first speaks."""

    def __init__(self, limits: EndpointLimits) -> None:
        self._limits = limits
        self._endpoint: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._endpoint is None:
            self._endpoint = await asyncio.to_thread(create, self._limits)
        await self._endpoint(scope, receive, send)


def _gradio_app(job_queue: JobQueue) -> Any:
    import fastapi
    import gradio as gr

    from speech2vid.app.ui import live as live_tab
    from speech2vid.app.ui import page

    blocks = page.build(job_queue)
    job_queue.storage.publish_existing()
    blocks.queue(max_size=GRADIO_WAITING, api_open=False)
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    parent = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    live = _Live(EndpointLimits(streams=job_queue.limits.streams, max_live_s=job_queue.limits.job_s))
    parent.router.routes.append(WebSocketRoute(LIVE, live))
    app = gr.mount_gradio_app(
        parent,
        blocks,
        "/",
        allowed_paths=[],
        show_error=False,
        max_file_size=job_queue.limits.max_upload_bytes,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=gr.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),
        css=page.CSS,
        head=live_tab.script(),
    )
    blocks.has_launched = True  # mounted pages lack it, and Gradio would then take any path for an upload
    return app
