"""The tab Talk: photos and a voice → video."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from speech2vid.app import job_functions
from speech2vid.app.error_messages import Failure
from speech2vid.app.jobs import JobQueue
from speech2vid.app.ui.face_picker import Choice, FacePicker, face_index
from speech2vid.app.ui.job_panel import Buttons, Order, Result, connect
from speech2vid.app.ui.widgets import NO_AUDIO, NO_CONSENT, SILENCE, audio_input, consent_box, one_of, photo_input
from speech2vid.constants import IDENTITY_STILLS

NO_PHOTO = Failure("There is no photo yet.", "Upload one, take one with the camera, or click on the example.")


def build(job_queue: JobQueue, example: tuple[Path, Path]) -> None:
    """Lay the tab out and connect it."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            photo = photo_input("Photo", "talk-photo")
            faces = FacePicker.of(job_queue, photo, "Who was found", "look")
            audio = audio_input("What the face says", "talk-sound")
            gr.Examples([[str(example[0]), str(example[1])]], [photo, audio], label="Example", api_visibility="private")
            with gr.Accordion("Options", open=False):
                more = gr.File(
                    label=f"More photos of the same person, up to {IDENTITY_STILLS - 1}",
                    file_count="multiple",
                    file_types=["image"],
                    height=120,
                )
                crop = gr.Checkbox(label="Only the face, not the whole picture")
                silence = one_of("Where nobody speaks", SILENCE)
                label = gr.Checkbox(label="Write “AI-generated” in the corner of the picture")
            consent = consent_box("talk-consent")
            buttons = Buttons.build("Make the video", "talk")
        with gr.Column(min_width=320):
            result = Result.build("talk")

    def order(
        photo_file: str | None,
        more_files: list[str] | None,
        audio_file: str | None,
        face: str | None,
        choice: Choice,
        crop_on: bool,
        silence_name: str,
        label_on: bool,
        agreed: bool,
    ) -> Order:
        return Order(
            job_functions.talk,
            {"photos": [str(photo_file), *(more_files or ())], "audio": audio_file},
            {
                "crop": crop_on,
                "silence": SILENCE[silence_name],
                "label": label_on,
                "face_index": face_index(face, choice),
                "max_seconds": job_queue.limits.max_seconds,
            },
            {NO_PHOTO: photo_file, NO_AUDIO: audio_file, NO_CONSENT: agreed},
        )

    inputs = [photo, more, audio, faces.radio, faces.choice, crop, silence, label, consent]
    connect(job_queue, buttons, result, order, inputs)
