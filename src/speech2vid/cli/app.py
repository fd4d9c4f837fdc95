"""``speech2vid app``: the page in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from speech2vid.cli.output import note
from speech2vid.cli.serve import NEEDED, Host, Streams, Token, TrustedHosts, Workers, host_names, require_extra
from speech2vid.cli.talk import Device, Weights


def app(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for any free one.")] = 7860,
    workers: Workers = 1,
    streams: Streams = 2,
    max_upload_mb: Annotated[
        float, typer.Option("--max-upload-mb", min=1, metavar="MB", help="Largest file that is accepted.")
    ] = 200,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, metavar="S", help="Longest audio or video that is accepted.")
    ] = 300,
    api: Annotated[bool, typer.Option("--api", help="Also serve the endpoint for programs, below /api.")] = False,
    token: Token = None,
    trusted_hosts: TrustedHosts = "",
    device: Device = "auto",
    weights: Weights = None,
) -> None:
    """Show a page in the browser: talk, redub, sync, and a face that speaks along with the microphone.

    The page is for this machine alone unless --host says otherwise; it has no accounts and no encryption. Uploads and
    results lie in a private folder, which is removed at the end. --token and --trusted-hosts are for the endpoint of
    --api. Needs the extra `app`.
    """
    require_extra("app", ("gradio", *NEEDED))
    from speech2vid.app.server import LOCAL, serve
    from speech2vid.app.settings import Limits

    if host not in LOCAL:
        note("the page has no accounts: whoever reaches this address can use it")
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
        token=token,
        device=device,
        weights=weights,
        ready=lambda url: typer.echo(f"the page is at {url} (Ctrl-C ends it)"),
    )
