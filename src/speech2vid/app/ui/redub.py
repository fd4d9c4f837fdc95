"""The tab Re-dub: a video and another voice → the video in which the mouth follows that voice."""

from __future__ import annotations

import gradio as gr

from speech2vid.app import job_functions
from speech2vid.app.error_messages import Failure
from speech2vid.app.jobs import JobQueue
from speech2vid.app.ui.face_picker import Choice, FacePicker, face_index
from speech2vid.app.ui.job_panel import Buttons, Order, Result, connect
from speech2vid.app.ui.widgets import NO_AUDIO, NO_CONSENT, SILENCE, audio_input, consent_box, one_of, video_input

NO_VIDEO = Failure("There is no video yet.", "Upload one, or record one with the camera.")
WHOEVER = "Whoever speaks"
BLEND = {"By Poisson blending": "poisson", "By the blending network": "network"}
REGION = {"Lower half of the face": "lower", "Whole face": "face"}
LENGTH = {"As long as the new voice": "audio", "As long as the video": "video", "As long as the shorter": "shortest"}


def build(job_queue: JobQueue) -> None:
    """Lay the tab out and connect it."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            video = video_input("Video", "redub-video")
            faces = FacePicker.of(job_queue, video, "Who was found", "look_video", anybody=WHOEVER)
            audio = audio_input("What is said instead", "redub-sound")
            with gr.Accordion("Options", open=False):
                length = one_of("Length", LENGTH)
                silence = one_of("Where nobody speaks", SILENCE)
                blend = one_of("How the mouth is laid in", BLEND)
                region = gr.Radio(
                    label="What Poisson blending may change", choices=list(REGION), value="Lower half of the face"
                )
            consent = consent_box("redub-consent")
            buttons = Buttons.build("Re-dub the video", "redub")
        with gr.Column(min_width=320):
            result = Result.build("redub")

    def order(
        video_file: str | None,
        audio_file: str | None,
        face: str | None,
        choice: Choice,
        length_name: str,
        silence_name: str,
        blend_name: str,
        region_name: str,
        agreed: bool,
    ) -> Order:
        return Order(
            job_functions.redub,
            {"video": video_file, "audio": audio_file},
            {
                "length": LENGTH[length_name],
                "silence": SILENCE[silence_name],
                "blend": BLEND[blend_name],
                "region": REGION[region_name],
                "face_index": face_index(face, choice),
                "max_seconds": job_queue.limits.max_seconds,
            },
            {NO_VIDEO: video_file, NO_AUDIO: audio_file, NO_CONSENT: agreed},
            keeps=True,
        )

    inputs = [video, audio, faces.radio, faces.choice, length, silence, blend, region, consent]
    connect(job_queue, buttons, result, order, inputs)
