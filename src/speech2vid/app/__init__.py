"""Servers: the web page, and the HTTP and WebSocket endpoint for programs.

The only part that knows Gradio and web servers.
"""
