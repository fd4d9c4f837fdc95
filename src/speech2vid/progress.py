"""How long jobs report their progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], None]
"""Called with the pieces of work done (frames, files) and the number of all of them, None where it is not known."""
