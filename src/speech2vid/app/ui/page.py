"""The page: what stands above, the tabs, what stands below."""

from __future__ import annotations

import gradio as gr

from speech2vid.app.settings import Limits
from speech2vid.app.ui import live, redub, sync, talk
from speech2vid.app.ui.job_panel import PageJobs
from speech2vid.files import package_assets

HEAD = """# speech2vid
A photo and a voice become a video of that face saying it. Everything is computed on the machine that shows this page.
"""
FOOT = """
**Every video made here is synthetic**, and says so in its metadata. Say so too where you show it, and let nobody say
things without their consent. Weights are for research use only.

{limits} Files are kept for {keep} at most, and removed soon after the page is closed; nobody else can see them.
"""
CSS = """
.s2v-idle { opacity: 0.8; margin: 0.3rem 0; }
.s2v-failure { border-left: 4px solid #c2410c; background: #fff1ea; color: #5c1f06; padding: 0.6rem 0.8rem; }
.s2v-done { border-left: 4px solid #15803d; padding: 0.4rem 0.8rem; }
.s2v-progress progress { width: 100%; height: 0.9rem; accent-color: #c2410c; }
.s2v-progress p { margin: 0.2rem 0; font-variant-numeric: tabular-nums; }
.s2v-curve { width: 100%; max-width: 560px; font-size: 12px; }
.s2v-curve text { fill: var(--body-text-color-subdued); }
.s2v-curve polyline { fill: none; stroke: #c2410c; stroke-width: 2; }
.s2v-curve line { stroke: var(--body-text-color-subdued); stroke-dasharray: 4 4; }
.s2v-live-buttons { display: flex; gap: 0.8rem; }
.s2v-live-buttons button { flex: 1; padding: 0.7rem; border-radius: 6px; font-weight: 600; color: white; }
#live-start { background: #c2410c; }
#live-stop { background: #57534e; }
.s2v-live-buttons button:disabled { opacity: 0.4; cursor: default; }
#live-canvas { max-width: 100%; height: auto; }
.faces img { cursor: pointer; }
"""


def build(jobs: PageJobs) -> gr.Blocks:
    """Build the page."""
    assets = package_assets()
    page = gr.Blocks(title="speech2vid", analytics_enabled=False)
    with page:
        gr.Markdown(HEAD)
        with gr.Tabs():
            with gr.Tab("Talk", id="talk"):
                talk.build(jobs, (assets / "astronaut.jpg", assets / "demo_speech.wav"))
            with gr.Tab("Re-dub", id="redub"):
                redub.build(jobs)
            with gr.Tab("Sync", id="sync"):
                sync.build(jobs)
            with gr.Tab("Live", id="live"):
                live.build(assets / "astronaut.jpg")
        gr.Markdown(FOOT.format(limits=limits_sentence(jobs.limits), keep=_duration(jobs.limits.keep_s)))
    return page


def limits_sentence(limits: Limits) -> str:
    """What the page takes, in words."""
    return f"This page takes files of up to {limits.max_upload_mb:g} MB and {_duration(limits.max_seconds)} of audio."


def _duration(seconds: float) -> str:
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            count = round(seconds / length)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
