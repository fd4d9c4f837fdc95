"""Pieces that several tabs are made of."""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speech2vid.app import tasks
from speech2vid.app.desk import Desk, Done, Running, State, Visitor, Waiting
from speech2vid.app.gate import COOKIE
from speech2vid.app.sentences import Failure

CONSENT = "The person shown, and the person heard, agree to this; and I will say that the video is synthetic."
NO_CONSENT = Failure("Please tick the box about consent first.", "It stands above the button.")
NO_SOUND = Failure("There is no sound yet.", "Upload a recording, or speak into the microphone.")
SILENCE = {"Keep the mouth closed": "hold", "Follow every sound": "follow"}
REPEAT_S = 2.0  # a generator that stays silent does not notice that its listener has gone
IDLE = "<p class='s2v-idle'>The result will appear here.</p>"

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Choice:
    """Faces that were found in a picture: boxes in preview pixels, or none yet."""

    boxes: tuple[tasks.Box, ...] = ()

    @property
    def names(self) -> list[str]:
        return [f"Face {number}" for number in range(1, len(self.boxes) + 1)]


def photo_input(label: str, name: str) -> gr.Image:
    """An image input that hands over the file as it was uploaded: what cannot be read gets the library's sentence."""
    photo = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        interactive=True,
        height=260,
        buttons=[],
        elem_id=name,
    )

    def hand_over(payload: Any) -> str | None:
        return None if payload is None else payload.path

    photo.preprocess = hand_over  # type: ignore[method-assign]  # a subclass would make Gradio write a file beside ours
    return photo


def sound_input(label: str, name: str) -> gr.Audio:
    """A sound input."""
    return gr.Audio(
        label=label, sources=["upload", "microphone"], type="filepath", editable=False, buttons=[], elem_id=name
    )


def video_input(label: str, name: str) -> gr.Video:
    """A video input."""
    return gr.Video(label=label, sources=["upload", "webcam"], height=260, buttons=[], elem_id=name)


def consent_box(name: str) -> gr.Checkbox:
    """To be ticked before anything is generated."""
    return gr.Checkbox(label=CONSENT, elem_id=name)


def one_of(label: str, names: Mapping[str, object]) -> gr.Radio:
    """A choice among names, the first of which is chosen."""
    return gr.Radio(label=label, choices=list(names), value=next(iter(names)))


def missing_of(needed: Mapping[Failure, object]) -> Failure | None:
    """The first failure whose thing is not there."""
    return next((failure for failure, given in needed.items() if not given), None)


def visitor(request: gr.Request) -> Visitor:
    """Who sent a request. The gate has made sure that there is a cookie."""
    return Visitor(str(request.cookies[COOKIE]), str(request.session_hash))


def failure_html(failure: Failure) -> str:
    """A failure, in red, read out by screen readers."""
    hint = f"<br><span>{html.escape(failure.hint)}</span>" if failure.hint else ""
    return f"<div class='s2v-failure' role='alert'><strong>{html.escape(failure.message)}</strong>{hint}</div>"


def state_html(state: Waiting | Running) -> str:
    """A state of a job that is not over."""
    if isinstance(state, Waiting):
        jobs = "1 job is" if state.before == 1 else f"{state.before} jobs are"
        return f"<div class='s2v-progress'><progress></progress><p>{jobs} before yours.</p></div>"
    if isinstance(state, Running) and state.total:
        left = "" if state.left_s is None else f" · about {max(1, round(state.left_s))} s left"
        bar = f"<progress value='{state.done}' max='{state.total}'></progress>"
        return f"<div class='s2v-progress'>{bar}<p>{state.done} of {state.total} frames{left}</p></div>"
    return "<div class='s2v-progress'><progress></progress><p>Looking at the files …</p></div>"


def note_html(*lines: str) -> str:
    """What was made, one line each."""
    return "<div class='s2v-done' role='status'>" + "<br>".join(html.escape(line) for line in lines) + "</div>"


