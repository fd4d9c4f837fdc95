"""From a tab's inputs to its result: submit a job, follow it, cancel it, show its result."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from speech2vid.app.error_messages import Failure, explain
from speech2vid.app.job_functions import CACHED, JobOutput
from speech2vid.app.jobs import GIVEN, Cancelled, Done, Failed, JobQueue, Running, Waiting
from speech2vid.app.settings import Limits
from speech2vid.app.storage import Storage, Visitor, link
from speech2vid.app.ui.widgets import Updates, displayed, failure_html, note_html, state_html, visitor
from speech2vid.app.workers import Job

IDLE = "<p class='s2v-idle'>The result will appear here.</p>"
STOPPED = Failure("Stopped.", "Nothing was kept.")
MAX_NAME = 60


@dataclass(frozen=True)
class PageJobs:
    """Submits jobs on behalf of the page's visitors."""

    queue: JobQueue
    storage: Storage
    limits: Limits

    async def run(
        self, visitor: Visitor, job: Job, name: str, *, quick: bool = False
    ) -> AsyncGenerator[Waiting | Running | Done | Failure, None]:
        """Run a job on a visitor's files; yield its states. Closing the generator cancels the job.

        Args:
            visitor: who asks.
            job: its inputs are paths as Gradio gives them.
            name: an earlier job of this visitor and name is cancelled, without a word.
            quick: do not wait behind long jobs.
        """
        folder = self.storage.new_folder(visitor)
        names: dict[Path, str] = {}
        kept = {"kept": self.storage.kept(visitor)} if job.verb in CACHED else {}
        try:
            inputs = {key: self._take(visitor, folder, value, names) for key, value in job.inputs.items()}
            job = replace(job, inputs=inputs, options={**job.options, **kept})
            queued = self.queue.submit(job, folder, owner=visitor, name=name, quick=quick, attended=True)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            yield explain(error, names)
            return
        try:
            async for state in queued.states():
                if isinstance(state, Failed):
                    yield explain(state.error, names)
                elif not isinstance(state, Cancelled):
                    yield state
                elif not state.replaced:
                    yield STOPPED
        finally:
            queued.cancel()

    def _take(self, visitor: Visitor, folder: Path, value: Any, names: dict[Path, str]) -> Any:
        """Link a file, or several, into the job's folder: it stays when the upload is removed."""
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self._take(visitor, folder, each, names) for each in value]
        if value is None or not self.storage.may_read(visitor.owner, Path(value)):
            raise FileNotFoundError("a file of somebody else, or one that is gone")
        source = Path(value)
        place = folder / GIVEN / str(len(names))
        place.mkdir(parents=True)
        given = place / f"{source.stem[:MAX_NAME]}{source.suffix[:8]}"
        link(source, given)
        names[given] = given.name
        return given


@dataclass(frozen=True)
class JobPanel:
    """The buttons of a tab with the progress below them, and the right side of it: the video and its download."""

    name: str
    make: gr.Button
    cancel: gr.Button
    status: gr.HTML
    video: gr.Video
    download: gr.DownloadButton

    @staticmethod
    def buttons(label: str, name: str) -> tuple[gr.Button, gr.Button, gr.HTML]:
        """Build the buttons that begin and cancel, and below them the place for progress and failures."""
        with gr.Row():
            make = gr.Button(label, variant="primary", min_width=140, elem_id=f"{name}-make")
            cancel = gr.Button("Cancel", interactive=False, min_width=100, elem_id=f"{name}-cancel")
        return make, cancel, gr.HTML(IDLE, padding=False, elem_id=f"{name}-status")

    @classmethod
    def build(cls, name: str, buttons: tuple[gr.Button, gr.Button, gr.HTML]) -> JobPanel:
        """Build the right side."""
        with gr.Column(elem_classes="s2v-result"):
            video = gr.Video(label="Result", interactive=False, visible=False, buttons=[], elem_id=f"{name}-result")
            download = gr.DownloadButton("Download the video", visible=False, elem_id=f"{name}-download")
        return cls(name, *buttons, video, download)

    def working(self, on: bool) -> Updates:
        """Only one of the buttons can be pressed."""
        return {self.make: gr.update(interactive=not on), self.cancel: gr.update(interactive=on)}

    def show(self, output: JobOutput) -> Updates:
        """A video to play and to keep."""
        line = f"{output.seconds:.1f} s of video, made at {output.fps:.0f} frames a second."
        return {self.status: note_html(line, *output.notes), **self.videos(value=str(output.file), visible=True)}

    def videos(self, **changes: Any) -> Updates:
        """The same change of player and download. Gradio empties an update that it has used: each gets its own."""
        return {self.video: gr.update(**changes), self.download: gr.update(**changes)}

    def connect(
        self,
        jobs: PageJobs,
        inputs: set[Any],
        order: Callable[[dict[Any, Any]], Job | Failure],
        *,
        show: Callable[[Any], Updates] | None = None,
        fresh: Mapping[Any, Any] | None = None,
    ) -> None:
        """Connect the buttons.

        Args:
            jobs: takes the work.
            inputs: components.
            order: the inputs' values by component → the job, or what is missing.
            show: the job's result → changes; by default a video that was made.
            fresh: further components, and their values while there is no result.
        """
        show, fresh = show or self.show, fresh or {}

        async def run(values: dict[Any, Any], request: gr.Request) -> AsyncGenerator[Updates, None]:
            job = order(values)
            if isinstance(job, Failure):
                yield {self.status: failure_html(job)}
                return
            yield {self.status: state_html(Running()), **self.videos(value=None, visible=False), **fresh} | (
                self.working(True)
            )  # in place of what an earlier attempt said
            async with contextlib.aclosing(displayed(jobs.run(visitor(request), job, self.name))) as states:
                async for state in states:
                    if isinstance(state, Done):
                        yield {**show(state.result), **self.working(False)}
                    elif isinstance(state, Failure):
                        yield {self.status: failure_html(state), **self.working(False)}
                    else:
                        yield {self.status: state}

        def stop(request: gr.Request) -> None:
            jobs.queue.cancel(visitor(request), self.name)

        self.make.click(
            run,
            inputs,
            [self.status, self.video, self.download, *fresh, self.make, self.cancel],
            show_progress="hidden",
            concurrency_limit=None,
            api_name=self.name,
            api_visibility="undocumented",
        )
        self.cancel.click(
            stop, queue=False, show_progress="hidden", api_name=f"stop_{self.name}", api_visibility="private"
        )


def missing(needed: Mapping[Failure, object]) -> Failure | None:
    """Return the first failure whose input is not there."""
    return next((failure for failure, given in needed.items() if not given), None)
