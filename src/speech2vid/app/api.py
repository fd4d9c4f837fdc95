"""The endpoint for programs: videos by HTTP, frames by WebSocket.

``POST /talk``, ``/redub``, ``/sync`` and ``/people`` take a form (multipart/form-data) of files and settings. The
answer is the result, or with ``?wait=false`` a job to look at, fetch and cancel below ``/jobs``. Every failure is
``{"error": …, "hint": …}`` with a status of 400 or more. For ``/live`` see :mod:`speech2vid.app.live`; all else is
described at ``/docs``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Match, WebSocketRoute
from starlette.types import Receive, Scope, Send

from speech2vid import __version__
from speech2vid.app import webhooks
from speech2vid.app.access_control import DOCS, DOCS_FILES, EndpointAccess, with_upload_timeout
from speech2vid.app.error_messages import is_full, without_paths
from speech2vid.app.forms import VERBS, VIDEO, Error, JobStatus, Verb
from speech2vid.app.job_functions import JobOutput, SyncFound, TooLong
from speech2vid.app.jobs import GIVEN, Cancelled, Done, Failed, QueuedJob, QueueFull, Running, Waiting
from speech2vid.app.live import read_settings
from speech2vid.app.previews import FacesFound
from speech2vid.app.settings import MEGABYTE
from speech2vid.app.storage import Visitor
from speech2vid.app.webhooks import check_webhook
from speech2vid.app.workers import Job, WorkerDied
from speech2vid.errors import ConfigError, Speech2VidError

if TYPE_CHECKING:
    from speech2vid.app.server import Server

log = logging.getLogger(__name__)

RETRY = {"Retry-After": "30"}
LOOK_EVERY_S = 0.2  # whether the client is still there
OWNER = Visitor("endpoint", "jobs")
UNEXPECTED = {"error": "something went wrong in the server", "hint": "the server's log has the reason"}
DESCRIPTION = """Talking-face videos from a photo and a voice; re-dubbing, audio offset and people of videos.
Live streaming is at the WebSocket `/live`. Every generated video is synthetic, and says so in its metadata."""


def create(
    server: Server,
    *,
    hosts: tuple[str, ...] | None = None,
    token: str | None = None,
    webhook_hosts: tuple[str, ...] = (),
    lifespan: Callable[[Any], Any] | None = None,
) -> fastapi.FastAPI:
    """Return the endpoint of a server as an ASGI application.

    Args:
        server: does the work.
        hosts: names under which it may be called; None for any.
        token: bearer token that every request must carry, but for health and documentation; None for no token.
        webhook_hosts: names of hosts to which the end of a job may be reported.
        lifespan: of the application.
    """
    endpoint = _Endpoint(server, token, webhook_hosts)
    handlers: dict[Any, Any] = dict.fromkeys(
        (HTTPException, RequestValidationError, Speech2VidError, Exception), _failure
    )
    handlers[ClientDisconnect] = _gone
    app = FastAPIOffline(  # Swagger UI from the package, not from another server
        docs_url=DOCS,
        redoc_url=None,
        static_url=DOCS_FILES,
        title="speech2vid",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        exception_handlers=handlers,
        middleware=[Middleware(EndpointAccess, hosts=hosts, token=token)],
    )
    secured: dict[str, Any] = {} if token is None else {"security": [{"bearer": []}]}
    failure: dict[int | str, dict[str, Any]] = {"default": {"model": Error, "description": "The request failed."}}
    job: dict[int | str, dict[str, Any]] = {202: {"model": JobStatus, "description": "With wait=false: the job."}}

    def add(method: str, path: str, function: Callable[..., Any], tag: str, **options: Any) -> None:
        responses = {**options.pop("responses", {}), **failure}
        extra = options.pop("openapi_extra", {}) | secured
        app.add_api_route(
            path, function, methods=[method], tags=[tag], responses=responses, openapi_extra=extra, **options
        )

    for name, verb in VERBS.items():
        content = {"content": {media: {} for media in verb.media}, "description": "The result."}
        options = {"summary": verb.summary, "response_class": Response, "openapi_extra": verb.schema}
        add("POST", f"/{name}", endpoint.post(name, verb), "verbs", responses={200: content, **job}, **options)
    add("GET", "/jobs/{id}", endpoint.look, "jobs", response_model=JobStatus, response_model_exclude_none=True)
    add("GET", "/jobs/{id}/result", endpoint.fetch, "jobs", response_class=Response)
    add("DELETE", "/jobs/{id}", endpoint.cancel, "jobs", status_code=204)
    add("GET", "/health", endpoint.health, "server")
    add("GET", "/metrics", endpoint.metrics, "server", response_class=Response)
    app.router.routes.append(WebSocketRoute("/live", server.live.__call__))
    _declare_token(app, token)
    return app


class _Endpoint:
    """The requests of the endpoint, and the jobs that their clients come back for."""

    def __init__(self, server: Server, token: str | None, webhook_hosts: tuple[str, ...]) -> None:
        self._server, self._limits = server, server.limits
        self._token, self._webhook_hosts = token, webhook_hosts
        self._jobs: dict[str, QueuedJob] = {}
        self._reports: set[asyncio.Task[None]] = set()

    async def health(self) -> dict[str, Any]:
        """Return the version, and how many jobs and live streams there are."""
        return {"version": __version__, "jobs": len(self._server.queue.jobs), "streams": self._server.live.running}

    async def metrics(self) -> Response:
        """Return metrics in the text format of Prometheus."""
        text = await asyncio.to_thread(self._server.metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def post(self, name: str, verb: Verb) -> Callable[..., Any]:
        """Return the handler of a verb."""

        async def handle(request: Request, wait: bool = True) -> Response:
            folder = None
            self._check_size(request.headers)
            try:
                with self._server.queue.upload():
                    folder = self._server.storage.new_folder(OWNER)
                    inputs, settings = await self._read_form(request, verb, folder)
                webhook = settings.pop("webhook")
                if webhook is not None and wait:
                    raise ConfigError("a webhook needs wait=false", "add ?wait=false to the address")
                if webhook is not None:
                    check_webhook(webhook, self._webhook_hosts)
                job = Job("faces" if name == "people" and "face" in inputs else name, inputs, settings)
                queued = self._server.queue.submit(job, folder)
            except BaseException:
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            if not wait:
                self._forget_old()
                self._jobs[queued.id] = queued
                if webhook is not None:
                    report = asyncio.create_task(self._report(queued, webhook))
                    self._reports.add(report)
                    report.add_done_callback(self._reports.discard)
                place = f"{request.scope.get('root_path', '')}/jobs/{queued.id}"
                status = _status(queued).model_dump(exclude_none=True)
                return JSONResponse(status, 202, headers={"Location": place})
            try:
                while not await queued.wait(LOOK_EVERY_S):
                    if await request.is_disconnected():
                        raise ClientDisconnect
                return _result(queued, once=True)
            except BaseException:
                queued.cancel()
                shutil.rmtree(folder, ignore_errors=True)
                raise

        return handle

    async def _report(self, job: QueuedJob, webhook: str) -> None:
        """Report a job to its client's address when it has ended."""
        await job.wait()
        status = _status(job).model_dump(exclude_none=True)
        await asyncio.to_thread(webhooks.send, webhook, status, self._token)

    async def look(self, id: str) -> JobStatus:
        """Return the state of a job."""
        return _status(self._find(id))

    async def fetch(self, id: str) -> Response:
        """Return the result of a job, as its POST would have."""
        job = self._find(id)
        if job.end is None:
            raise HTTPException(409, "the job has not ended yet")
        return _result(job)

    async def cancel(self, id: str) -> Response:
        """Cancel a job, or remove the result of one that has ended."""
        job = self._find(id)
        job.cancel()
        await job.wait()
        shutil.rmtree(job.folder, ignore_errors=True)
        del self._jobs[id]
        return Response(status_code=204)

    def _find(self, id: str) -> QueuedJob:
        self._forget_old()
        if id not in self._jobs:
            raise HTTPException(404, "there is no such job: it was deleted, or it ended too long ago")
        return self._jobs[id]

    def _forget_old(self) -> None:
        before = time.monotonic() - self._limits.keep_s
        for job in [job for job in self._jobs.values() if job.end is not None and job.ended_s < before]:
            shutil.rmtree(job.folder, ignore_errors=True)
            del self._jobs[job.id]

    def _check_size(self, headers: Headers) -> None:
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise HTTPException(411, "the size of the request is not known")
        if int(length) > self._limits.max_upload_mb * MEGABYTE:
            raise HTTPException(413, f"the request is larger than {self._limits.max_upload_mb:g} MB")
        if self._server.storage.stored_bytes() + int(length) > self._limits.max_stored_mb * MEGABYTE:
            raise HTTPException(507, "the server has no room for more files", {"Retry-After": "60"})

    async def _read_form(self, request: Request, verb: Verb, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Save the files of a form, and check its settings; return both by name."""

        def too_slow() -> Any:
            raise HTTPException(408, f"nothing has come for {self._limits.pause_s:g} s")

        upload = Request(request.scope, with_upload_timeout(request.receive, self._limits.pause_s, too_slow))
        most, fields = sum(verb.files.values()), len(verb.fields.model_fields)
        async with upload.form(max_files=most, max_fields=fields + 1, max_part_size=1000) as form:
            entries = form.multi_items()
            text = {name: value for name, value in entries if isinstance(value, str)}
            settings = read_settings(verb.fields, text).model_dump()
            inputs: dict[str, Any] = {}
            for name, most in verb.files.items():
                uploads = [value for key, value in entries if key == name and isinstance(value, UploadFile)]
                if len(uploads) > most:
                    raise HTTPException(400, f"the form has more than {most} files {name!r}")
                if uploads:
                    paths = [folder / GIVEN / f"{name}-{number}" for number in range(len(uploads))]
                    for source, path in zip(uploads, paths, strict=True):
                        await asyncio.to_thread(_save, source, path)
                    inputs[name] = paths if most > 1 else paths[0]
        strangers = {key for key, value in entries if isinstance(value, UploadFile)} - set(verb.files)
        if strangers:
            raise ConfigError(f"there is no file {min(strangers)[:40]!r}", f"there are {', '.join(verb.files)}")
        if verb.any_of and len(inputs) != 1:
            raise HTTPException(400, f"the form must have one file: {' or '.join(map(repr, verb.files))}")
        for name in () if verb.any_of else verb.files:
            if name not in inputs:
                raise HTTPException(400, f"the form has no file {name!r}")
        return inputs, settings


class _SentOnce(FileResponse):
    """A file that is removed, with its folder, when it has been sent or nobody takes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


def _status(job: QueuedJob) -> JobStatus:
    facts: dict[str, Any] = {"id": job.id, "verb": job.job.verb, "state": type(job.state).__name__.lower()}
    match job.state:
        case Waiting(before):
            facts |= {"before": before}
        case Running(done, total, left_s):
            facts |= {"done": done, "total": total, "left_s": left_s and round(left_s, 1)}
        case Done(JobOutput() as output):
            facts |= {"result": {"frames": output.frames, "seconds": output.seconds, "notes": list(output.notes)}}
        case Done(SyncFound() as found):
            facts |= {"result": found.report}
        case Failed(error):
            _, answer = _explain(error, job)
            facts |= answer
    return JobStatus(**facts)


def _result(job: QueuedJob, once: bool = False) -> Response:
    """The answer to a job that has ended; ``once``: its files go with it."""
    kind = _SentOnce if once else FileResponse
    match job.end:
        case Done(JobOutput(file=file)):
            return kind(file, media_type=VIDEO, filename=file.name)
        case Done(SyncFound(fixed=Path() as file)) if job.job.options.get("fix"):
            media = VIDEO if file.suffix == ".mp4" else "video/x-matroska"
            return kind(file, media_type=media, filename=file.name)
        case Done(SyncFound() as found):
            answer: dict[str, Any] = found.report
        case Done(FacesFound() as faces):
            people = [{"face_index": index, "box": list(box)} for index, box in enumerate(faces.boxes)]
            answer = {"people": people, "image_jpeg_base64": base64.b64encode(faces.preview.read_bytes()).decode()}
        case Failed(error):
            status, answer = _explain(error, job)
            return JSONResponse(answer, status, RETRY if status == 503 else None)
        case _:
            assert isinstance(job.end, Cancelled)
            return JSONResponse({"error": "the job was cancelled", "hint": "send it again"}, 410)
    if once:
        shutil.rmtree(job.folder, ignore_errors=True)
    return JSONResponse(answer)


def _explain(error: BaseException, job: QueuedJob | None = None) -> tuple[int, dict[str, Any]]:
    """Status and answer for a failure; the client's files are called by their fields."""
    names: dict[Path, str] = {}
    for name, value in (job.job.inputs if job is not None else {}).items():
        paths = value if isinstance(value, list) else [value]
        names |= {path: f"the {name} file{f' {n + 1}' if len(paths) > 1 else ''}" for n, path in enumerate(paths)}
    if is_full(error):
        log.error("a result could not be written", exc_info=error)
        return 507, {"error": "the server has no room for the result", "hint": "try again later"}
    if not isinstance(error, Speech2VidError):
        log.error("a job failed", exc_info=error)
        return 500, dict(UNEXPECTED)
    status = 422
    for kind, number in ((TooLong, 413), (QueueFull, 503), (WorkerDied, 500)):
        status = number if isinstance(error, kind) else status
    if isinstance(error, WorkerDied):
        log.error("%s", error)
    hint = without_paths(error.hint, names).replace("--face-index", "the field face_index")
    return status, {"error": without_paths(error.message, names), "hint": hint}


def _save(upload: UploadFile, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)


def _declare_token(app: fastapi.FastAPI, token: str | None) -> None:
    """Describe the token in OpenAPI, so that it can be given at ``/docs``."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        if token is not None:
            schema.setdefault("components", {})["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        return schema

    app.openapi = described  # type: ignore[method-assign]


async def _failure(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        name, message = str(first["loc"][-1])[:40], str(first["msg"])
        answer = {"error": f"{name} cannot be {str(first['input'])[:40]!r}", "hint": message[0].lower() + message[1:]}
        return JSONResponse(answer, 422)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        if error.status_code == 405:  # all methods of the path, not those of its first route
            routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
            methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
            headers["Allow"] = ", ".join(sorted(methods))
        return JSONResponse({"error": error.detail, "hint": ""}, error.status_code, headers)
    status, answer = _explain(error)
    return JSONResponse(answer, status, RETRY if status == 503 else None)


async def _gone(request: Request, error: Exception) -> Response:
    """For a client that has hung up: it will not read it."""
    return Response(status_code=400)
