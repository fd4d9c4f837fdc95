"""The web page, built with Gradio: one tab a file."""
