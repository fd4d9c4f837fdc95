"""Metrics of a server, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from speech2vid.app.jobs import QueuedJob, Running

if TYPE_CHECKING:
    from speech2vid.app.server import Server

BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900, 3600)


class Metrics:
    """Counts the jobs that end; reads the rest when asked.

    Args:
        server: whose.
    """

    def __init__(self, server: Server) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._jobs = Counter("speech2vid_jobs", "Jobs that have ended.", ["verb", "outcome"], registry=registry)
        self._seconds = Histogram(
            "speech2vid_job_seconds",
            "Time from the submission of a job to its end.",
            ["verb"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        for name, text, value in (
            ("jobs_running", "Jobs that are running.", lambda: sum(_runs(job) for job in server.queue.jobs)),
            ("jobs_waiting", "Jobs that wait.", lambda: sum(not _runs(job) for job in server.queue.jobs)),
            ("live_streams", "Live streams that are running.", lambda: server.live.running),
            ("worker_crashes", "Worker processes that died during a job.", lambda: server.pool.crashes),
            ("stored_bytes", "Size of all uploads and results.", lambda: server.storage.stored_bytes()),
        ):
            Gauge(f"speech2vid_{name}", text, registry=registry).set_function(value)

    def ended(self, job: QueuedJob) -> None:
        """Count a job that has ended."""
        self._jobs.labels(job.job.verb, type(job.end).__name__.lower()).inc()
        self._seconds.labels(job.job.verb).observe(job.ended_s - job.created_s)

    def text(self) -> bytes:
        """Return all metrics as text."""
        return generate_latest(self._registry)


def _runs(job: QueuedJob) -> bool:
    return isinstance(job.state, Running)
