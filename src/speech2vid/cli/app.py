"""``speech2vid app``: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.cli.serve import (
    NEEDED,
    Host,
    Streams,
    Token,
    TrustedHosts,
    WebhookHosts,
    Workers,
    host_names,
    require_extra,
)
from speech2vid.cli.talk import Device, Weights


def app(
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on. 0 picks a free one.")
    ] = 7860,
    workers: Workers = 1,
    streams: Streams = 2,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Maximum size of an uploaded file.")
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Maximum duration of an audio or video file.")
    ] = 300,
    api: Annotated[bool, typer.Option("--api", help="Also serve the HTTP endpoint, below /api.")] = False,
    token: Token = None,
    trusted_hosts: TrustedHosts = "",
    webhook_hosts: WebhookHosts = "",
    device: Device = "auto",
    weights: Weights = None,
) -> None:
    """Open a web page for talk, redub and sync, and for a face that speaks live into the microphone.

    Only this machine can reach the page unless you set --host. The page has no accounts and no encryption. Uploads and
    results are kept in a private folder, which is deleted when the page stops. --token, --trusted-hosts and
    --webhook-hosts are for the endpoint that --api adds. Needs the extra `app`.
    """
    require_extra("app", ("gradio", *NEEDED))
    from speech2vid.app.server import LOCAL, serve
    from speech2vid.app.settings import Limits

    if host not in LOCAL:
        note("the page has no accounts: anyone who can reach this address can use it")
    serve(
        host,
        port,
        Limits(
            max_upload_mb=max_upload_mb,
            max_seconds=max_seconds,
            max_stored_mb=20 * max_upload_mb,
            workers=workers,
            streams=streams,
        ),
        page=True,
        endpoint=api,
        trusted_hosts=host_names(trusted_hosts),
        webhook_hosts=host_names(webhook_hosts),
        token=token,
        device=device,
        weights=weights,
        ready=lambda url: typer.echo(f"page: {url} (press Ctrl-C to stop)"),
    )
