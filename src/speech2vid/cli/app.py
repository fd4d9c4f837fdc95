"""``speech2vid app``: the web page."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.errors import MissingExtraError

NEEDED = ("gradio", "websockets")


def app(
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on. 0.0.0.0 opens the page to the network."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 picks a free one.")
    ] = 7860,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Maximum size of an uploaded file.")
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Maximum duration of an audio or video file.")
    ] = 300,
) -> None:
    """Open a web page for talk, redub and sync, and for a face that speaks live into the microphone.

    Only this machine can reach the page unless you set --host. The page has no accounts and no encryption. Uploads and
    results are kept in a private folder, which is deleted when the page stops. Needs the extra `app`.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"app needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[app]'")
    from speech2vid.app.server import serve
    from speech2vid.app.serving import LOCAL
    from speech2vid.app.settings import Limits

    if host not in LOCAL:
        note("the page has no accounts: anyone who can reach this address can use it")
    serve(
        host,
        port,
        Limits(max_upload_mb=max_upload_mb, max_seconds=max_seconds, max_stored_mb=20 * max_upload_mb),
        ready=lambda url: typer.echo(f"page: {url} (press Ctrl-C to stop)"),
    )
