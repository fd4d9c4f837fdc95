"""Which sync meter preparation uses."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

from speech2vid.data.heard_shapes import HeardShapes
from speech2vid.data.speaking import SyncMeter
from speech2vid.errors import ConfigError

Sync = Literal["on", "off"]
SYNC_MODES: tuple[str, ...] = get_args(Sync)


@cache
def meter_for(sync: Sync) -> SyncMeter | None:
    """The meter of a mode: None where the sources are trusted.

    Raises:
        ConfigError: no such mode.
        WeightsError: its network is missing or damaged.
    """
    if sync not in SYNC_MODES:
        raise ConfigError(f"sync cannot be {sync!r}", f"choose from: {', '.join(SYNC_MODES)}")
    return HeardShapes() if sync == "on" else None


def meter_name(sync: Sync) -> str:
    """What tells stores made in different ways apart."""
    meter = meter_for(sync)
    return "trusted" if meter is None else meter.name
