"""The tab Live: a photo and the microphone → the face speaks along. The work is done by ``live.js`` and ``live``."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from speech2vid.app.ui.widgets import consent_box, photo_input

ABOUT = "Speak, and the face in the photo speaks along, about half a second later. Nothing is kept."
BUTTONS = """<div class='s2v-live-buttons'>
<button id='live-start' type='button'>Start speaking</button>
<button id='live-stop' type='button' disabled>Stop</button>
</div>"""
STAGE = """<p id='live-status' class='s2v-idle' role='status'>The face will appear here.</p>
<canvas id='live-canvas' hidden role='img' aria-label='The face, speaking'></canvas>"""


def build(example: Path) -> None:
    """Lay the tab out."""
    gr.Markdown(ABOUT)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            photo = photo_input("Photo", "live-photo")
            gr.Examples([[str(example)]], [photo], label="Example", api_visibility="private")
            consent_box("live-consent")
            gr.HTML(BUTTONS, padding=False)
        with gr.Column(min_width=320):
            gr.HTML(STAGE, padding=False)
