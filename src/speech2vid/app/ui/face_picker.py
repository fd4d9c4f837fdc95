"""Which face is meant: a preview with numbered faces, and a choice among them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speech2vid.app.error_messages import Failure
from speech2vid.app.jobs import Done
from speech2vid.app.previews import Box, FacesFound
from speech2vid.app.ui.job_panel import PageJobs
from speech2vid.app.ui.widgets import LANDMARKS, Updates, displayed, failure_html, shown, visitor
from speech2vid.app.workers import Job


@dataclass(frozen=True)
class Choice:
    """Faces that were found in a picture: boxes in preview pixels, or none yet."""

    boxes: tuple[Box, ...] = ()

    @property
    def names(self) -> list[str]:
        return [f"Face {number}" for number in range(1, len(self.boxes) + 1)]


@dataclass(frozen=True)
class FacePicker:
    """A preview with numbered faces, and a choice among them."""

    preview: gr.Image
    radio: gr.Radio
    message: gr.HTML
    choice: gr.State
    anybody: str | None

    @classmethod
    def of(
        cls, jobs: PageJobs, source: Any, label: str, name: str, landmarks: gr.Radio, anybody: str | None = None
    ) -> FacePicker:
        """Build it below ``source``, whose faces, or the people in it, it shows whenever that changes.

        Args:
            jobs: where the faces are found.
            source: the input component.
            label: of the preview.
            name: of the event.
            landmarks: the choice of detector and landmarks.
            anybody: a further choice, and the first one: no face in particular. Else the largest face is chosen.
        """
        message = gr.HTML("", visible=False, padding=False)
        preview = gr.Image(
            label=label, type="filepath", interactive=False, visible=False, height=260, buttons=[], elem_classes="faces"
        )
        radio = gr.Radio(label="Who speaks?", choices=[], visible=False)
        chooser = cls(preview, radio, message, gr.State(Choice()), anybody)
        outputs = [preview, radio, message, chooser.choice]
        video = isinstance(source, gr.Video)

        verb, field = ("people", "video") if video else ("faces", "face")

        async def look(photo: str | None, models: str, request: gr.Request) -> AsyncGenerator[Updates, None]:
            nothing = {preview: gr.update(visible=False), radio: gr.update(visible=False), chooser.choice: Choice()}
            if not photo:
                jobs.queue.cancel(visitor(request), name, replaced=True)
                yield {**nothing, message: gr.update(visible=False)}
                return
            yield {**nothing, message: shown("<p class='s2v-idle'>Looking for faces …</p>")}
            job = Job(verb, {field: photo}, {"landmarks": LANDMARKS[models]})
            found = jobs.run(visitor(request), job, name, quick=not video)
            async with contextlib.aclosing(displayed(found)) as states:
                async for state in states:
                    if isinstance(state, Done):
                        yield chooser.found(state.result)
                    else:
                        yield {message: shown(failure_html(state) if isinstance(state, Failure) else state)}

        def pick(choice: Choice, event: gr.SelectData) -> Any:
            return nearest(choice, *event.index)

        gr.on(
            [source.change, landmarks.change],
            look,
            [source, landmarks],
            outputs,
            show_progress="hidden",
            trigger_mode="multiple" if video else "always_last",  # the new video need not wait for the old one
            concurrency_limit=None if video else 2,
            api_name=name,
            api_visibility="private",
        )
        preview.select(pick, chooser.choice, radio, show_progress="hidden", queue=False, api_visibility="private")
        return chooser

    @property
    def inputs(self) -> tuple[Any, Any]:
        """The components that ``index`` reads."""
        return self.radio, self.choice

    def index(self, values: dict[Any, Any]) -> int | None:
        """Return the number of the chosen face, as the library counts; None where there is nothing to choose."""
        return face_index(values[self.radio], values[self.choice])

    def found(self, faces: FacesFound) -> Updates:
        """Show what was found, and offer the choice where there is one."""
        choice = Choice(faces.boxes)
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in faces.boxes]
        largest = choice.names[areas.index(max(areas))]
        several = len(areas) > 1
        names = choice.names if self.anybody is None else [self.anybody, *choice.names]
        who = "faces were found" if self.anybody is None else "people were found, numbered as they appear"
        sentence = f"{len(areas)} {who}. Click on the one that shall speak."
        return {
            self.preview: gr.update(value=str(faces.preview), visible=several),
            self.radio: gr.update(choices=names, value=self.anybody or largest, visible=several),
            self.message: shown(f"<p class='s2v-idle'>{sentence}</p>") if several else gr.update(visible=False),
            self.choice: choice,
        }


def nearest(choice: Choice, x: float, y: float) -> str | None:
    """The face whose box holds the point, or is nearest to it."""
    if not choice.boxes:
        return None

    def distance(box: Box) -> float:
        left, top, right, bottom = box
        outside = max(left - x, 0, x - right) ** 2 + max(top - y, 0, y - bottom) ** 2
        return outside or -1 / (1 + ((left + right) / 2 - x) ** 2 + ((top + bottom) / 2 - y) ** 2)

    return choice.names[min(range(len(choice.boxes)), key=lambda index: distance(choice.boxes[index]))]


def face_index(name: str | None, choice: Choice) -> int | None:
    """The number that the library counts with; None where there is nothing to choose."""
    return choice.names.index(name) if len(choice.boxes) > 1 and name in choice.names else None