@dataclass(frozen=True)
class FaceChooser:
    """A preview with numbered faces, and a choice among them."""

    preview: gr.Image
    radio: gr.Radio
    message: gr.HTML
    choice: gr.State
    anybody: str | None

    @classmethod
    def of(cls, desk: Desk, source: Any, label: str, name: str, anybody: str | None = None) -> FaceChooser:
        """Build it below ``source``, whose picture it shows whenever that changes.

        Args:
            desk: where the faces are found.
            source: the input component.
            label: of the preview.
            name: of the event.
            anybody: a further choice, and the first one: no face in particular. Else the largest face is chosen.
        """
        message = gr.HTML("", visible=False, padding=False)
        preview = gr.Image(
            label=label, type="filepath", interactive=False, visible=False, height=260, buttons=[], elem_classes="faces"
        )
        radio = gr.Radio(label="Who speaks?", choices=[], visible=False)
        chooser = cls(preview, radio, message, gr.State(Choice()), anybody)
        outputs = [preview, radio, message, chooser.choice]

        async def look(picture: str | None, request: gr.Request) -> AsyncGenerator[Updates, None]:
            nothing = {preview: gr.update(visible=False), radio: gr.update(visible=False), chooser.choice: Choice()}
            if not picture:
                yield {**nothing, message: gr.update(visible=False)}
                return
            yield {**nothing, message: shown("<p class='s2v-idle'>Looking for faces …</p>")}
            files, video = {"picture": picture}, isinstance(source, gr.Video)
            work = desk.serve(visitor(request), tasks.find_faces, files, at_once=True, video=video)
            async with contextlib.aclosing(work) as states:
                async for state in states:
                    if isinstance(state, Done):
                        yield chooser.found(state.result)
                    elif isinstance(state, Failure):
                        yield {message: shown(failure_html(state))}

        def pick(choice: Choice, event: gr.SelectData) -> Any:
            return nearest(choice, *event.index)

        source.change(
            look,
            source,
            outputs,
            show_progress="hidden",
            concurrency_limit=2,
            concurrency_id="look",
            api_name=name,
            api_visibility="private",
        )
        preview.select(pick, chooser.choice, radio, show_progress="hidden", queue=False, api_visibility="private")
        return chooser

    def found(self, faces: tasks.FacesFound) -> Updates:
        """Show what was found, and offer the choice where there is one."""
        choice = Choice(faces.boxes)
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in faces.boxes]
        largest = choice.names[areas.index(max(areas))]
        several = len(areas) > 1
        names = choice.names if self.anybody is None else [self.anybody, *choice.names]
        sentence = f"{len(areas)} faces were found. Click on the one that shall speak." if several else ""
        return {
            self.preview: gr.update(value=str(faces.preview), visible=True),
            self.radio: gr.update(choices=names, value=self.anybody or largest, visible=several),
            self.message: shown(f"<p class='s2v-idle'>{sentence}</p>") if several else gr.update(visible=False),
            self.choice: choice,
        }


def shown(text: str) -> Any:
    """A change that shows a text."""
    return gr.update(value=text, visible=True)


def nearest(choice: Choice, x: float, y: float) -> str | None:
    """The face whose box holds the point, or is nearest to it."""
    if not choice.boxes:
        return None

    def distance(box: tasks.Box) -> float:
        left, top, right, bottom = box
        outside = max(left - x, 0, x - right) ** 2 + max(top - y, 0, y - bottom) ** 2
        return outside or -1 / (1 + ((left + right) / 2 - x) ** 2 + ((top + bottom) / 2 - y) ** 2)

    return choice.names[min(range(len(choice.boxes)), key=lambda index: distance(choice.boxes[index]))]


def face_index(name: str | None, choice: Choice) -> int | None:
    """The number that the library counts with; None where there is nothing to choose."""
    return choice.names.index(name) if len(choice.boxes) > 1 and name in choice.names else None


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

    def connect(self, desk: Desk, run: Any, inputs: list[Any], outputs: list[Any]) -> None:
        """``run`` begins the work; cancelling stops whatever the page has running."""

        def stop(request: gr.Request) -> None:
            desk.stop(visitor(request))

        self.make.click(
            run,
            inputs,
            [*outputs, self.make, self.cancel],
            show_progress="hidden",
            concurrency_limit=None,
            api_name=self.name,
            api_visibility="undocumented",
        )
        self.cancel.click(
            stop,
            None,
            None,
            queue=False,
            show_progress="hidden",
            api_name=f"stop_{self.name}",
            api_visibility="private",
        )


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

    @property
    def outputs(self) -> list[Any]:
        return [self.status, self.video, self.download]

    async def follow(
        self, states: AsyncGenerator[State, None], buttons: Buttons, show: Callable[[Any], Updates]
    ) -> AsyncGenerator[Updates, None]:
        """Show the states of a job as they come, and what ``show`` makes of its result."""
        status = state_html(Running(0, None, None))  # in place of what an earlier attempt said
        yield {self.status: status, **self._videos(value=None, visible=False), **buttons.updates(working=True)}
        shown, shown_s = "", 0.0
        async with contextlib.aclosing(states):
            async for state in states:
                if isinstance(state, Done):
                    yield {**show(state.result), **buttons.updates(working=False)}
                elif isinstance(state, Failure):
                    yield {self.status: failure_html(state), **buttons.updates(working=False)}
                elif (text := state_html(state)) != shown or time.monotonic() - shown_s > REPEAT_S:
                    shown, shown_s = text, time.monotonic()
                    yield {self.status: text}

    def made(self, made: tasks.Made) -> Updates:
        """A video to play and to keep."""
        lines = [f"{made.seconds:.1f} s of video, made at {made.fps:.0f} frames a second.", *made.notes]
        return {self.status: note_html(*lines), **self.file(made.file)}

    def file(self, file: Path) -> Updates:
        """Play a file, and offer it."""
        return self._videos(value=str(file), visible=True)

    def _videos(self, **changes: Any) -> Updates:
        """The same change of player and download. Gradio empties an update that it has used: each gets its own."""
        return {self.video: gr.update(**changes), self.download: gr.update(**changes)}
