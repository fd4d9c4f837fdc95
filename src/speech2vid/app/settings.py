"""What the page takes, and for how long it keeps it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_UPLOAD_MB = 200
MAX_SECONDS = 300
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits of one page.

    Attributes:
        max_upload_mb: of one file.
        max_seconds: of audio or video.
        max_stored_mb: of all files of all users together; uploads are refused beyond it.
        jobs: that run at the same time.
        streams: that run at the same time in the tab Live.
        waiting: that wait for their turn; further ones are refused with a sentence.
        job_s: a job that takes longer is stopped.
        keep_s: uploads and results are removed after this time.
        grace_s: and this long after their page was closed (a phone that sleeps looks closed).
        unheard_s: a job whose listener is gone for this long is stopped.
        pause_s: an upload of which nothing has come for so long is given up.
    """

    max_upload_mb: float = MAX_UPLOAD_MB
    max_seconds: float = MAX_SECONDS
    max_stored_mb: float = 20 * MAX_UPLOAD_MB
    jobs: int = 1
    streams: int = 2
    waiting: int = 12
    job_s: float = 3600
    keep_s: float = 3600
    grace_s: float = 120
    unheard_s: float = 10
    pause_s: float = 30

    @property
    def max_upload_bytes(self) -> int:
        return round(self.max_upload_mb * MEGABYTE)
