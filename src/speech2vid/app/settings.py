"""Limits of a server: what it accepts, how much it does at once, how long it keeps files."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Attributes:
        max_upload_mb: size of one file on the page, of one request at the endpoint.
        max_seconds: duration of an audio or video file.
        max_stored_mb: size of all files of all users together; uploads are refused beyond it.
        workers: jobs that run at the same time, each in a process of its own.
        waiting: further jobs that wait for their turn; more are refused.
        streams: live streams at the same time.
        job_s: a job that takes longer is stopped.
        max_live_s: longest live stream.
        keep_s: uploads and results are removed after this time.
        grace_s: and this long after their page was closed (a phone that sleeps looks closed).
        unheard_s: a job of the page whose browser has been gone for this long is stopped.
        pause_s: an upload that has sent nothing for this long is given up.
    """

    max_upload_mb: float = 200
    max_seconds: float = 300
    max_stored_mb: float = 4000
    workers: int = 1
    waiting: int = 12
    streams: int = 2
    job_s: float = 3600
    max_live_s: float = 3600
    keep_s: float = 3600
    grace_s: float = 120
    unheard_s: float = 10
    pause_s: float = 30

    @property
    def max_upload_bytes(self) -> int:
        return round(self.max_upload_mb * MEGABYTE)
