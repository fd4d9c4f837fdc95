"""The page: what stands above, the tabs, what stands below."""

from __future__ import annotations

from importlib import resources

import gradio as gr

from speech2vid.app.settings import Limits
from speech2vid.app.ui import live, redub, sync, talk
from speech2vid.app.ui.job_panel import PageJobs
from speech2vid.files import package_assets

SCRIPTS = ("page.js", "live.js")
HEAD = """# speech2vid
A photo and a voice become a video. Everything is computed on the machine that shows this page.
"""
FOOT = """
**Every video made here is synthetic**, and says so in its metadata. Say so too where you show it, and let nobody say
things without their consent. Weights are for research use only.

{limits} Files are kept for {keep} at most, and removed soon after the page is closed; nobody else can see them.
"""
# Inputs, button, progress and result fit into one window of 1440 × 900 and of 390 × 844.
CSS = """
.dark { --color-accent: #a5b4fc; --s2v-ground: #450a0a; --s2v-ink: #fecaca; }
.s2v-head h1 { font-size: 1.25rem; margin: 0; }
.s2v-head p { margin: 0; }
.s2v-idle { opacity: 0.85; margin: 0.3rem 0; }
.s2v-failure { border-left: 4px solid #dc2626; background: var(--s2v-ground, #fef2f2); padding: 0.5rem 0.8rem; }
.s2v-failure, .s2v-failure * { color: var(--s2v-ink, #7f1d1d) !important; }
.s2v-done { border-left: 4px solid #15803d; padding: 0.4rem 0.8rem; }
.s2v-progress progress { width: 100%; height: 0.9rem; accent-color: var(--color-accent); }
.s2v-progress p { margin: 0.2rem 0; font-variant-numeric: tabular-nums; }
.s2v-curve { width: 100%; max-width: 560px; font-size: 12px; }
.s2v-curve text { fill: var(--body-text-color); }
.s2v-curve polyline { fill: none; stroke: var(--color-accent); stroke-width: 2; }
.s2v-curve line { stroke: var(--body-text-color-subdued); stroke-dasharray: 4 4; }
.s2v-live-buttons { display: flex; gap: 0.8rem; }
.s2v-live-buttons button { flex: 1; padding: 0.6rem; border-radius: var(--button-large-radius); font-weight: 600; }
.s2v-live-buttons button { color: white; }
#live-start { background: var(--button-primary-background-fill); }
#live-stop { background: #52525b; }
.s2v-live-buttons button:disabled { opacity: 0.4; cursor: default; }
#live-canvas { max-width: 100%; height: auto; }
.faces img { cursor: pointer; }
.s2v-result { position: sticky; top: 0.5rem; }
.s2v-result video { max-height: 68vh; }
#time, #duration, button.playback, button.playback span { color: var(--body-text-color-subdued) !important; }
.upload-container .or { color: inherit !important; }
button:focus-visible, input:focus-visible, [tabindex]:focus-visible {
  outline: 3px solid var(--color-accent) !important; outline-offset: 2px;
}
@media (max-width: 700px) {
  .gradio-container .fillable { padding: 4px !important; }
  .s2v-head p { display: none; }
  .s2v-inputs .column { min-width: 100% !important; gap: 4px; }
  .s2v-input { height: 172px !important; min-height: 0 !important; }
  .s2v-input .upload-container { min-height: 0 !important; }
  .s2v-result { position: static; }
  .s2v-result video { max-height: 40vh; }
}
"""


def theme() -> gr.themes.Base:
    """Return the page's theme: texts reach 4.5 : 1 on their grounds, light and dark."""
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    base = gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="zinc",
        font=fonts,
        font_mono=("ui-monospace", "monospace"),
        spacing_size="sm",
        radius_size="md",
    )
    return base.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        color_accent="*primary_600",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
    )


def script() -> str:
    """Return the page's scripts, for its head."""
    texts = [(resources.files("speech2vid.app.ui") / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "".join(f"<script>{text}</script>" for text in texts)


def build(jobs: PageJobs) -> gr.Blocks:
    """Build the page."""
    assets = package_assets()
    page = gr.Blocks(title="speech2vid", analytics_enabled=False)
    with page:
        gr.Markdown(HEAD, elem_classes="s2v-head")
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
