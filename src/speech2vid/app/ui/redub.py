"""The tab Re-dub: a video and another voice → the video in which the mouth follows that voice."""

from __future__ import annotations

from typing import Any

import gradio as gr

from speech2vid.app.error_messages import Failure
from speech2vid.app.ui.face_picker import FacePicker
from speech2vid.app.ui.job_panel import JobPanel, PageJobs, missing
from speech2vid.app.ui.widgets import (
    LANDMARKS,
    NO_AUDIO,
    NO_CONSENT,
    SILENCE,
    audio_input,
    consent_box,
    landmarks_choice,
    one_of,
    video_input,
    weights_choice,
)
from speech2vid.app.workers import Job

NO_VIDEO = Failure("There is no video yet.", "Upload one, or record one with the camera.")
WHOEVER = "Whoever speaks"
BLEND = {"By Poisson blending": "poisson", "By the blending network": "network"}
REGION = {"Lower half of the face": "lower", "Whole face": "face"}
LENGTH = {"As long as the new voice": "audio", "As long as the video": "video", "As long as the shorter": "shortest"}


def build(jobs: PageJobs) -> None:
    """Lay the tab out and connect it."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            landmarks = landmarks_choice()
            with gr.Row(equal_height=False, elem_classes="s2v-inputs"):
                with gr.Column(min_width=220):
                    video = video_input("Video", "redub-video")
                with gr.Column(min_width=220):
                    audio = audio_input("New speech", "redub-sound")
            faces = FacePicker.of(jobs, video, "Who was found", "look_video", landmarks, anybody=WHOEVER)
            consent = consent_box("redub-consent")
            buttons = JobPanel.buttons("Re-dub the video", "redub")
            with gr.Accordion("Options", open=False):
                length = one_of("Length", LENGTH)
                silence = one_of("Where nobody speaks", SILENCE)
                blend = one_of("How the mouth is laid in", BLEND)
                region = gr.Radio(
                    label="What Poisson blending may change", choices=list(REGION), value="Lower half of the face"
                )
                landmarks.render()  # type: ignore[no-untyped-call]
                weights = weights_choice()
        with gr.Column(min_width=320):
            panel = JobPanel.build("redub", buttons)

    def order(values: dict[Any, Any]) -> Job | Failure:
        return missing({NO_VIDEO: values[video], NO_AUDIO: values[audio], NO_CONSENT: values[consent]}) or Job(
            "redub",
            {"video": values[video], "audio": values[audio]},
            {
                "length": LENGTH[values[length]],
                "silence": SILENCE[values[silence]],
                "blend": BLEND[values[blend]],
                "region": REGION[values[region]],
                "landmarks": LANDMARKS[values[landmarks]],
                "weights": values[weights] or None,
                "face_index": faces.index(values),
            },
        )

    panel.connect(
        jobs, {video, audio, *faces.inputs, length, silence, blend, region, landmarks, weights, consent}, order
    )
