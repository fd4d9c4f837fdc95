"""A file or track that cannot be used."""

from __future__ import annotations

from speech2vid.data.records import Reason


class Rejected(Exception):
    """Raised by a stage: what it was given cannot be used, and why. Not a failure of the run."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
