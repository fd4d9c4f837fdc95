"""A client that stays silent in the middle of its request is not waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


def with_upload_timeout(receive: Receive, pause_s: float, otherwise: Callable[[], Message]) -> Receive:
    """The same; where nothing comes for ``pause_s`` seconds, what ``otherwise`` gives or raises."""

    async def received() -> Message:
        try:
            async with asyncio.timeout(pause_s):
                return await receive()
        except TimeoutError:
            return otherwise()

    return received
