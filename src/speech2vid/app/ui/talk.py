"""The tab Talk: photos and a voice → video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from speech2vid.app.error_messages import Failure
from speech2vid.app.ui.face_picker import FacePicker
from speech2vid.app.ui.job_panel import JobPanel, PageJobs, missing
from speech2vid.app.ui.widgets import (
    LANDMARKS,
    MOTION,
    NO_AUDIO,
    NO_CONSENT,
    SILENCE,
    audio_input,
    consent_box,
    landmarks_choice,
    one_of,
    photo_input,
    weights_choice,
)
from speech2vid.app.workers import Job
from speech2vid.constants import IDENTITY_STILLS

NO_PHOTO = Failure("There is no photo yet.", "Upload one, take one with the camera, or click on the example.")


def build(jobs: PageJobs, example: tuple[Path, Path]) -> None:
    """Lay the tab out and connect it."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            landmarks = landmarks_choice()
            with gr.Row(equal_height=False, elem_classes="s2v-inputs"):
                with gr.Column(min_width=220):
                    photo = photo_input("Photo", "talk-photo")
                with gr.Column(min_width=220):
                    audio = audio_input("Speech", "talk-sound")
            faces = FacePicker.of(jobs, photo, "Who was found", "look", landmarks)
            consent = consent_box("talk-consent")
            buttons = JobPanel.buttons("Make the video", "talk")
            gr.Examples([[str(example[0]), str(example[1])]], [photo, audio], label="Example", api_visibility="private")
            with gr.Accordion("Options", open=False):
                more = gr.File(
                    label=f"More photos of the same person, up to {IDENTITY_STILLS - 1}",
                    file_count="multiple",
                    file_types=["image"],
                    height=120,
                )
                crop = gr.Checkbox(label="Only the face, not the whole picture")
                motion = one_of("Head and eyes", MOTION)
                silence = one_of("Where nobody speaks", SILENCE)
                landmarks.render()  # type: ignore[no-untyped-call]
                weights = weights_choice()
                label = gr.Checkbox(label="Write “AI-generated” in the corner of the picture")
        with gr.Column(min_width=320):
            panel = JobPanel.build("talk", buttons)

    def order(values: dict[Any, Any]) -> Job | Failure:
        return missing({NO_PHOTO: values[photo], NO_AUDIO: values[audio], NO_CONSENT: values[consent]}) or Job(
            "talk",
            {"face": [values[photo], *(values[more] or ())], "audio": values[audio]},
            {
                "crop": values[crop],
                "motion": MOTION[values[motion]],
                "silence": SILENCE[values[silence]],
                "label": values[label],
                "landmarks": LANDMARKS[values[landmarks]],
                "weights": values[weights] or None,
                "face_index": faces.index(values),
            },
        )

    fields = {photo, more, audio, *faces.inputs, crop, motion, silence, landmarks, weights, label, consent}
    panel.connect(jobs, fields, order)
