"""The page's server: files in a private folder, processes for the work, and the gate in front of it all."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from speech2vid.app.desk import Desk
from speech2vid.app.gate import Gate
from speech2vid.app.limits import Limits
from speech2vid.app.private import PrivateFolder
from speech2vid.app.work import Crew
from speech2vid.errors import OutputError

GRADIO_WAITING = 64  # events that Gradio itself holds back while all its threads are busy
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SHARE": "False",
}


@contextlib.contextmanager
def page_app(limits: Limits | None = None) -> Iterator[Gate]:
    """The page as an ASGI application. Leaving the block stops every job and removes every file."""
    limits = limits or Limits()
    private = PrivateFolder()
    desk = Desk(private, Crew(job_s=limits.job_s, unheard_s=limits.unheard_s), limits)
    try:
        os.environ.update(QUIET)  # before Gradio is imported: it looks at them then
        os.environ["GRADIO_TEMP_DIR"] = str(private.root)
        desk.crew.warm(limits.jobs + 1)
        yield Gate(_gradio_app(desk), private, limits, opened=desk.enter, closed=desk.leave)
    finally:
        desk.close()


def serve(host: str, port: int, limits: Limits | None = None, *, ready: Callable[[str], None] | None = None) -> None:
    """Show the page until Ctrl-C.

    Args:
        host: address to listen on.
        port: 0 for a free one.
        limits: numbers.
        ready: called with the page's address when it can be opened.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
    """
    import uvicorn

    listener = _listen(host, port)
    with listener, page_app(limits) as app:
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        if ready is not None:
            ready(f"http://{_in_url(host)}:{listener.getsockname()[1]}")
        server.run(sockets=[listener])


def _gradio_app(desk: Desk) -> Any:
    import fastapi
    import gradio as gr

    from speech2vid.app import page

    blocks = page.build(desk)
    desk.private.publish_existing()
    blocks.queue(max_size=GRADIO_WAITING, api_open=False)
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    app = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None),
        blocks,
        "/",
        allowed_paths=[],
        show_error=False,
        max_file_size=desk.limits.max_upload_bytes,
        ssr_mode=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=gr.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),
        css=page.CSS,
    )
    blocks.has_launched = True  # mounted pages lack it, and Gradio would then take any path for an upload
    return app


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        hint = "choose another with --port, or 0 for any free one"
        raise OutputError(f"cannot listen on {host}, port {port}: {error.strerror}", hint) from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
