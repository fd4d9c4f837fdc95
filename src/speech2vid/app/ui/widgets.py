"""Pieces that several tabs are made of."""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import gradio as gr

from speech2vid.app.access_control import COOKIE
from speech2vid.app.error_messages import Failure
from speech2vid.app.jobs import Done, Running, Waiting
from speech2vid.app.storage import Visitor
from speech2vid.runtime.weights import installed_sets

CONSENT = "The person shown, and the person heard, agree to this; and I will say that the video is synthetic."
NO_CONSENT = Failure("Please tick the box about consent first.", "It stands above the button.")
NO_AUDIO = Failure("There is no audio yet.", "Upload a recording, or speak into the microphone.")
LANDMARKS = {"Upright faces": "paper", "Faces at any tilt": "mesh"}
MOTION = {"Only the mouth moves": "still", "Natural": "natural", "Subtle": "subtle"}
SILENCE = {"Keep the mouth closed": "hold", "Follow all audio": "follow"}
INPUT_PX = 220  # high: inputs and the button below them stay in one window
REPEAT_S = 2.0  # a generator that stays silent does not notice that its listener has gone

Updates = dict[Any, Any]


def photo_input(label: str, name: str) -> gr.Image:
    """An image input that hands over the file as it was uploaded: what cannot be read gets the library's sentence."""
    photo = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        interactive=True,
        height=INPUT_PX,
        buttons=[],
        elem_id=name,
        elem_classes="s2v-input",
    )

    def hand_over(payload: Any) -> str | None:
        return None if payload is None else payload.path

    photo.preprocess = hand_over  # type: ignore[method-assign]  # a subclass would make Gradio write a file next to ours
    return photo


def audio_input(label: str, name: str) -> gr.Audio:
    """A recording input."""
    return gr.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        editable=False,
        buttons=[],
        elem_id=name,
        elem_classes="s2v-input",
    )


def video_input(label: str, name: str) -> gr.Video:
    """A video input."""
    return gr.Video(
        label=label, sources=["upload", "webcam"], height=INPUT_PX, buttons=[], elem_id=name, elem_classes="s2v-input"
    )


def consent_box(name: str) -> gr.Checkbox:
    """To be ticked before anything is generated."""
    return gr.Checkbox(label=CONSENT, elem_id=name)


def one_of(label: str, names: Mapping[str, object]) -> gr.Radio:
    """A choice among names, the first of which is chosen."""
    return gr.Radio(label=label, choices=list(names), value=next(iter(names)))


def landmarks_choice() -> gr.Radio:
    """The detector and the landmarks; to be rendered where it shall stand."""
    return gr.Radio(label="Faces to look for", choices=list(LANDMARKS), value=next(iter(LANDMARKS)), render=False)


def weights_choice() -> gr.Radio:
    """A set of weights, shown where several are installed."""
    names = [each.name for each in installed_sets()]
    choices = [("Those of this server", ""), *((name, name) for name in names)]
    return gr.Radio(label="Networks", choices=choices, value="", visible=len(names) > 1)


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
        doing = f"{html.escape(state.doing)}: " if state.doing else ""
        return f"<div class='s2v-progress'>{bar}<p>{doing}{state.done} of {state.total} frames{left}</p></div>"
    return "<div class='s2v-progress'><progress></progress><p>Looking at the files …</p></div>"


async def displayed(
    states: AsyncGenerator[Waiting | Running | Done | Failure, None],
) -> AsyncGenerator[Done | Failure | str, None]:
    """The states of a job, those on its way as HTML: each once, and again where nothing else is said for a while."""
    said, said_s = "", 0.0
    async with contextlib.aclosing(states):
        async for state in states:
            if isinstance(state, Done | Failure):
                yield state
            elif (text := state_html(state)) != said or time.monotonic() - said_s > REPEAT_S:
                said, said_s = text, time.monotonic()
                yield text


def note_html(*lines: str) -> str:
    """What was made, one line each."""
    return "<div class='s2v-done' role='status'>" + "<br>".join(html.escape(line) for line in lines) + "</div>"


def shown(text: str) -> Any:
    """A change that shows a text."""
    return gr.update(value=text, visible=True)
