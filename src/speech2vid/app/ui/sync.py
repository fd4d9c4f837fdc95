"""The tab Sync: how late is the audio of a video, and the video without that."""

from __future__ import annotations

from typing import Any

import gradio as gr

from speech2vid.app.error_messages import Failure
from speech2vid.app.job_functions import SyncFound
from speech2vid.app.ui.job_panel import JobPanel, PageJobs, missing
from speech2vid.app.ui.widgets import Updates, note_html, video_input
from speech2vid.app.workers import Job
from speech2vid.constants import FRAME_RATE_HZ

NO_VIDEO = Failure("There is no video yet.", "Upload one of a person who speaks.")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 220, 44, 34, 14  # of the drawing


def build(jobs: PageJobs) -> None:
    """Lay the tab out and connect it."""
    gr.Markdown("By how much is the audio later than the video? Measured from the lips of the largest face.")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            video = video_input("Video of somebody who speaks", "sync-video")
            buttons = JobPanel.buttons("Measure", "sync")
        with gr.Column(min_width=320):
            panel = JobPanel.build("sync", buttons)
            curve = gr.HTML("", padding=False)

    def show(found: SyncFound) -> Updates:
        updates: Updates = {panel.status: note_html(*sentences(found)), curve: drawing(found)}
        return updates if found.fixed is None else {**updates, **panel.videos(value=str(found.fixed), visible=True)}

    def order(values: dict[Any, Any]) -> Job | Failure:
        return missing({NO_VIDEO: values[video]}) or Job("sync", {"video": values[video]})

    panel.connect(jobs, {video}, order, show=show, fresh={curve: ""})


def sentences(found: SyncFound) -> list[str]:
    """The measurement in words."""
    frames = abs(found.offset_frames)
    if frames:
        word = "later" if found.offset_frames > 0 else "earlier"
        length = f"{frames} frame{'s' if frames > 1 else ''} ({frames / FRAME_RATE_HZ:.2f} s)"
        lines = [f"The audio is {length} {word} than the video."]
    else:
        lines = ["Audio and video are in step."]
    lines.append(f"Confidence {found.confidence:.2f}; {found.agree:.0%} of the one-second windows agree.")
    if not found.sure:
        lines.append("This is not sure: the lips may not be those of the voice. The video was left as it is.")
    elif found.fixed is not None:
        lines.append("Below: the video with its audio moved into place; nothing was encoded again.")
    return lines


def drawing(found: SyncFound) -> str:
    """The similarity of lips and audio over the offset, as SVG."""
    offsets = [offset for offset, _ in found.curve]
    values = [value for _, value in found.curve]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    wide, tall = WIDTH - LEFT - 10, HEIGHT - BOTTOM - TOP

    def x(offset: int) -> float:
        return LEFT + (offset - offsets[0]) / (offsets[-1] - offsets[0]) * wide

    def y(value: float) -> float:
        return TOP + (high - value) / span * tall

    line = " ".join(f"{x(offset):.1f},{y(value):.1f}" for offset, value in found.curve)
    ticks = "".join(
        f"<text x='{x(offset):.1f}' y='{HEIGHT - 18}' text-anchor='middle'>{offset}</text>"
        for offset in range(offsets[0], offsets[-1] + 1, 5)
    )
    mark = f"<line x1='{x(found.offset_frames):.1f}' x2='{x(found.offset_frames):.1f}' y1='{TOP}' y2='{TOP + tall}'/>"
    label = f"Similarity of lips and audio by offset; highest at {found.offset_frames} frames."
    return (
        f"<svg class='s2v-curve' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}'>"
        f"<text x='{LEFT - 6}' y='{TOP + 5}' text-anchor='end'>{high:.2f}</text>"
        f"<text x='{LEFT - 6}' y='{TOP + tall}' text-anchor='end'>{low:.2f}</text>"
        f"{mark}<polyline points='{line}'/>{ticks}"
        f"<text x='{LEFT + wide / 2:.0f}' y='{HEIGHT - 3}' text-anchor='middle'>"
        f"frames of 1/{FRAME_RATE_HZ} s that the audio is late</text></svg>"
    )
