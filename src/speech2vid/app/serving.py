"""Runs a server until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from speech2vid.app.api import EndpointLimits, create
from speech2vid.app.live import MOST_BYTES
from speech2vid.errors import OutputError

LOCAL = ("127.0.0.1", "localhost", "::1")
GOODBYE_S = 2  # for requests that are under way when it is told to stop


def serve(
    host: str,
    port: int,
    limits: EndpointLimits | None = None,
    *,
    device: str = "auto",
    weights: str | Path | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        host: address to listen on; a local one answers to local names only.
        port: 0 for any free one.
        limits, device, weights: as :func:`speech2vid.app.api.create`.
        ready: called with the address when it can be used.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
        WeightsError, ConfigError.
    """
    app = create(limits, device=device, weights=weights, hosts=LOCAL if host in LOCAL else None)
    with listen(host, port) as listener:
        run(app, listener, ready, log_level="critical")  # what matters is logged by the endpoint itself


def run(app: Any, listener: socket.socket, ready: Callable[[str], None], log_level: str = "error") -> None:
    """Serve an ASGI application until Ctrl-C; ``ready`` is called with its address as soon as it answers."""
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        ws_max_size=MOST_BYTES,
        timeout_graceful_shutdown=GOODBYE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(is_no_farewell)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _Server(config, lambda: ready(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
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
    cut = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut and "timeout graceful shutdown exceeded" not in record.getMessage()


def listen(host: str, port: int) -> socket.socket:
    """A socket for this address.

    Raises:
        OutputError: the port is taken, or the address is not this machine's.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        hint = "choose another with --port, or 0 for any free one"
        raise OutputError(f"cannot listen on {host}, port {port}: {error.strerror}", hint) from error
