"""``speech2vid serve``: the HTTP endpoint."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.cli.talk import Device, Weights
from speech2vid.errors import MissingExtraError

NEEDED = ("fastapi", "fastapi_offline", "uvicorn", "websockets", "python_multipart", "prometheus_client")

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on. 0.0.0.0 opens it to the network.")
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Number of concurrent jobs, each in a process of its own.")
]
Streams = Annotated[int, typer.Option("--streams", min=1, help="Maximum number of concurrent live streams.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="SPEECH2VID_TOKEN", metavar="TEXT", help="Bearer token that every request must carry."
    ),
]
TrustedHosts = Annotated[
    str,
    typer.Option(
        "--trusted-hosts",
        metavar="NAMES",
        help="Host names that the endpoint answers to, separated by commas, such as those that a proxy passes on.",
    ),
]

WebhookHosts = Annotated[
    str,
    typer.Option(
        "--webhook-hosts",
        metavar="NAMES",
        help="Host names to which the endpoint may report the end of a job, separated by commas (default: none).",
    ),
]


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 picks a free one.")
    ] = 7861,
    workers: Workers = 1,
    waiting: Annotated[
        int, typer.Option("--waiting", min=0, metavar="N", help="Maximum number of jobs that wait for a worker.")
    ] = 12,
    streams: Streams = 2,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Maximum duration of an audio or video file.")
    ] = 300,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Maximum size of a request.")
    ] = 100,
    token: Token = None,
    trusted_hosts: TrustedHosts = "",
    webhook_hosts: WebhookHosts = "",
    device: Device = "auto",
    weights: Weights = None,
) -> None:
    """Serve an HTTP endpoint: POST /talk, /redub, /sync and /people, and live streaming over the WebSocket /live.

    docs/endpoint.md and /docs of the running server describe it. Only this machine can reach the endpoint unless you
    set --host. The endpoint has no encryption. Needs the extra `serve`.
    """
    require_extra("serve", NEEDED)
    from speech2vid.app.server import LOCAL
    from speech2vid.app.server import serve as run
    from speech2vid.app.settings import Limits

    if host not in LOCAL and token is None:
        note("there is no --token: anyone who can reach this address can use it")
    run(
        host,
        port,
        Limits(
            max_upload_mb=max_upload_mb,
            max_seconds=max_seconds,
            max_stored_mb=20 * max_upload_mb,
            workers=workers,
            waiting=waiting,
            streams=streams,
        ),
        endpoint=True,
        trusted_hosts=host_names(trusted_hosts),
        webhook_hosts=host_names(webhook_hosts),
        token=token,
        device=device,
        weights=weights,
        ready=lambda url: typer.echo(f"endpoint: {url} (press Ctrl-C to stop)"),
    )


def require_extra(command: str, modules: tuple[str, ...]) -> None:
    """Raise ``MissingExtraError`` where a module of the extra of the same name as ``command`` is not installed."""
    missing = [name.replace("_", "-") for name in modules if find_spec(name) is None]
    if missing:
        hint = f"install the extra: pip install 'speech2vid[{command}]'"
        raise MissingExtraError(f"{command} needs {', '.join(missing)}", hint)


def host_names(text: str) -> tuple[str, ...]:
    """Split a list of names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
