"""``speech2vid app``: the page in the browser."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.errors import MissingExtraError

NEEDED = ("gradio", "websockets")


def app(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 opens it to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 7860,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Largest file that is taken.")
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Longest audio or video that is taken.")
    ] = 300,
) -> None:
    """Show a page in the browser: talk, redub, sync, and a face that speaks along with the microphone.

    The page is for this machine alone unless --host says otherwise; it has no accounts and no encryption. Uploads and
    results lie in a private folder, which is removed at the end.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"app needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[app]'")
    from speech2vid.app.server import serve
    from speech2vid.app.serving import LOCAL
    from speech2vid.app.settings import Limits

    if host not in LOCAL:
        note("the page has no accounts: whoever reaches this address can use it")
    serve(
        host,
        port,
        Limits(max_upload_mb=max_upload_mb, max_seconds=max_seconds, max_stored_mb=20 * max_upload_mb),
        ready=lambda url: typer.echo(f"the page is at {url} (Ctrl-C ends it)"),
    )
