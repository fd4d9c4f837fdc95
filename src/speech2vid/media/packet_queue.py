"""Packets of another file on their way into an output container, written as far as they are wanted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from speech2vid.media.container import Stream, exact, origin_of_time, packets_of


class PacketQueue(ABC):
    """What is written next to the images, as far as the images have come.

    Args:
        output: the open output container.

    Attributes:
        written_s: how far its packets reach.
    """

    def __init__(self, output: Any) -> None:
        self.written_s = Fraction(0)
        self._output = output
        self._packets = self._read()

    def advance(self, until_s: Fraction | None = None) -> None:
        """Write up to ``until_s`` seconds, or to the end."""
        while until_s is None or self.written_s < until_s:
            packet = next(self._packets, None)
            if packet is None:
                return
            self._output.mux(packet)

    def close(self) -> None:
        """Release the source file."""
        self._packets.close()

    @abstractmethod
    def _read(self) -> Generator[Any, None, None]:
        """The packets, in order; sets ``written_s`` ahead of each."""


def packets_from_zero(container: Any, source: Path, *streams: Stream) -> Iterator[Any]:
    """The packets of some streams with their times counted from the file's first image, as they are presented."""
    origin_s = origin_of_time(source) or Fraction(0)
    for packet in packets_of(container, *streams):
        if packet.pts is None or not packet.size:
            continue
        packet.pts -= round(origin_s / exact(packet.time_base))
        packet.dts = packet.pts
        yield packet
