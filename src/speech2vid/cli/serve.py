"""``speech2vid serve``: the HTTP endpoint."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.cli.talk import Device, Weights
from speech2vid.errors import MissingExtraError

NEEDED = ("starlette", "uvicorn", "websockets", "python_multipart")


def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="Address to listen on. 0.0.0.0 opens the endpoint to the network."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 picks a free one.")
    ] = 7861,
    streams: Annotated[int, typer.Option("--streams", min=1, help="Maximum number of concurrent live streams.")] = 2,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Maximum duration of the audio in POST /talk.")
    ] = 300,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Maximum size of a POST /talk request.")
    ] = 100,
    device: Device = "auto",
    weights: Weights = None,
) -> None:
    """Serve an HTTP endpoint: POST /talk returns a video, the WebSocket /live returns frames while audio arrives.

    docs/endpoint.md describes both. Only this machine can reach the endpoint unless you set --host. The endpoint has no
    accounts and no encryption. Needs the extra `serve`.
    """
    missing = [name.replace("_", "-") for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"serve needs {', '.join(missing)}", "install the extra: pip install 'speech2vid[serve]'"
        )
    from speech2vid.app.api import EndpointLimits
    from speech2vid.app.serving import LOCAL
    from speech2vid.app.serving import serve as run

    if host not in LOCAL:
        note("the endpoint has no accounts: anyone who can reach this address can use it")
    run(
        host,
        port,
        EndpointLimits(max_upload_mb=max_upload_mb, max_seconds=max_seconds, streams=streams),
        device=device,
        weights=weights,
        ready=lambda url: typer.echo(f"endpoint: {url} (press Ctrl-C to stop)"),
    )
