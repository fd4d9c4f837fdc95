"""From a tab's inputs to its result: begin, watch, cancel, show."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from speech2vid.app import job_functions
from speech2vid.app.error_messages import Failure
from speech2vid.app.jobs import Done, Given, JobQueue, Running
from speech2vid.app.ui.widgets import Updates, displayed, failure_html, note_html, state_html, visitor
from speech2vid.app.workers import Task

IDLE = "<p class='s2v-idle'>The result will appear here.</p>"


@dataclass(frozen=True)
class Order:
    """What a tab asks for.

    Attributes:
        task: what shall be done.
        files: the visitor's files by the task's names.
        options: further arguments.
        needed: what is said → what must be there, else.
        keeps: the task also gets the folder of what a page keeps from job to job.
    """

    task: Task
    files: Mapping[str, Given]
    options: Mapping[str, Any]
    needed: Mapping[Failure, object] = field(default_factory=dict)
    keeps: bool = False

    @property
    def missing(self) -> Failure | None:
        """The first failure whose thing is not there."""
        return next((failure for failure, given in self.needed.items() if not given), None)


@dataclass(frozen=True)
class Buttons:
    """Begin, and cancel."""

    make: gr.Button
    cancel: gr.Button
    name: str

    @classmethod
    def build(cls, label: str, name: str) -> Buttons:
        with gr.Row():
            make = gr.Button(label, variant="primary", min_width=140, elem_id=f"{name}-make")
            cancel = gr.Button("Cancel", interactive=False, min_width=100, elem_id=f"{name}-cancel")
        return cls(make, cancel, name)

    def updates(self, *, working: bool) -> Updates:
        """Only one of them can be pressed."""
        return {self.make: gr.update(interactive=not working), self.cancel: gr.update(interactive=working)}


@dataclass(frozen=True)
class Result:
    """The right side of a tab: how far it is, the video, and its download."""

    status: gr.HTML
    video: gr.Video
    download: gr.DownloadButton

    @classmethod
    def build(cls, name: str) -> Result:
        status = gr.HTML(IDLE, padding=False, elem_id=f"{name}-status")
        video = gr.Video(label="Result", interactive=False, visible=False, buttons=[], elem_id=f"{name}-result")
        return cls(status, video, gr.DownloadButton("Download the video", visible=False, elem_id=f"{name}-download"))

    def show_video(self, show_video: job_functions.JobOutput) -> Updates:
        """A video to play and to keep."""
        lines = [
            f"{show_video.seconds:.1f} s of video, made at {show_video.fps:.0f} frames a second.",
            *show_video.notes,
        ]
        return {self.status: note_html(*lines), **self.file(show_video.file)}

    def file(self, file: Path) -> Updates:
        """Play a file, and offer it."""
        return self.videos(value=str(file), visible=True)

    def videos(self, **changes: Any) -> Updates:
        """The same change of player and download. Gradio empties an update that it has used: each gets its own."""
        return {self.video: gr.update(**changes), self.download: gr.update(**changes)}


def connect(
    job_queue: JobQueue,
    buttons: Buttons,
    result: Result,
    order: Callable[..., Order],
    inputs: Sequence[Any],
    *,
    show: Callable[[Any], Updates] | None = None,
    fresh: Mapping[Any, Any] | None = None,
) -> None:
    """Let a tab work: what is missing is said first, a job is followed to its end, cancelling stops it.

    Args:
        job_queue: takes the work.
        buttons: begin and cancel.
        result: where it is shown.
        order: the inputs' values → what is asked for.
        inputs: components.
        show: the task's result → changes; by default a video that was made.
        fresh: further components, and what they show while there is no result.
    """
    show, fresh = show or result.show_video, fresh or {}

    async def run(request: gr.Request, *values: Any) -> AsyncGenerator[Updates, None]:
        requested = order(*values)
        if requested.missing is not None:
            yield {result.status: failure_html(requested.missing)}
            return
        start = {result.status: state_html(Running(0, None, None)), **result.videos(value=None, visible=False), **fresh}
        yield {**start, **buttons.updates(working=True)}  # in place of what an earlier attempt said
        work = job_queue.serve(
            visitor(request), requested.task, requested.files, keeps=requested.keeps, **requested.options
        )
        async with contextlib.aclosing(displayed(work)) as states:
            async for state in states:
                if isinstance(state, Done):
                    yield {**show(state.result), **buttons.updates(working=False)}
                elif isinstance(state, Failure):
                    yield {result.status: failure_html(state), **buttons.updates(working=False)}
                else:
                    yield {result.status: state}

    def stop(request: gr.Request) -> None:
        job_queue.stop(visitor(request))

    buttons.make.click(
        run,
        list(inputs),
        [result.status, result.video, result.download, *fresh, buttons.make, buttons.cancel],
        show_progress="hidden",
        concurrency_limit=None,
        api_name=buttons.name,
        api_visibility="undocumented",
    )
    buttons.cancel.click(
        stop,
        None,
        None,
        queue=False,
        show_progress="hidden",
        api_name=f"stop_{buttons.name}",
        api_visibility="private",
    )
